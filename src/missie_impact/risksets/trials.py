"""What all trials by mission year share: who went, who may be in a trial, which years can be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import narwhals as nw
import numpy as np

from missie_impact.errors import NoParticipantError, SettingsError
from missie_impact.flow import Flow, FlowStep
from missie_impact.linkage.counting import count_units
from missie_impact.panel import Panel
from missie_impact.registers.engine import Lazy, distinct

FIRM, PAIR = ["firm"], ["firm", "market"]
Comparison = Literal["between_firms", "within_firm"]


def is_within_firm(comparison: Comparison, level: str) -> bool:
    """Return whether a firm's other markets are its controls, which needs pairs."""
    if comparison not in get_args(Comparison):
        raise SettingsError(f"comparison: expected one of {list(get_args(Comparison))}, found {comparison!r}.")
    if comparison == "within_firm" and level != "market":
        raise SettingsError('comparison="within_firm" compares the markets of a firm: it needs level="market".')
    return comparison == "within_firm"


@dataclass(frozen=True, slots=True)
class TrialYears:
    """Mission years that a risk set can use: from ``first`` to ``last``, both included."""

    first: int
    last: int


def usable_years(panel: Panel, before: int, after: int) -> TrialYears:
    """Return the mission years with ``before`` years of trade data before them and ``after`` years behind them.

    The participant list must also reach back far enough to know who had no mission in the washout years.
    """
    listed_from = panel.linkage.first_year
    earliest = panel.first_year + before
    if listed_from is not None:
        earliest = max(earliest, listed_from + panel.definitions.washout)
    return TrialYears(earliest, panel.last_year - after)


def check_per_treated(number: object) -> None:
    """Refuse numbers of controls per treated pair below one, and what is no number."""
    if isinstance(number, bool) or not isinstance(number, (int, float, np.integer)):
        raise SettingsError(f"controls_per_treated: expected a number of at least 1, found {type(number).__name__}.")
    if not number >= 1:
        raise SettingsError(f"controls_per_treated: expected a number of at least 1, found {number!r}.")


def require_participants(panel: Panel) -> None:
    """Raise where no firm of the register is on any listed mission."""
    if panel.engine.count(panel.supports.filter(nw.col("listed"))) == 0:
        raise NoParticipantError(
            "expected firms on listed missions, found none: the participant list is empty, nobody could be linked, or "
            f"no instrument is one of {list(panel.definitions.instruments)}. See panel.linkage.report."
        )


def went(panel: Panel, unit: Sequence[str]) -> Lazy:
    """Return unit, year, mission, host and led (1: minister-led); several missions in a year are one, the earliest."""
    listed = panel.supports.filter(nw.col("listed")).with_columns(year=nw.col("year").cast(nw.Int64))
    first = listed.with_columns(first=nw.col("date").min().over(*unit, "year"))
    led = nw.when(nw.col("minister_led").fill_null(False)).then(1).otherwise(0).cast(nw.Int8)
    earliest = first.filter(nw.col("date") == nw.col("first")).with_columns(led=led, host=nw.col("market"))
    return earliest.group_by(*unit, "year").agg(nw.col("mission").min(), nw.col("host").min(), nw.col("led").max())


def washed_out(panel: Panel, unit: Sequence[str]) -> Lazy:
    """Return unit, year for every year in which an earlier listed mission bars the unit from a trial."""
    years = went(panel, unit).select(*unit, "year")
    barred = [years.with_columns(year=nw.col("year") + k) for k in range(1, panel.definitions.washout + 1)]
    return distinct(nw.concat(barred))


def hosts(panel: Panel, years: TrialYears) -> Lazy:
    """Return market, year of the listed missions in usable years."""
    calendar = panel.linkage.hosts.with_columns(year=nw.col("year").cast(nw.Int64))
    return calendar.filter(nw.col("year").is_between(years.first, years.last))


def flag(frame: Lazy, other: Lazy, on: Sequence[str], name: str) -> Lazy:
    """Add 1 where the key is in the other table, else 0."""
    marked = distinct(other.select(*on)).with_columns(nw.lit(1).alias(name))
    return frame.join(marked, on=list(on), how="left").with_columns(nw.col(name).fill_null(0).cast(nw.Int8))


def with_treatment(frame: Lazy, panel: Panel, unit: Sequence[str]) -> Lazy:
    """Add treated (0 or 1), washed (1: a listed mission in the washout years) and what describes the mission.

    mission, host (firms only) and minister_led ("minister-led", "not minister-led") are null for controls.
    """
    assigned = went(panel, unit) if unit == FIRM else went(panel, unit).drop("host")
    joined = frame.join(assigned, on=[*unit, "year"], how="left")
    led = nw.when(nw.col("led") == 1).then(nw.lit("minister-led"))
    other = nw.when(nw.col("led") == 0).then(nw.lit("not minister-led")).otherwise(led)
    joined = joined.with_columns(minister_led=other).drop("led")
    treated = nw.when(nw.col("mission").is_null()).then(0).otherwise(1).cast(nw.Int64)
    return flag(joined.with_columns(treated=treated), washed_out(panel, unit), [*unit, "year"], "washed")


