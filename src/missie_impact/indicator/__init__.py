"""The budget indicator: goal attainment, a description with a type of its own, never an effect."""

from missie_impact.indicator.budget import budget_indicator
from missie_impact.indicator.result import BudgetIndicator, IndicatorRow, TailRow

__all__ = ["BudgetIndicator", "IndicatorRow", "TailRow", "budget_indicator"]
