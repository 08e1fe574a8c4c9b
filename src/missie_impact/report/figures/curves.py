"""Curves along time: survival and incidence as steps with numbers at risk, effects by year as points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from missie_impact.effects.curves import Curve
from missie_impact.effects.result import is_ratio
from missie_impact.report.figures.look import (
    DASHES,
    FAINT,
    MARKS,
    Look,
    finish,
    new_axes,
    number_axis,
    ratio_axis,
    write,
)
from missie_impact.report.figures.plot import draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_RISK_TIMES = 8
START = {"survival": 1.0, "cumulative_incidence": 0.0}


@draw.register(Curve)
def draw_curve(curve: Curve, ax: Axes | None, look: Look) -> Axes:
    """One line per group and arm with its interval; below it how many are at risk."""
    series = [
        (_name(str(group), str(arm), look), part.sort_values("time").reset_index(drop=True))
        for (group, arm), part in curve.table.groupby(["group", "arm"], sort=False)
    ]
    counted = curve.kind != "event_time" and curve.table["n_at_risk"].notna().any()
    ax = ax or new_axes(7.5, 4.2 + (0.22 * len(series) if counted else 0))
    for i, (name, part) in enumerate(series):
        if curve.kind == "event_time":
            _points(ax, part, name, i, len(series), look)
        else:
            _steps(ax, part, name, i, look, START.get(curve.kind))
    ratio = is_ratio(curve.scale)
    if curve.kind == "event_time":
        ax.axhline(1.0 if ratio else 0.0, color=FAINT, linewidth=0.8, linestyle=":")
    if ratio:
        ends = curve.table[["conf_low", "conf_high", "band_low", "band_high"]].to_numpy(dtype=float)
        ratio_axis(ax, "y", ends, look)
    elif curve.kind in ("survival", "cumulative_incidence"):
        ax.set_ylim(0, 1 if curve.kind == "survival" else None)
    number_axis(ax.xaxis, look)
    if not ratio:
        number_axis(ax.yaxis, look, percent=curve.kind in ("survival", "cumulative_incidence"))
    ax.set_ylabel(look.word(curve.scale), fontsize=9)
    since = "years since the mission" if curve.kind == "event_time" else "years"
    ax.set_xlabel(look.word(since), fontsize=9)
    if len(series) > 1:
        ax.legend(frameon=False, fontsize=8)
    if counted:
        _at_risk(ax, series, look)
    return finish(ax, look, curve.tidy(), title=look.word(curve.outcome), simulated=curve.simulated)


def _name(group: str, arm: str, look: Look) -> str:
    parts = [look.word(part) for part in (group if group != "all" else "", arm) if part]
    return ", ".join(parts) or look.word("all")


def _steps(ax: Axes, part: pd.DataFrame, name: str, i: int, look: Look, start: float | None) -> None:
    time, value, low, high = (part[c].to_numpy(dtype=float) for c in ("time", "estimate", "conf_low", "conf_high"))
    if len(time) and time[0] > 0 and start is not None:
        time = np.concatenate([[0.0], time])
        value, low, high = (np.concatenate([[start], v]) for v in (value, low, high))
    dash = DASHES[i % len(DASHES)]
    ax.step(time, value, where="post", label=name, color=look.colour(i), linestyle=dash, linewidth=1.8)
    if np.isfinite(low).any():
        ax.fill_between(time, low, high, step="post", color=look.colour(i), alpha=0.15, linewidth=0)


def _points(ax: Axes, part: pd.DataFrame, name: str, i: int, n: int, look: Look) -> None:
    shift = 0.12 * (i - (n - 1) / 2)
    time = part["time"].to_numpy(dtype=float) + shift
    value, low, high, band_low, band_high = (
        part[c].to_numpy(dtype=float) for c in ("estimate", "conf_low", "conf_high", "band_low", "band_high")
    )
    ax.vlines(time, band_low, band_high, color=look.colour(i), linewidth=0.8)
    ax.vlines(time, low, high, color=look.colour(i), linewidth=2.4)
    ax.plot(time, value, MARKS[i % len(MARKS)], color=look.colour(i), markersize=6, label=name)


def _at_risk(ax: Axes, series: list[tuple[str, pd.DataFrame]], look: Look) -> None:
    """Numbers at risk under the axis, one line per curve, at whole times."""
    last = max(float(part["time"].max()) for _, part in series)
    step = max(1, int(np.ceil(last / MOST_RISK_TIMES)))
    times = np.arange(0, last + 1e-9, step)
    write(ax, look.word("at risk"), (0, 0), (-6, -34), colour=FAINT, ha="right", va="top")
    for i, (name, part) in enumerate(series):
        down = -46 - 12 * i
        write(ax, _short(name), (0, 0), (-6, down), colour=look.colour(i), ha="right", va="top")
        at, risk = part["time"].to_numpy(dtype=float), part["n_at_risk"].to_numpy(dtype=float)
        for t in times.tolist():
            # At risk just before t: the number of the first point at or after it.
            place = int(np.searchsorted(at, t - 1e-9))
            if place < len(risk) and np.isfinite(risk[place]):
                under = ("data", "axes fraction")
                write(ax, look.number(risk[place], 1), (t, 0), (0, down), of=under, ha="center", va="top")


def _short(text: str, length: int = 16) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
