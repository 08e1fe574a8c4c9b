"""Published against estimated: per row an open mark, a filled mark with its interval, and the truth as a cross."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from missie_impact.report.figures.look import (
    FAINT,
    NARROW,
    Look,
    finish,
    fold,
    legend_below,
    new_axes,
    number_axis,
    room,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_published(table: pd.DataFrame, ax: Axes | None, look: Look, *, simulated: bool) -> Axes:
    """Draw rows with a published value on one scale each as a share of it, so that all fit one axis.

    Parameters
    ----------
    table : columns label, group, scale, published, estimate, conf_low, conf_high, truth
    """
    shown = table[table["published"].abs() > 0].reset_index(drop=True)
    ax = ax or new_axes(9.5, 1.8 + 0.4 * len(shown))
    place = np.arange(len(shown))[::-1]
    relative = {
        c: (shown[c] / shown["published"]).to_numpy(dtype=float) for c in ("estimate", "conf_low", "conf_high", "truth")
    }
    ax.axvline(1.0, color=FAINT, linewidth=0.8)
    ax.hlines(place, relative["conf_low"], relative["conf_high"], color=look.colour(0), linewidth=1.8)
    ax.plot(relative["estimate"], place, "o", color=look.colour(0), markersize=5, label=look.word("estimate"))
    for name, mark, colour, values in (
        ("truth", "x", look.colour(1), relative["truth"]),
        ("published", "|", FAINT, np.ones(len(shown))),
    ):
        ax.plot(values, place, mark, color=colour, label=look.word(name), markersize=8, markeredgewidth=2)
    ax.set_yticks(place, [_row(row, look, 0.45 * room(ax)) for row in shown.to_dict("records")])
    ax.set_ylim(-0.7, len(shown) - 0.3)
    small = 8 if room(ax) >= NARROW else 7
    number_axis(ax.xaxis, look)
    ax.set_xlabel({"en": "published value = 1", "nl": "gepubliceerde waarde = 1"}[look.language], fontsize=9)
    legend_below(ax, 36, 3 if room(ax) >= NARROW else 1)
    drawn = finish(ax, look, shown, simulated=simulated)
    ax.tick_params(axis="y", labelsize=small)
    return drawn


def _row(row: Mapping[Hashable, Any], look: Look, inches: float) -> str:
    value = f"{look.number(row['published'])} ({look.word(row['scale'])})"
    what, group = look.word(row["label"]), look.word(row["group"])
    named = any(word in what for word in (group, group.removeprefix("zelfstandig ")))
    # The group leads where there is no room for the whole, or rows of one question could not be told apart.
    whole = what if named else f"{what}, {group}" if inches > NARROW * 0.45 else f"{group}: {what}"
    return f"{fold(whole, inches, points=8.5, lines=2)}\n{value}"
