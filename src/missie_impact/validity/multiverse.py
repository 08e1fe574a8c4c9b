"""Many defensible readings of the same question side by side: the whole curve, and no selected p value."""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from missie_impact.definitions import CBS_2024, DEFAULT_CONTROLS, Definitions
from missie_impact.display import html_table
from missie_impact.effects import Effect, market_entry, market_exit, structural_transition
from missie_impact.effects.fitting.rows import ClusterChoice
from missie_impact.errors import MissieError, SettingsError
from missie_impact.panel import Panel, build_panel
from missie_impact.registers import Registers
from missie_impact.registers.engine import Lazy
from missie_impact.risksets import RiskSet, entry_risk_set, exit_risk_set, transition_risk_set

Question = Literal["transition", "exit", "entry"]
SCALES: dict[str, str] = {"transition": "odds_ratio", "exit": "hazard_ratio", "entry": "risk_difference"}
NUMBERS = ("estimate", "std_error", "conf_low", "conf_high", "n_rows", "n_firms", "n_treated", "n_events", "reason")
LEVEL = "level"  # short for transition_level
THRESHOLD = "threshold"  # short for min_years
DEFAULT_READINGS: dict[str, Mapping[str, Sequence[Any]]] = {
    "transition": {
        "window": (4, 5), THRESHOLD: (2, 3), "count_from": ("t+1", "t"), LEVEL: ("firm", "market"),
        "controls": ("default", "none"),
    },
    "exit": {"gap_years": (1, 2, 3), "start_from": ("t", "t+1", "t+2"), "controls": ("default", "none")},
    "entry": {
        "entry_lookback": (2, 3), "entry_count_mission_year": (False, True), "entry_flow": ("either", "export"),
        "controls": ("default", "none"),
    },
}  # fmt: skip
"""Readings that are run unless others are named: reading -> its values."""


