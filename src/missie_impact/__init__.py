"""What trade promotion brings about, from register files to published tables."""

from missie_impact.definitions import CBS_2024, DEFAULT_CONTROLS, Definitions
from missie_impact.effects import Effect, FitOptions, market_entry, market_exit, structural_transition
from missie_impact.errors import MissieError
from missie_impact.indicator import BudgetIndicator, budget_indicator
from missie_impact.panel import Panel, build_panel
from missie_impact.published import published
from missie_impact.registers import Engine, Registers, RegisterSettings, read_registers
from missie_impact.risksets import (
    RiskSet,
    Roles,
    entry_risk_set,
    exit_risk_set,
    increase_risk_set,
    transition_risk_set,
)
from missie_impact.simulation.assembly import RegisterOptions
from missie_impact.simulation.registers import simulate_registers
from missie_impact.study import Replication, replicate

__version__ = "0.1.0"

__all__ = [
    "CBS_2024",
    "DEFAULT_CONTROLS",
    "BudgetIndicator",
    "Definitions",
    "Effect",
    "Engine",
    "FitOptions",
    "MissieError",
    "Panel",
    "RegisterOptions",
    "RegisterSettings",
    "Registers",
    "Replication",
    "RiskSet",
    "Roles",
    "budget_indicator",
    "build_panel",
    "entry_risk_set",
    "exit_risk_set",
    "increase_risk_set",
    "market_entry",
    "market_exit",
    "published",
    "read_registers",
    "replicate",
    "simulate_registers",
    "structural_transition",
    "transition_risk_set",
]
