from missie_impact.validity.truth import compute_truth, stored_truth, truth_of

__all__ = ["compute_truth", "stored_truth", "truth_of"]
