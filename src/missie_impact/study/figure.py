"""How a replication is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from missie_impact.report.figures.look import Look
from missie_impact.report.figures.plot import draw
from missie_impact.report.figures.published import draw_published
from missie_impact.study.records import Replication

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@draw.register(Replication)
def draw_replication(replication: Replication, ax: Axes | None, look: Look) -> Axes:
    """Headline rows: published, estimate with interval, truth."""
    table = replication.table
    headline = table[table["design"].isin(["trials", "description"])]
    return draw_published(headline, ax, look, simulated=replication.simulated)
