"""The specification curve: all readings in the order of their estimates, and below what each reading is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from missie_impact.effects.result import is_ratio
from missie_impact.report.figures.look import FAINT, Look, finish, new_axes, number_axis, ratio_axis, write
from missie_impact.report.figures.plot import draw
from missie_impact.validity.multiverse import Multiverse

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STEP = 13  # points of type from one line of readings to the next


@draw.register(Multiverse)
def draw_multiverse(multiverse: Multiverse, ax: Axes | None, look: Look) -> Axes:
    """Estimates with intervals from low to high, the headline filled; marks below say which reading each one is."""
    table = multiverse.table.dropna(subset=["estimate"]).sort_values("estimate", kind="stable").reset_index(drop=True)
    varied = [r for r in multiverse.readings if multiverse.table[r].nunique() > 1]
    lines = [(r, value) for r in varied for value in dict.fromkeys(multiverse.table[r])]
    ax = ax or new_axes(8.5, 3.4 + 0.19 * len(lines))
    place = np.arange(len(table))
    estimate, low, high = (table[c].to_numpy(dtype=float) for c in ("estimate", "conf_low", "conf_high"))
    headline = table["headline"].to_numpy(dtype=bool)
    ratio = is_ratio(multiverse.scale)
    ax.axhline(1.0 if ratio else 0.0, color=FAINT, linewidth=0.8, linestyle=":")
    ax.vlines(place, low, high, color=look.colour(3), linewidth=1.2)
    ax.plot(place, estimate, "o", color=look.colour(0), markerfacecolor="white", markersize=5)
    ax.plot(place[headline], estimate[headline], "D", color=look.colour(2), markersize=7, label=look.word("headline"))
    if ratio:
        ratio_axis(ax, "y", np.concatenate([low, high]), look)
    else:
        number_axis(ax.yaxis, look)
    ax.set_xticks([])
    ax.set_xlim(-0.7, len(table) - 0.3)
    ax.set_ylabel(look.word(multiverse.scale), fontsize=9)
    if headline.any():
        ax.legend(frameon=False, fontsize=8, loc="upper left")
    for k, (reading, value) in enumerate(lines):
        down = -14 - STEP * k
        write(ax, f"{look.word(reading)}: {look.word(str(value))}", (0, 0), (-8, down), ha="right")
        for x in place[(table[reading] == value).to_numpy(dtype=bool)].tolist():
            write(ax, "|", (x, 0), (0, down), of=("data", "axes fraction"), ha="center", colour=look.colour(0))
    return finish(
        ax, look, multiverse.table.copy(), title=look.word(multiverse.question), simulated=multiverse.simulated
    )
