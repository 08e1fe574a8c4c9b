"""Curves along time: survival and incidence as steps with numbers at risk, effects by year as points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from missie_impact.effects.result import is_ratio
from missie_impact.effects.survival.curves import Curve
from missie_impact.report.figures.look import (
    DASHES,
    FAINT,
    MARKS,
    NARROW,
    TEXT,
    Look,
    finish,
    fold,
    legend_below,
    new_axes,
    number_axis,
    ratio_axis,
    room,
    write,
)
from missie_impact.report.figures.plot import draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_RISK_TIMES = 8
LABELLED = 36.0  # points of type that the labels of an axis take
HALF = 0.5  # survival that stays above it is drawn from nearer below, or its curves could not be told apart
START = {"survival": 1.0, "cumulative_incidence": 0.0}
DIFFERENCE = "difference"  # an arm of some curves, on another scale than the others
MANY = 3  # curves; more than these have their names beside the axes, or above where it is narrow


@draw.register(Curve)
def draw_curve(curve: Curve, ax: Axes | None, look: Look) -> Axes:
    """One line per group and arm with its interval; below it how many are at risk.

    A difference between two arms is left to the table behind the figure: it is on another scale than they are.
    """
    from matplotlib.ticker import MaxNLocator

    shown = curve.table[curve.table["arm"] != DIFFERENCE]
    shown = curve.table if shown.empty else shown
    series = [
        (_name(str(group), str(arm), look), part.sort_values("time").reset_index(drop=True))
        for (group, arm), part in shown.groupby(["group", "arm"], sort=False)
    ]
    counts = [] if curve.kind == "event_time" else _counts(series, look)
    ax = ax or new_axes(7.5 if len(series) <= MANY else 9.0, 4.2 + (0.22 * len(counts) if counts else 0))
    for i, (name, part) in enumerate(series):
        if curve.kind == "event_time":
            _points(ax, part, name, i, len(series), look)
        else:
            _steps(ax, part, name, i, look, START.get(curve.kind))
    _scale_axis(ax, curve, shown, look)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    number_axis(ax.xaxis, look)
    since = "years since the mission" if curve.kind == "event_time" else "years"
    ax.set_xlabel(look.word(since), fontsize=9)
    below = _at_risk(ax, counts, look) if counts else LABELLED
    drawn = finish(ax, look, curve.tidy(), title=look.word(curve.outcome), simulated=curve.simulated)
    if len(series) > 1:
        _legend(ax, curve, len(series), below)
    return drawn


def _scale_axis(ax: Axes, curve: Curve, shown: pd.DataFrame, look: Look) -> None:
    """Set the axis upwards: logarithmic for ratios, from a round share below the lowest interval for survival."""
    ratio, share = is_ratio(curve.scale), curve.kind in START and set(shown["arm"]) != {DIFFERENCE}
    if curve.kind == "event_time":
        ax.axhline(1.0 if ratio else 0.0, color=FAINT, linewidth=0.8, linestyle=":")
    if ratio:
        ends = shown[["conf_low", "conf_high", "band_low", "band_high"]].to_numpy(dtype=float)
        ratio_axis(ax, "y", ends, look)
    else:
        number_axis(ax.yaxis, look, percent=curve.kind in START)
    if share and curve.kind == "survival":
        lowest = float(np.nanmin(shown[["estimate", "conf_low"]].to_numpy(dtype=float), initial=1.0))
        ax.set_ylim(0 if lowest < HALF else np.floor(10 * lowest - 1e-9) / 10, 1.005)
    elif share:
        ax.set_ylim(bottom=0)
    ax.set_ylabel(look.word(curve.scale), fontsize=9)


def _legend(ax: Axes, curve: Curve, n: int, below: float) -> None:
    """Name the curves where they are not: survival falls to the right, incidence rises."""
    if n <= MANY:
        ax.legend(frameon=False, fontsize=8, loc="lower left" if curve.kind == "survival" else "best")
    elif room(ax) < NARROW:
        legend_below(ax, below, 1)
    else:
        ax.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))


def _name(group: str, arm: str, look: Look) -> str:
    parts = [look.word(part) for part in (group if group != "all" else "", arm) if part]
    return ", ".join(parts) or look.word("all")


def _steps(ax: Axes, part: pd.DataFrame, name: str, i: int, look: Look, start: float | None) -> None:
    time, value, low, high = (part[c].to_numpy(dtype=float) for c in ("time", "estimate", "conf_low", "conf_high"))
    if part["arm"].eq(DIFFERENCE).any():
        start = 0.0
    if len(time) and time[0] > 0 and start is not None:
        time = np.concatenate([[0.0], time])
        value, low, high = (np.concatenate([[start], v]) for v in (value, low, high))
    dash = DASHES[i % len(DASHES)]
    ax.step(time, value, where="post", color=look.colour(i), linestyle=dash, linewidth=1.8)
    # Marks tell curves apart in grey; of a curve with many times only some, so that its line stays to be seen.
    every = max(1, len(time) // 12)
    mark: dict[str, Any] = {"marker": MARKS[i % len(MARKS)], "markersize": 4, "color": look.colour(i)}
    ax.plot(time[::every], value[::every], linestyle="none", **mark)
    ax.plot([], [], linestyle=dash, linewidth=1.8, label=fold(name, 0.55 * room(ax), points=8), **mark)
    if np.isfinite(low).any():
        ax.fill_between(time, low, high, step="post", color=look.colour(i), alpha=0.12, linewidth=0)


def _points(ax: Axes, part: pd.DataFrame, name: str, i: int, n: int, look: Look) -> None:
    shift = 0.12 * (i - (n - 1) / 2)
    time = part["time"].to_numpy(dtype=float) + shift
    value, low, high, band_low, band_high = (
        part[c].to_numpy(dtype=float) for c in ("estimate", "conf_low", "conf_high", "band_low", "band_high")
    )
    ax.vlines(time, band_low, band_high, color=look.colour(i), linewidth=0.8)
    ax.vlines(time, low, high, color=look.colour(i), linewidth=2.4)
    ax.plot(time, value, MARKS[i % len(MARKS)], color=look.colour(i), markersize=6, label=name)


def _counts(series: list[tuple[str, pd.DataFrame]], look: Look) -> list[tuple[str, pd.DataFrame]]:
    """Curves with numbers at risk; causes of one arm share theirs, which then stand once under the name of the arm."""
    by_arm: dict[tuple[object, ...], list[tuple[str, pd.DataFrame]]] = {}
    for name, part in series:
        if part["n_at_risk"].notna().any():
            key = (part["arm"].iloc[0], *part[["time", "n_at_risk"]].fillna(-1).to_numpy(dtype=float).ravel().tolist())
            by_arm.setdefault(key, []).append((name, part))
    return [
        (name if len(same) == 1 else look.word(str(part["arm"].iloc[0])), part)
        for same in by_arm.values()
        for name, part in same[:1]
    ]


def _at_risk(ax: Axes, counts: list[tuple[str, pd.DataFrame]], look: Look) -> float:
    """Numbers at risk under the axis, one line per curve, at whole times; return the points of type they take."""
    last = max(float(part["time"].max()) for _, part in counts)
    step = max(1, int(np.ceil(last / (MOST_RISK_TIMES if room(ax) >= NARROW else MOST_RISK_TIMES // 2))))
    times = np.arange(0, last + 1e-9, step)
    down = -34
    write(ax, look.word("at risk"), (0, 0), (-6, down), colour=FAINT, ha="right", va="top")
    for name, part in counts:
        down -= 12
        words = fold(name, min(2.4, 0.34 * room(ax)), points=8)
        write(ax, words, (0, 0), (-6, down), colour=TEXT, ha="right", va="top")
        at, risk = part["time"].to_numpy(dtype=float), part["n_at_risk"].to_numpy(dtype=float)
        for t in times.tolist():
            # At risk just before t: the number of the first point at or after it.
            place = int(np.searchsorted(at, t - 1e-9))
            if place < len(risk) and np.isfinite(risk[place]):
                under = ("data", "axes fraction")
                write(ax, look.number(risk[place], 1), (t, 0), (0, down), of=under, ha="center", va="top")
        down -= 10 * words.count("\n")
    return float(-down + 18)
