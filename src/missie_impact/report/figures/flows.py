"""Who is lost at each step, drawn as a bar per step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from missie_impact.flow import Flow
from missie_impact.report.figures.look import (
    FAINT,
    NARROW,
    PALE,
    Look,
    finish,
    fold,
    new_axes,
    number_axis,
    room,
    write,
)
from missie_impact.report.figures.plot import draw
from missie_impact.report.phrases import phrase

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@draw.register(Flow)
def draw_flow(flow: Flow, ax: Axes | None, look: Look) -> Axes:
    """One bar per step with its rows; what left, and why, in grey beside it."""
    table = flow.frame()
    words = table.assign(**{c: [phrase(text, look.language) for text in table[c]] for c in ("table", "step", "reason")})
    n = len(table)
    ax = ax or new_axes(9.0, 0.9 + 0.46 * n)
    narrow = room(ax) < NARROW
    rows = table["rows"].to_numpy(dtype=float)
    # Tables of very different length share one figure: each bar is a share of the first step of its own table.
    first = table.groupby("table")["rows"].transform("first").to_numpy(dtype=float)
    share = np.divide(rows, first, out=np.zeros(n), where=first > 0)
    place = np.arange(n)[::-1]
    order = {name: i for i, name in enumerate(dict.fromkeys(table["table"]))}
    thick = 0.22 if narrow else 0.55
    ax.barh(place, np.ones(n), color=PALE, height=thick)
    ax.barh(place, share, color=[look.colour(order[name]) for name in table["table"]], height=thick)
    side = ("axes fraction", "data")
    for y, row in zip(place.tolist(), words.to_dict("records"), strict=True):
        count = look.number(row["rows"], 1)
        lost = f"-{look.number(row['lost_rows'], 1)}: " if row["reason"] and pd.notna(row["lost_rows"]) else ""
        if narrow:
            line = fold(f"{row['step']}: {count}", room(ax) * 0.9, lines=1)
            write(ax, line, (0, y + thick / 2), (1, 1), of=side, va="bottom")
            why = fold(f"{lost}{row['reason']}", room(ax) * 0.9, points=8, lines=1)
            write(ax, why, (0, y - thick / 2), (1, -1), of=side, colour=FAINT, va="top")
        else:
            write(ax, count, (1, y), (56, 0), of=side, ha="right")
            write(ax, fold(f"{lost}{row['reason']}", 3.2, points=8), (1, y), (66, 0), of=side, colour=FAINT)
    ax.set_yticks(place, [""] * n if narrow else [fold(step, 2.6) for step in words["step"]])
    ax.set_ylim(-0.8, n - 0.2)
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.5, 1.0])
    number_axis(ax.xaxis, look, percent=True)
    ax.set_xlabel(look.word("share of the first step of its table"), fontsize=9, loc="left")
    return finish(ax, look, table, title=look.word("flow"), simulated=flow.simulated)
