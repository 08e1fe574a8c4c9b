"""The budget indicator: observed, expected without support and the difference; shares of growers as attained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from missie_impact.effects.increase.counterfactual_result import CounterfactualIndicator
from missie_impact.indicator.letter import LABEL
from missie_impact.indicator.result import BudgetIndicator
from missie_impact.report.figures.look import (
    FAINT,
    HATCHES,
    Look,
    finish,
    fold,
    legend_below,
    new_axes,
    number_axis,
    room,
    write,
)
from missie_impact.report.figures.plot import draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@draw.register(CounterfactualIndicator)
def draw_counterfactual(indicator: CounterfactualIndicator, ax: Axes | None, look: Look) -> Axes:
    """Bars side by side per group and matching; the difference with its interval in words above them."""
    data = indicator.figure_data(look.scale or "share_growers")
    data = data[data["matching"] != "base_year"]
    pairs = list(dict.fromkeys(zip(data["group"], data["matching"], strict=True)))
    ax = ax or new_axes(max(6.5, 1.9 * len(pairs)), 4.4)
    unit = str(data["unit"].iloc[0])
    place = np.arange(len(pairs))
    top = 0.0
    for k, bar in enumerate(("observed", "expected")):
        part = data[data["bar"] == bar].set_index(["group", "matching"])["value"]
        values = np.array([float(part.loc[pair]) for pair in pairs])
        top = max(top, float(np.nanmax(values)))
        ax.bar(place + (k - 0.5) * 0.36, values, 0.34, color=look.colour(k), hatch=HATCHES[k], label=look.word(bar))
    ends = data[data["bar"] == "difference"].set_index(["group", "matching"])
    for x, pair in zip(place.tolist(), pairs, strict=True):
        value, low, high = (float(ends.loc[pair, name]) for name in ("value", "low", "high"))
        text = f"{look.word('difference')} {look.number(value)}\n({look.number(low)} – {look.number(high)})"
        write(ax, text, (x, top * 1.03), (0, 2), of="data", ha="center", va="bottom")
    ax.set_ylim(0, top * 1.22)
    ax.set_xticks(place, [_pair(group, matching, 0.85 * room(ax) / len(pairs), look) for group, matching in pairs])
    number_axis(ax.yaxis, look)
    ax.set_ylabel(look.word(unit), fontsize=9)
    legend_below(ax, 14 + 12 * max(text.get_text().count("\n") + 1 for text in ax.get_xticklabels()), 2)
    title = look.word("observed, and expected without support")
    return finish(ax, look, data.reset_index(drop=True), title=title, simulated=indicator.simulated)


@draw.register(BudgetIndicator)
def draw_indicator(indicator: BudgetIndicator, ax: Axes | None, look: Look) -> Axes:
    """Share of supported firms with an increase per cohort and group: goal attainment, no intervals."""
    table = indicator.headline()
    shown = table[(table["instrument"] == "all") & (table["n_firms"] > 0)].reset_index(drop=True)
    groups, cohorts = list(dict.fromkeys(shown["group"])), sorted(set(shown["cohort"]))
    ax = ax or new_axes(7.0, 3.8)
    width = 0.8 / max(len(groups), 1)
    top = 0.0
    for k, group in enumerate(groups):
        part = shown[shown["group"] == group].set_index("cohort")
        values = np.array([float(part["share"].get(cohort, np.nan)) for cohort in cohorts])
        place = np.arange(len(cohorts)) + (k - (len(groups) - 1) / 2) * width
        hatch = HATCHES[k % len(HATCHES)]
        ax.bar(place, values, width * 0.92, color=look.colour(k), hatch=hatch, label=look.word(group))
        top = max(top, float(np.nanmax(values, initial=0.0)))
        for x, cohort, value in zip(place.tolist(), cohorts, values.tolist(), strict=True):
            if np.isfinite(value):
                firms = look.number(int(part["n_firms"][cohort]), 1)
                write(ax, firms, (x, value), (0, 3), of="data", ha="center", va="bottom", colour=FAINT)
    ax.set_xticks(np.arange(len(cohorts)), [str(cohort) for cohort in cohorts])
    ax.set_xlabel(look.word("cohort; above the bars: number of firms"), fontsize=9)
    if top > 0:
        ax.set_ylim(0, 1.1 * top)
    number_axis(ax.yaxis, look, percent=True)
    ax.set_ylabel(look.word("firms with an increase"), fontsize=9)
    legend_below(ax, 36, len(groups))
    return finish(ax, look, table, title=LABEL[look.language], simulated=indicator.simulated)


def _pair(group: str, matching: str, inches: float, look: Look) -> str:
    return "\n".join(fold(look.word(term), inches, points=10) for term in (group, matching))
