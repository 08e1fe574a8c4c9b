"""Who is lost at each step, drawn as a bar per step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from missie_impact.flow import Flow
from missie_impact.report.figures.look import FAINT, PALE, Look, finish, new_axes, number_axis, write
from missie_impact.report.figures.plot import draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@draw.register(Flow)
def draw_flow(flow: Flow, ax: Axes | None, look: Look) -> Axes:
    """One bar per step with its rows; what left, and why, in grey beside it."""
    table = flow.frame()
    n = len(table)
    ax = ax or new_axes(9.0, 0.9 + 0.46 * n)
    rows = table["rows"].to_numpy(dtype=float)
    # Tables of very different length share one figure: each bar is a share of the first step of its own table.
    first = table.groupby("table")["rows"].transform("first").to_numpy(dtype=float)
    share = np.divide(rows, first, out=np.zeros(n), where=first > 0)
    place = np.arange(n)[::-1]
    order = {name: i for i, name in enumerate(dict.fromkeys(table["table"]))}
    ax.barh(place, np.ones(n), color=PALE, height=0.55)
    ax.barh(place, share, color=[look.colour(order[name]) for name in table["table"]], height=0.55)
    side = ("axes fraction", "data")
    for y, row in zip(place.tolist(), table.to_dict("records"), strict=True):
        write(ax, look.number(row["rows"], 1), (1, y), (56, 0), of=side, ha="right")
        lost = f"-{look.number(row['lost_rows'], 1)}: " if row["reason"] and row["lost_rows"] is not pd.NA else ""
        write(ax, _short(f"{lost}{row['reason']}"), (1, y), (66, 0), of=side, colour=FAINT)
    ax.set_yticks(place, [_short(step) for step in table["step"]])
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.5, 1.0])
    number_axis(ax.xaxis, look, percent=True)
    ax.set_xlabel(look.word("share of the first step of its table"), fontsize=9, loc="left")
    return finish(ax, look, table)


def _short(text: str, length: int = 70) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
