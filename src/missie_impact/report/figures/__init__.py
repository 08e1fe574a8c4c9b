"""Results to figures, one function for all: each kind of result knows how it is drawn."""

from missie_impact.report.figures.plot import plot

__all__ = ["plot"]
