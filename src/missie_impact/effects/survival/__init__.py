"""Curves: survival, incidence and what they would have been without treatment."""
