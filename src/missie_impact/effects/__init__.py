"""Design and outcome to effect."""

from missie_impact.effects.entry import market_entry
from missie_impact.effects.estimate import FitOptions
from missie_impact.effects.exit import market_exit
from missie_impact.effects.result import Effect, Estimate, Fit
from missie_impact.effects.transition import structural_transition

__all__ = ["Effect", "Estimate", "Fit", "FitOptions", "market_entry", "market_exit", "structural_transition"]
