"""What trade promotion brings about, from register files to published tables."""

from missie_impact.definitions import CBS_2024, DEFAULT_CONTROLS, Definitions
from missie_impact.errors import MissieError
from missie_impact.panel import Panel, build_panel
from missie_impact.registers import Engine, Registers, read_registers
from missie_impact.risksets import (
    RiskSet,
    Roles,
    entry_risk_set,
    exit_risk_set,
    increase_risk_set,
    transition_risk_set,
)

__version__ = "0.1.0"

__all__ = [
    "CBS_2024",
    "DEFAULT_CONTROLS",
    "Definitions",
    "Engine",
    "MissieError",
    "Panel",
    "Registers",
    "RiskSet",
    "Roles",
    "build_panel",
    "entry_risk_set",
    "exit_risk_set",
    "increase_risk_set",
    "read_registers",
    "transition_risk_set",
]