@dataclass(frozen=True, slots=True, eq=False)
class Multiverse:
    """All readings of a question.

    Made by :func:`multiverse`.

    Attributes
    ----------
    question, scale : what is asked, and on which scale
    readings : names of the readings, which are columns of the table
    table : one row per combination: the readings, estimate, std_error (ratios: of the logarithm), conf_low, conf_high,
        n_rows, n_firms, n_treated, n_events, reason, headline (the reading of the definitions), rank (by estimate, for
        a specification curve)
    notes : what a reader must know
    simulated : whether the registers are simulated ones
    """

    question: str
    scale: str
    readings: tuple[str, ...]
    table: pd.DataFrame
    notes: tuple[str, ...]
    simulated: bool = False

    def summary(self) -> pd.DataFrame:
        """Return how far the curve spreads: per value of each reading the median, lowest and highest estimate."""
        rows = []
        for reading in self.readings:
            for value, part in self.table.groupby(reading, sort=False):
                found = part["estimate"].dropna()
                spread = (found.median(), found.min(), found.max()) if len(found) else (math.nan,) * 3
                rows.append((reading, value, len(part), int(part["estimate"].isna().sum()), *spread))
        return pd.DataFrame(rows, columns=["reading", "value", "n", "without_estimate", "median", "lowest", "highest"])

    def __repr__(self) -> str:
        source = ", simulated" if self.simulated else ""
        return f"Multiverse({self.question}, {self.scale}: {len(self.table)} readings{source})"

    def _repr_html_(self) -> str:
        title = f"{len(self.table)} readings of {self.question}, {self.scale}"
        return html_table(self.table, title=title, notes=self.notes, simulated=self.simulated)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How the readings are run.

    Attributes
    ----------
    journal : a file that keeps each reading as it is done, so that a run that was interrupted goes on where it stopped;
        it holds estimates and counts only
    progress : progress bar on standard error; None shows it in a terminal only
    controls : name -> list of controls, for the reading "controls"; "default" and "none" are there
    controls_per_treated : sampled controls of entry and exit questions; None: the default of entry, all of exit

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> options = mi.RunOptions(progress=False, controls={"few": ["log_exports", "log_workers"]})
    >>> found = mi.multiverse(panel, readings={"controls": ["none", "few"]}, cluster="firm", options=options)
    >>> found.table["controls"].tolist()
    ['none', 'few']
    """

    journal: Path | str | None = None
    progress: bool | None = None
    controls: Mapping[str, Sequence[str]] | None = None
    controls_per_treated: int | None = None


DEFAULT_RUN = RunOptions()


def multiverse(
    source: Registers | Panel,
    question: Question = "transition",
    readings: Mapping[str, Sequence[Any]] | None = None,
    *,
    cluster: ClusterChoice,
    scale: str | None = None,
    estimator: Callable[[RiskSet, Sequence[str] | None], Effect] | None = None,
    options: RunOptions = DEFAULT_RUN,
) -> Multiverse:
    """Estimate a question under every combination of defensible readings.

    Parameters
    ----------
    source : checked registers, or a panel (its definitions are the headline)
    question : "transition", "exit" or "entry"
    readings : reading -> its values. A reading is a field of :class:`Definitions`, "threshold" (``min_years``), "level"
        (``transition_level``), "start_from" (exit), or "controls" (names of lists). Combinations that contradict
        themselves, such as more years than the window has, are rows with a reason. None: ``DEFAULT_READINGS``
    cluster : as in the estimators
    scale : of the curve; None is the headline's
    estimator : makes an effect from a risk set and a list of controls; None is the regression of the question
    options : journal, progress bar, lists of controls

    Returns
    -------
    Multiverse
        The whole curve. No p value is in it: choosing one among many readings would not be a test.

    Raises
    ------
    SettingsError
        If a reading is unknown or has no value, or the journal belongs to another run.

    References
    ----------
    Steegen et al. (2016), Perspectives on Psychological Science 11, 702-712; Simonsohn, Simmons and Nelson (2020),
    Nature Human Behaviour 4, 1208-1214.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> found = mi.multiverse(panel, readings={"min_years": [2, 3], "controls": ["none"]}, cluster="firm")
    >>> found.table[["min_years", "controls"]].values.tolist()
    [[2, 'none'], [3, 'none']]
    """
    if question not in get_args(Question):
        raise SettingsError(f"question: expected one of {list(get_args(Question))}, found {question!r}.")
    base = source.definitions if isinstance(source, Panel) else CBS_2024
    registers = source.registers if isinstance(source, Panel) else source
    asked = {name: tuple(values) for name, values in (readings or DEFAULT_READINGS[question]).items()}
    lists = {"default": DEFAULT_CONTROLS, "none": (), **(options.controls or {})}
    _check(asked, question, lists)
    run = _Run(registers, base, question, scale or SCALES[question], cluster, lists, estimator, options)
    rows = list(_rows(run, asked))
    table = pd.DataFrame(rows, columns=[*asked, *NUMBERS, "headline"])
    for name in ("n_rows", "n_firms", "n_treated", "n_events"):
        table[name] = table[name].astype("Int64")
    table["rank"] = table["estimate"].rank(method="first").astype("Int64")
    return Multiverse(
        question,
        run.scale,
        tuple(asked),
        table,
        ("every reading asked for is in the table; the readings share their data, so they are no independent evidence, "
         "and none of them is selected by its p value",),
        registers.settings.simulated is not None,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Run:
    """What all readings share."""

    registers: Registers
    base: Definitions
    question: Question
    scale: str
    cluster: ClusterChoice
    lists: Mapping[str, Sequence[str]]
    estimator: Callable[[RiskSet, Sequence[str] | None], Effect] | None
    options: RunOptions

    def defaults(self) -> dict[str, Any]:
        """Values of the headline, by reading."""
        known = {f.name: getattr(self.base, f.name) for f in fields(self.base)}
        return known | {
            THRESHOLD: self.base.min_years, LEVEL: self.base.transition_level, "start_from": "t+1",
            "controls": "default",
        }  # fmt: skip


def _check(asked: Mapping[str, tuple[Any, ...]], question: str, lists: Mapping[str, Sequence[str]]) -> None:
    own = {THRESHOLD, LEVEL, "controls"} | ({"start_from"} if question == "exit" else set())
    known = {f.name for f in fields(Definitions)} | own
    unknown, empty = sorted(set(asked) - known), sorted(n for n, v in asked.items() if not v)
    if unknown or empty:
        raise SettingsError(
            f"readings: expected fields of the definitions or some of {sorted(own)}, found {unknown}; without a value: "
            f"{empty}."
        )
    strange = [name for name in asked.get("controls", ()) if name not in lists]
    if strange:
        raise SettingsError(f"readings of controls {strange}: expected names among {sorted(lists)}.")


def _rows(run: _Run, asked: Mapping[str, tuple[Any, ...]]) -> Iterator[list[Any]]:
    """One row per combination; combinations that share definitions follow one another and share a risk set."""
    from tqdm import tqdm

    names, defaults = list(asked), run.defaults()
    combinations = list(itertools.product(*asked.values()))
    order = sorted(range(len(combinations)), key=lambda i: _made_of(names, combinations[i]))
    done = _journal(run, names)
    last: tuple[str, RiskSet | str, tuple[Lazy, ...]] | None = None
    found: dict[int, list[Any]] = {}
    hide = None if run.options.progress is None else not run.options.progress
    for i in tqdm(order, desc=f"readings of {run.question}", unit="reading", disable=hide, file=sys.stderr):
        reading = dict(zip(names, combinations[i], strict=True))
        key = json.dumps(reading, default=list)
        if key not in done:
            made = _made_of(names, combinations[i])
            if last is None or last[0] != made:
                run.registers.engine.forget(*(last[2] if last is not None else ()))
                last = (made, *_risk_set(run, reading))
            done[key] = _numbers(run, last[1], reading)
            _write(run, key, done[key])
        headline = all(value == defaults[name] for name, value in reading.items())
        found[i] = [*(v if isinstance(v, (int, float, str, bool)) else str(v) for v in combinations[i]), *done[key]]
        found[i].append(headline)
    yield from (found[i] for i in range(len(combinations)))


def _made_of(names: list[str], values: tuple[Any, ...]) -> str:
    """What a risk set depends on: everything but the controls."""
    return json.dumps({n: v for n, v in zip(names, values, strict=True) if n != "controls"}, default=list)


def _risk_set(run: _Run, reading: Mapping[str, Any]) -> tuple[RiskSet | str, tuple[Lazy, ...]]:
    """Risk set of a reading, or why there is none, and the tables to let go of after it."""
    short = {THRESHOLD: "min_years", LEVEL: "transition_level"}
    own = {short.get(n, n): v for n, v in reading.items() if n not in ("controls", "start_from")}
    try:
        panel = build_panel(run.registers, definitions=run.base.with_changes(own))
    except MissieError as error:
        return _reason(error), ()
    drawn = run.options.controls_per_treated
    try:
        if run.question == "transition":
            risk = transition_risk_set(panel)
        elif run.question == "exit":
            risk = exit_risk_set(panel, start_from=reading.get("start_from", "t+1"), controls_per_treated=drawn)
        else:
            risk = entry_risk_set(panel) if drawn is None else entry_risk_set(panel, controls_per_treated=drawn)
    except MissieError as error:
        return _reason(error), panel.stored
    return risk, (*panel.stored, risk.rows)


def _numbers(run: _Run, risk: RiskSet | str, reading: Mapping[str, Any]) -> list[Any]:
    empty: list[Any] = [math.nan] * 4 + [None] * 4
    if isinstance(risk, str):
        return [*empty, risk]
    controls = run.lists[reading.get("controls", "default")]
    try:
        effect = _estimate(run, risk, controls or None)
        found = effect.effect(run.scale)
    except MissieError as error:
        return [*empty, _reason(error)]
    return [getattr(found, name) for name in NUMBERS]


def _estimate(run: _Run, risk: RiskSet, controls: Sequence[str] | None) -> Effect:
    if run.estimator is not None:
        return run.estimator(risk, controls)
    if run.question == "exit":
        return market_exit(risk, cluster=run.cluster, controls=controls)
    if run.question == "entry":
        return market_entry(risk, cluster=run.cluster, controls=controls)
    return structural_transition(risk, cluster=run.cluster, controls=controls)


def _reason(error: MissieError) -> str:
    return str(error).split(". ")[0]


def _journal(run: _Run, names: list[str]) -> dict[str, list[Any]]:
    """Read what an earlier run has done; its head must be that of this run."""
    if run.options.journal is None:
        return {}
    path, head = Path(run.options.journal), _head(run, names)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(head) + "\n", encoding="utf-8")
        return {}
    text = path.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.endswith("}")]
    if not lines or json.loads(lines[0]) != head:
        raise SettingsError("the journal belongs to another run: other registers, question, scale or readings.")
    if not text.endswith("\n"):  # a line that was cut off stays alone
        path.write_text(text + "\n", encoding="utf-8")
    return {r["reading"]: r["found"] for r in map(json.loads, lines[1:])}


def _head(run: _Run, names: list[str]) -> dict[str, Any]:
    settings = run.registers.settings
    own = {f.name: str(getattr(run.base, f.name)) for f in fields(run.base)}
    return {
        "question": run.question, "scale": run.scale, "readings": names, "cluster": str(run.cluster),
        "years": [settings.first_year, settings.last_year], "simulated": str(settings.simulated), "definitions": own,
        "controls": {name: list(listed) for name, listed in run.lists.items()},
    }  # fmt: skip


def _write(run: _Run, key: str, found: list[Any]) -> None:
    if run.options.journal is not None:
        with Path(run.options.journal).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"reading": key, "found": found}) + "\n")
