"""How a replication is drawn."""

from __future__ import annotations

from typing import Any

from missie_impact.report.figures.look import Look
from missie_impact.report.figures.plot import draw
from missie_impact.report.figures.published import draw_published
from missie_impact.study.records import Replication


@draw.register(Replication)
def draw_replication(replication: Replication, ax: Any, look: Look) -> Any:
    """Headline rows: published, estimate with interval, truth."""
    table = replication.table
    headline = table[table["design"].isin(["trials", "description"])]
    return draw_published(headline, ax, look, simulated=replication.simulated)
