"""What every step of the study shares, and how an estimate becomes rows of the table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from missie_impact.definitions import Definitions
from missie_impact.effects.result import Effect, Estimate
from missie_impact.flow import Flow
from missie_impact.panel import Panel
from missie_impact.published import published_figures
from missie_impact.study.records import ReplicationRow
from missie_impact.study.truths import TruthBook

SIZES = ("sme", "not_sme")
PERCENT = ("_pp", "_percent")


@dataclass(frozen=True, slots=True)
class Context:
    """Panel, rules and truths of one study."""

    panel: Panel
    definitions: Definitions
    truths: TruthBook
    simulated: bool


@dataclass(frozen=True, slots=True)
class StepResult:
    """Rows of one step, and who was left out on the way."""

    rows: tuple[ReplicationRow, ...]
    flow: Flow | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A row before it is filled: what is asked, and what stands beside it.

    Attributes
    ----------
    row : id, label, group, scale, published value, definition, status, design
    scale : scale of the estimator
    group : name of the group in the estimator's result
    estimand, population : by which the truth is looked up; empty where there is none
    """

    row: ReplicationRow
    scale: str
    group: str
    estimand: str = ""
    population: str = ""


def unit(scale: str) -> float:
    """Return the factor from fractions to the unit of a row: 100 for percent and percentage points."""
    return 100.0 if scale.endswith(PERCENT) else 1.0


def published_value(figure_id: str) -> float:
    """Return a published value as printed, NaN where nothing is published under this id."""
    values = [figure.value for figure in published_figures() if figure.id == figure_id]
    return math.nan if not values or values[0] is None else values[0]


def blank(context: Context, asked: Asked, reason: str) -> ReplicationRow:
    """Return the row without an estimate, with the reason; a stored truth still stands."""
    return replace(with_truth(context, asked).row, reason=reason, simulated=context.simulated)


def with_truth(context: Context, asked: Asked) -> Asked:
    """Add the stored and the realised truth on the row's scale."""
    if not asked.estimand:
        return asked
    key, factor = (asked.estimand, asked.population, asked.row.group), unit(asked.row.scale)
    truth, realised = context.truths.value(*key) * factor, context.truths.realised_value(*key) * factor
    return replace(asked, row=replace(asked.row, truth=truth, realised_truth=realised))


def fill(context: Context, asked: Iterable[Asked], effect: Effect) -> list[ReplicationRow]:
    """Return the rows with estimate, interval, counts and truth."""
    return [_filled(context, with_truth(context, one), effect) for one in asked]


def _filled(context: Context, asked: Asked, effect: Effect) -> ReplicationRow:
    names = {name for result in effect.groups for name in (result.group, result.group.split(" (")[0])}
    if asked.group not in names:
        return blank(context, asked, "nobody in this group")
    found = effect.effect(asked.scale, group=asked.group)
    return _from_estimate(asked.row, found, context.simulated)


def _from_estimate(row: ReplicationRow, found: Estimate, simulated: bool) -> ReplicationRow:
    factor = unit(row.scale)
    said = "; ".join(part for part in (row.reason, found.reason) if part)
    return replace(
        row,
        estimate=found.estimate * factor,
        conf_low=found.conf_low * factor,
        conf_high=found.conf_high * factor,
        n_rows=found.n_rows,
        n_firms=found.n_firms,
        n_treated=found.n_treated,
        n_events=found.n_events,
        simulated=simulated,
        reason=said,
    )
