"""Who can have the event, and when."""

from missie_impact.risksets.entrants import entrant_risk_set, spell_length_set
from missie_impact.risksets.entry import entry_risk_set
from missie_impact.risksets.exit import exit_risk_set
from missie_impact.risksets.increase import increase_risk_set
from missie_impact.risksets.increase_years import increase_years
from missie_impact.risksets.riskset import RiskSet, Roles
from missie_impact.risksets.transition import transition_risk_set

__all__ = [
    "RiskSet",
    "Roles",
    "entrant_risk_set",
    "entry_risk_set",
    "exit_risk_set",
    "increase_risk_set",
    "increase_years",
    "spell_length_set",
    "transition_risk_set",
]
