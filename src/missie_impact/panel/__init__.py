"""Firm x market x year, sparse: history, spells, status, size, exposure."""

from missie_impact.panel.build import build_panel
from missie_impact.panel.panel import Panel

__all__ = ["Panel", "build_panel"]
