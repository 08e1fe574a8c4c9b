"""Pictures of a panel: from status to status, and spells by begin and length. Aggregates only."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from missie_impact.panel.describe import LONGEST, STATES, SpellLengths, StatusTransitions
from missie_impact.report.figures.look import Look, finish, fold, new_axes, room
from missie_impact.report.figures.plot import draw

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@draw.register(StatusTransitions)
def draw_transitions(moves: StatusTransitions, ax: Axes | None, look: Look) -> Axes:
    """A matrix: rows are the status of a year, columns that of the next; shares and counts in the cells."""
    shares = moves.table.pivot(index="from_status", columns="to_status", values="share")
    counts = moves.table.pivot(index="from_status", columns="to_status", values="n")
    rows = [state for state in STATES if state in shares.index]
    columns = [state for state in STATES if state in shares.columns]
    ax = ax or new_axes(7.5, 1.6 + 0.75 * len(rows))
    shade = shares.loc[rows, columns].fillna(0.0).to_numpy(dtype=float)
    _cells(ax, shade, counts.loc[rows, columns], look)
    ax.set_xticks(
        range(len(columns)), [fold(look.word(state), 0.8 * room(ax) / len(columns), points=10) for state in columns]
    )
    ax.set_yticks(range(len(rows)), [look.word(state) for state in rows])
    ax.set_xlabel(look.word("in the next year"), fontsize=9)
    ax.set_ylabel(look.word("in a year"), fontsize=9)
    return finish(ax, look, moves.table.copy(), title=look.word("status from year to year"), simulated=moves.simulated)


@draw.register(SpellLengths)
def draw_spells(spells: SpellLengths, ax: Axes | None, look: Look) -> Axes:
    """A map: year of begin across, length upwards, the darker the more spells ended at that length."""
    ended = spells.table[spells.table["end_reason"] != "open"]
    counted = ended.groupby(["length", "begin"])["n"].sum().unstack(fill_value=0)
    begins = range(int(spells.table["begin"].min()), int(spells.table["begin"].max()) + 1)
    grid = counted.reindex(index=range(1, LONGEST + 1), columns=begins, fill_value=0).to_numpy(dtype=float)
    ax = ax or new_axes(8.0, 4.4)
    shown = np.ma.masked_less(np.log10(np.maximum(grid, 0.1)), 0.0)  # cells without a spell stay white
    extent = (begins[0] - 0.5, begins[-1] + 0.5, 0.5, LONGEST + 0.5)
    image = ax.imshow(shown, origin="lower", aspect="auto", extent=extent, cmap="Blues", vmin=0)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.85)
    ticks = np.arange(0, np.floor(np.log10(max(grid.max(), 1.0))) + 1e-9)
    bar.set_ticks(ticks.tolist(), labels=[look.number(10**t, 1) for t in ticks])
    bar.set_label(look.word("spells that ended"), fontsize=9)
    every = 2 * max(1, math.ceil(len(begins) / 2 / (2 * room(ax))))
    ax.set_xticks([year for year in begins if year % every == 0])
    ax.set_xlabel(look.word("year in which the spell began"), fontsize=9)
    ax.set_ylabel(look.word("length, years"), fontsize=9)
    return finish(
        ax, look, spells.table.copy(), title=look.word("spells by begin and length"), simulated=spells.simulated
    )


def _cells(ax: Axes, shade: np.ndarray, counts: pd.DataFrame, look: Look) -> None:
    ax.imshow(shade, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i, (_, row) in enumerate(counts.iterrows()):
        for j, n in enumerate(row.to_numpy(dtype=float)):
            if np.isfinite(n):
                text = f"{look.number(100 * shade[i, j], 3)}%\n{look.number(n, 1)}"
                light = "white" if shade[i, j] > 0.55 else "black"
                ax.text(j, i, text, ha="center", va="center", fontsize=8, color=light)
