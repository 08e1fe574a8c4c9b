"""Risk set or design to effect, by question: becoming, leaving, survival, increase; what they share is in fitting."""

from missie_impact.effects.becoming.dose import DoseEffect, dose_effect
from missie_impact.effects.becoming.doubly_robust import CrossFit
from missie_impact.effects.becoming.entry import market_entry
from missie_impact.effects.becoming.lost_identities import LostIdentities, lost_identities
from missie_impact.effects.becoming.per_protocol import Protocol, per_protocol
from missie_impact.effects.becoming.transition import structural_transition
from missie_impact.effects.becoming.within import within_firm
from missie_impact.effects.compare import GroupTest, compare_groups
from missie_impact.effects.fitting.bootstrap import Bootstrap, WildBootstrap
from missie_impact.effects.fitting.estimate import FitOptions
from missie_impact.effects.increase.counterfactual import CounterfactualOptions, counterfactual_indicator
from missie_impact.effects.increase.counterfactual_result import CounterfactualIndicator
from missie_impact.effects.increase.event_study import EventStudy, event_study
from missie_impact.effects.increase.group_time import GroupTimeEffects, GroupTimeOptions, group_time_effects
from missie_impact.effects.increase.increase import IncreaseOptions, export_increase
from missie_impact.effects.increase.poisson import PoissonOptions, poisson_effect
from missie_impact.effects.increase.price import EffectPrice, EuroEffect, effect_price
from missie_impact.effects.leaving.cells import hazard_from_cells
from missie_impact.effects.leaving.exit import market_exit
from missie_impact.effects.leaving.exit_codings import exit_codings
from missie_impact.effects.leaving.exit_diagnostics import ExitDiagnostics, exit_diagnostics
from missie_impact.effects.leaving.exit_options import ExitOptions
from missie_impact.effects.leaving.exit_years import effect_by_year
from missie_impact.effects.leaving.frailty_rows import Frailty
from missie_impact.effects.result import Effect, Estimate, Fit
from missie_impact.effects.survival.causes import cause_specific_hazards
from missie_impact.effects.survival.curves import Curve
from missie_impact.effects.survival.entrants import EntrantSurvival, entrant_survival
from missie_impact.effects.survival.incidence import cumulative_incidence
from missie_impact.effects.survival.points import CurveOptions
from missie_impact.effects.survival.standardised_curves import standardised_incidence, standardised_survival
from missie_impact.effects.survival.subdistribution import subdistribution_hazard
from missie_impact.effects.survival.survival import life_table, median_survival, restricted_mean, survival_curve

__all__ = [
    "Bootstrap",
    "CounterfactualIndicator",
    "CounterfactualOptions",
    "CrossFit",
    "Curve",
    "CurveOptions",
    "DoseEffect",
    "Effect",
    "EffectPrice",
    "EntrantSurvival",
    "Estimate",
    "EuroEffect",
    "EventStudy",
    "ExitDiagnostics",
    "ExitOptions",
    "Fit",
    "FitOptions",
    "Frailty",
    "GroupTest",
    "GroupTimeEffects",
    "GroupTimeOptions",
    "IncreaseOptions",
    "LostIdentities",
    "PoissonOptions",
    "Protocol",
    "WildBootstrap",
    "cause_specific_hazards",
    "compare_groups",
    "counterfactual_indicator",
    "cumulative_incidence",
    "dose_effect",
    "effect_by_year",
    "effect_price",
    "entrant_survival",
    "event_study",
    "exit_codings",
    "exit_diagnostics",
    "export_increase",
    "group_time_effects",
    "hazard_from_cells",
    "life_table",
    "lost_identities",
    "market_entry",
    "market_exit",
    "median_survival",
    "per_protocol",
    "poisson_effect",
    "restricted_mean",
    "standardised_incidence",
    "standardised_survival",
    "structural_transition",
    "subdistribution_hazard",
    "survival_curve",
    "within_firm",
]
