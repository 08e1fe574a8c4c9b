"""The love plot: standardised differences before and after, against the threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from missie_impact.design import Balance
from missie_impact.report.figures.look import FAINT, Look, finish, new_axes, number_axis
from missie_impact.report.figures.plot import draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_TERMS = 40


@draw.register(Balance)
def draw_balance(balance: Balance, ax: Axes | None, look: Look) -> Axes:
    """One row per term, the largest difference before on top; of many terms the first forty, the table has all."""
    everybody = balance.table[balance.table["group"] == balance.table["group"].iloc[0]]
    known = everybody[everybody["reason"] == ""]
    order = known["difference_before"].abs().sort_values(ascending=False, kind="stable").index
    shown = known.loc[order[:MOST_TERMS]]
    ax = ax or new_axes(7.5, 1.3 + 0.26 * len(shown))
    place = np.arange(len(shown))[::-1]
    before, after = (shown[f"difference_{when}"].abs().to_numpy(dtype=float) for when in ("before", "after"))
    ax.axvline(balance.threshold, color=FAINT, linewidth=0.8, linestyle=":")
    ax.hlines(place, np.minimum(before, after), np.maximum(before, after), color=FAINT, linewidth=0.8)
    ax.plot(before, place, "o", color=look.colour(1), markerfacecolor="none", label=look.word("before"))
    ax.plot(after, place, "o", color=look.colour(0), label=look.word("after"))
    ax.set_yticks(place, [str(term) for term in shown["term"]])
    ax.set_ylim(-0.7, len(shown) - 0.3)
    ax.set_xlim(left=-0.015 * float(np.nanmax([before.max(initial=0), after.max(initial=0), 0.1])))
    number_axis(ax.xaxis, look)
    ax.set_xlabel(look.word("absolute standardised difference"), fontsize=9)
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    return finish(ax, look, balance.table.copy(), title=look.word("balance"), simulated=balance.simulated)