def with_life(frame: Lazy, panel: Panel) -> Lazy:
    """Add founded, ended, lost_year and in_register (1: the firm exists in t, so that it can go)."""
    joined = frame.join(panel.life, on="firm", how="left")
    gone = (nw.col("ended") <= nw.col("year")).fill_null(False) | (nw.col("lost_year") <= nw.col("year")).fill_null(
        False
    )
    unborn = (nw.col("founded") > nw.col("year")).fill_null(False)
    return joined.with_columns(in_register=nw.when(gone | unborn).then(0).otherwise(1).cast(nw.Int64))


def elsewhere(frame: Lazy, panel: Panel) -> Lazy:
    """Add elsewhere (1: a control pair of a firm that goes on a listed mission to another market in t)."""
    flagged = flag(frame, went(panel, FIRM), ["firm", "year"], "firm_goes")
    other = (nw.col("firm_goes") == 1) & (nw.col("treated") == 0)
    return flagged.with_columns(elsewhere=nw.when(other).then(1).otherwise(0).cast(nw.Int64)).drop("firm_goes")


def never_pool(frame: Lazy, panel: Panel, unit: Sequence[str]) -> Lazy:
    """Add treated_ever (1: a control that goes at some time), which the pool "never" leaves out."""
    flagged = flag(frame, went(panel, unit), unit, "ever")
    other = (nw.col("ever") == 1) & (nw.col("treated") == 0)
    return flagged.with_columns(treated_ever=nw.when(other).then(1).otherwise(0).cast(nw.Int64)).drop("ever")


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition rows must meet, with the words for those that do not."""

    name: str
    keep: nw.Expr
    reason: str


def attrition(panel: Panel, frame: Lazy, start: str, rules: Sequence[Rule]) -> tuple[FlowStep, ...]:
    """Count rows, firms and treated rows after each rule, in one pass."""
    met = nw.col("treated") >= 0
    selects: list[nw.Expr] = []
    for i, rule in enumerate([Rule(start, met, ""), *rules]):
        met = met & rule.keep
        one = nw.when(met).then(1).otherwise(0).cast(nw.Int64)
        selects += [
            one.sum().cast(nw.Int64).alias(f"rows_{i}"),
            nw.when(met).then(nw.col("firm")).n_unique().cast(nw.Int64).alias(f"firms_{i}"),
            nw.when(met).then(nw.lit(0)).otherwise(1).sum().cast(nw.Int64).alias(f"null_{i}"),
            (one * nw.col("treated")).sum().cast(nw.Int64).alias(f"treated_{i}"),
        ]
    found = panel.engine.collect(frame.select(*selects), sort_by=[]).fillna(0).iloc[0]
    steps = []
    for i, rule in enumerate([Rule(start, met, ""), *rules]):
        firms = int(found[f"firms_{i}"]) - (1 if found[f"null_{i}"] > 0 else 0)  # n_unique counts null as one
        steps.append(FlowStep(rule.name, int(found[f"rows_{i}"]), firms, int(found[f"treated_{i}"]), rule.reason))
    return tuple(steps)


def keep(frame: Lazy, rules: Sequence[Rule]) -> Lazy:
    """Leave in the rows that meet every rule."""
    for rule in rules:
        frame = frame.filter(rule.keep)
    return frame


def whole_flow(panel: Panel, years: TrialYears, steps: Sequence[FlowStep]) -> Flow:
    """Return the flow from the lists and files to the rows of a risk set."""
    outside = Flow(missions_outside(panel, years)).of("listed missions")
    return panel.linkage.flow.of("participations").then(
        *outside.steps, *panel.flow.of("trade").steps, *Flow(tuple(steps)).of("risk set").steps
    )


def missions_outside(panel: Panel, years: TrialYears) -> tuple[FlowStep, ...]:
    """Count participants in and outside the usable mission years, by reason."""
    listed = panel.supports.filter(nw.col("listed"))
    year = nw.col("year")

    def step(name: str, where: nw.Expr, reason: str) -> FlowStep:
        rows, firms = count_units(panel.engine, listed.filter(where))
        return FlowStep(name, rows, firms, rows, reason)

    return (
        step("participations in listed missions", year > 0, ""),
        step(f"... before {years.first}: not usable", year < years.first, "window, or list, begins too late"),
        step(f"... after {years.last}: not usable", year > years.last, "data end before the outcome is seen"),
        step(f"... in usable years {years.first}-{years.last}", year.is_between(years.first, years.last), ""),
    )
