"""Effects by group as a forest: estimate and interval per row, counts beside it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from missie_impact.effects.result import Effect, is_level, is_ratio
from missie_impact.errors import SettingsError
from missie_impact.report.figures.look import (
    FAINT,
    NARROW,
    Look,
    finish,
    fold,
    new_axes,
    number_axis,
    ratio_axis,
    room,
    write,
)
from missie_impact.report.figures.plot import draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@draw.register(Effect)
def draw_effect(effect: Effect, ax: Axes | None, look: Look) -> Axes:
    """One row per group on one scale; ratios on a logarithmic axis, the line of no effect in grey."""
    scale = look.scale or effect.scales[0]
    if scale not in effect.scales:
        raise SettingsError(f"no scale {scale!r}: expected one of {list(effect.scales)}.")
    table = effect.tidy()
    table = table[table["scale"] == scale].reset_index(drop=True)
    ax = ax or new_axes(8.0, 1.3 + 0.42 * len(table))
    draw_intervals(ax, table, look, scale)
    ax.set_yticks(np.arange(len(table))[::-1], [fold(look.word(g), min(2.4, 0.3 * room(ax))) for g in table["group"]])
    ax.set_xlabel(f"{look.word(scale)}, {look.number(100 * effect.conf_level)}%-interval", fontsize=9)
    return finish(ax, look, table, title=f"{look.word(effect.outcome)}: {look.word(scale)}", simulated=effect.simulated)


def draw_intervals(ax: Axes, table: pd.DataFrame, look: Look, scale: str) -> None:
    """Draw estimates with intervals from top to bottom, with estimate, treated and events in words beside them.

    Where it is narrow the estimate stands above its interval, and the counts in the table behind the figure alone.
    """
    place = np.arange(len(table))[::-1]
    estimate, low, high = (table[c].to_numpy(dtype=float) for c in ("estimate", "conf_low", "conf_high"))
    known = np.isfinite(estimate)
    if not is_level(scale):
        ax.axvline(1.0 if is_ratio(scale) else 0.0, color=FAINT, linewidth=0.8, linestyle=":")
    ax.hlines(place[known], low[known], high[known], color=look.colour(0), linewidth=1.6)
    ax.plot(estimate[known], place[known], "s", color=look.colour(0), markersize=6)
    if is_ratio(scale):
        ratio_axis(ax, "x", np.concatenate([low[known], high[known]]), look)
    else:
        number_axis(ax.xaxis, look)
    ax.set_ylim(-0.7, len(table) - 0.3)
    for y, row in zip(place.tolist(), table.to_dict("records"), strict=True):
        text = _words(row, look) if np.isfinite(row["estimate"]) else row["reason"]
        if room(ax) < NARROW and np.isfinite(row["estimate"]):
            write(ax, text.split("   ")[0], (0, y), (2, 3), of=("axes fraction", "data"), va="bottom")
        elif room(ax) < NARROW:
            write(ax, fold(text, 0.68 * room(ax), points=8, lines=2), (0, y), (2, 0), of=("axes fraction", "data"))
        else:
            write(ax, fold(text, 3.4, points=8), (1, y), (8, 0), of=("axes fraction", "data"))


def _words(row: Mapping[Hashable, Any], look: Look) -> str:
    low, high = look.number(row["conf_low"]), look.number(row["conf_high"])
    counts = [f"{look.number(row[f'n_{word}'], 1)} {look.word(word)}" for word in ("treated", "events")]
    return f"{look.number(row['estimate'])} ({low} – {high})   {', '.join(counts)}"
