"""Whether to believe an estimate."""

from missie_impact.validity.honest import HonestBounds, honest_bounds
from missie_impact.validity.multiplicity import adjust_p_values
from missie_impact.validity.multiverse import Multiverse, RunOptions, multiverse
from missie_impact.validity.of_registers import truth
from missie_impact.validity.placebo import Placebo, placebo, placebo_markets
from missie_impact.validity.rosenbaum import (
    rosenbaum_binary,
    rosenbaum_bounds,
    rosenbaum_effect,
    rosenbaum_signed_rank,
)
from missie_impact.validity.sensitivity import (
    EValue,
    bias_factor,
    confounding_table,
    e_value,
    e_value_of,
    e_value_of_counts,
    e_value_of_difference,
)
from missie_impact.validity.stored import compute_truth, stored_truth, truth_of

__all__ = [
    "EValue",
    "HonestBounds",
    "Multiverse",
    "Placebo",
    "RunOptions",
    "adjust_p_values",
    "bias_factor",
    "compute_truth",
    "confounding_table",
    "e_value",
    "e_value_of",
    "e_value_of_counts",
    "e_value_of_difference",
    "honest_bounds",
    "multiverse",
    "placebo",
    "placebo_markets",
    "rosenbaum_binary",
    "rosenbaum_bounds",
    "rosenbaum_effect",
    "rosenbaum_signed_rank",
    "stored_truth",
    "truth",
    "truth_of",
]
