"""Rows at risk over (start, stop] as curves need them: when each begins and ends, with what, for which unit and arm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.effects.fitting.rows import ClusterChoice, Mask, Request, Rows, Source, parts, read_rows
from missie_impact.effects.fitting.spans import row_starts
from missie_impact.errors import EmptyTableError, MissingValueError, SchemaError, SettingsError
from missie_impact.numerics.covariance import Clusters, clusters_of
from missie_impact.numerics.incidence import ExitRows, exit_rows
from missie_impact.risksets.riskset import RiskSet

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

ARMS = ((1, "treated"), (0, "untreated"))
NOTHING = frozenset({"", "0", "none", "no", "false", "censored", "open", "nan"})
"""Texts of a cause that say that nothing happened."""
FIRST_CAUSES = ("exit", "death", "lost")
SWITCHING = (
    "display only: the treatment switches within a spell (Simon-Makuch curves); who is treated late survived until "
    "then, so the curves compare different units at every time"
)


@dataclass(frozen=True, slots=True)
class Followed:
    """Arrays of a risk set of n rows, read for curves.

    Attributes
    ----------
    risk : where they come from
    rows : treatment, weights, subgroups and clusters
    start, stop : (n,) each row is at risk over (start, stop]
    cause : (n,) 0 without an event, else 1 .. K
    causes : (K,) their names, the event of interest first
    there : (n,) rows that take part
    clusters : (n,) of the errors, one per dimension; empty for rows on their own
    error : name of the error
    unit : the unit each row belongs to; None where the table does not tell
    switching : whether the treatment changes within a unit
    notes : what was left out on the way
    """

    risk: RiskSet
    rows: Rows
    start: Floats
    stop: Floats
    cause: Codes
    causes: tuple[str, ...]
    there: Mask
    clusters: tuple[Clusters, ...]
    error: str
    unit: Clusters | None
    switching: bool
    notes: tuple[str, ...]

    def exits(self, positions: Codes, cause: Codes | None = None) -> ExitRows:
        """Rows at some positions, for curves of all causes, or of other ones."""
        weights = (self.rows.frequency, self.rows.probability)
        frequency, probability = (None if w is None else w[positions] for w in weights)
        return exit_rows(
            self.stop[positions],
            (self.cause if cause is None else cause)[positions],
            start=self.start[positions],
            frequency=frequency,
            probability=probability,
            n_causes=len(self.causes) if cause is None else 1,
        )

    def groups(self) -> Iterator[tuple[str, Mask]]:
        """Name and rows of each group, "all" first."""
        yield "all", self.there
        for group in self.rows.groups:
            yield group.name, self.there & group.rows

    def arms(self, inside: Mask) -> Iterator[tuple[str, Codes]]:
        """Name and positions of the treated and the untreated rows of a group, those without any left out."""
        for arm, name in ARMS:
            positions: Codes = np.flatnonzero(inside & (self.rows.treated == bool(arm)))
            if len(positions):
                yield name, positions


def follow(
    source: Source, *, cluster: ClusterChoice, by: str | Sequence[str] | None = None, start: float | None = None
) -> Followed:
    """Read the rows of a risk set, or of a design made on one, for curves.

    Parameters
    ----------
    source : risk set with a duration; where it has no start, it is read from the rows, and said
    cluster, by : see :func:`structural_transition`
    start : look only at those still there at this time, as if follow-up began then

    Raises
    ------
    SettingsError
        If the risk set has no duration, or rows end before or when they begin.
    """
    risk, _ = parts(source)
    roles = risk.roles
    if roles.duration is None:
        raise SettingsError(
            f"a curve along time needs a duration, and this risk set ({risk.question}) has none. Name the column with "
            "duration= (and start=) when you make it, or use exit_risk_set."
        )
    rows = read_rows(source, Request(None, by=by, cluster=(cluster,)))
    keys = [c for c in (roles.firm, roles.market, roles.year) if c is not None]
    wanted = [roles.duration, roles.outcome, *(c for c in (roles.start, roles.cause) if c is not None), *keys]
    frame = risk.collect(list(dict.fromkeys(wanted)))
    stop, missing = _times(frame, roles.duration, risk)
    if roles.start is not None:
        _times(frame, roles.start, risk)
    begin, read = row_starts(frame, roles)
    there = ~missing & np.isfinite(begin) & _weighted(rows)
    notes = [f"{int(missing.sum())} rows of spells whose start was not seen are left out"] if missing.any() else []
    notes += [read] if read else []
    if start is not None:
        there &= stop > start
        begin = np.maximum(begin, start)
        notes.append(f"given survival to {start:g}")
    _check(begin, stop, there)
    cause, causes = _causes(frame, rows, risk)
    unit = units(frame, risk, begin, stop)
    switching = risk.design == "spells" or (unit is not None and _switches(rows.treated, unit, there))
    main = rows.clusterings[0]
    clusters = main.dimensions
    if not clusters and risk.design == "trials" and unit is not None:
        clusters = (unit,)  # the years of a unit are one piece of information
    return Followed(
        risk, rows, begin, stop, cause, causes, there, clusters, main.name, unit, switching, tuple(notes)
    )  # fmt: skip


def describe(followed: Followed) -> tuple[str, tuple[str, ...]]:
    """Return how arms are compared, in words, and the notes of the rows."""
    notes = [*followed.notes]
    if followed.switching:
        return SWITCHING, tuple(notes)
    weighted = followed.rows.probability is not None
    design = "as observed, weighted" if weighted else "as observed: arms that differ are shown as they are"
    if weighted:
        notes.append(weights_note(followed.rows))
    if followed.risk.design == "trials":
        design = f"trials from time zero, {design}"
    return design, tuple(notes)


def units(frame: pd.DataFrame, risk: RiskSet, start: Floats, stop: Floats) -> Clusters | None:
    """Unit of each row: firm x market (x year where the rows of a pair overlap); None where rows still overlap.

    Rows that overlap but never follow each other are units on their own, such as one row per spell.
    """
    roles = risk.roles
    alone = Clusters(np.arange(len(frame)), len(frame))
    pair = [c for c in (roles.firm, roles.market) if c is not None]
    if not pair:
        return alone
    choices = [[*pair, roles.year]] if roles.year is not None else []
    if risk.design != "trials":
        choices.insert(0, pair)
    for columns in choices:
        unit = clusters_of(*(pd.factorize(frame[c])[0] for c in columns))
        if not _overlap(unit, start, stop):
            return unit
    return None if _continue(clusters_of(*(pd.factorize(frame[c])[0] for c in pair)), start, stop) else alone


def _overlap(unit: Clusters, start: Floats, stop: Floats) -> bool:
    order = np.lexsort((start, unit.codes))
    same = np.diff(unit.codes[order]) == 0
    return bool((same & (start[order][1:] < stop[order][:-1])).any())


def _continue(unit: Clusters, start: Floats, stop: Floats) -> bool:
    """Whether some row begins where another of the same unit ends."""
    times, codes = np.unique(np.concatenate([start, stop]), return_inverse=True)
    ends = unit.codes * len(times) + codes[len(start) :]
    return bool(np.isin(unit.codes * len(times) + codes[: len(start)], ends).any())


def _switches(treated: Mask, unit: Clusters, there: Mask) -> bool:
    number = np.bincount(unit.codes[there], minlength=unit.count)
    on = np.bincount(unit.codes[there], treated[there], minlength=unit.count)
    return bool(((on > 0) & (on < number)).any())


def weights_note(rows: Rows, *, included: bool = True) -> str:
    """Say whether errors count that weights were estimated; empty without weights."""
    if rows.probability is None:
        return ""
    counted = included and rows.weighting is not None
    return "errors count the estimation of the weights" if counted else "weights are taken as known in the errors"


def _weighted(rows: Rows) -> Mask:
    there = np.ones(rows.n, dtype=bool)
    for weight in (rows.frequency, rows.probability):
        there &= True if weight is None else weight > 0
    return there


def _times(frame: pd.DataFrame, column: str, risk: RiskSet) -> tuple[Floats, Mask]:
    values = frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
    missing = np.isnan(values)
    if missing.any() and risk.design != "spells":
        raise MissingValueError(
            f"column `{column}`: expected a time in every row, found {int(missing.sum())} of {len(values)} without "
            "one. Leave these rows out."
        )
    return values, missing


def _check(start: Floats, stop: Floats, there: Mask) -> None:
    if not there.any():
        raise EmptyTableError("no row at risk is left: expected rows with a known duration and a positive weight.")
    bad = int(np.count_nonzero(there & ~(stop > start)))
    if bad:
        raise SettingsError(
            f"{bad} of {int(there.sum())} rows do not end after they begin, so they were never at risk: drop them."
        )


def _causes(frame: pd.DataFrame, rows: Rows, risk: RiskSet) -> tuple[Codes, tuple[str, ...]]:
    """Number the causes: those of the outcome first, then the others."""
    column = risk.roles.cause
    if column is None:
        name = "exit" if risk.question == "exit" else risk.roles.outcome
        return rows.y.astype(np.intp), (name,)
    labels = cause_labels(frame[column])
    event = rows.y == 1.0
    unknown = int((event & (labels == "")).sum())
    if unknown:
        raise SchemaError(
            f"column `{column}` (cause): expected a cause in every row with an event, found none in {unknown} rows."
        )
    own = set(np.unique(labels[event]).tolist())
    found = [*sorted(own), *sorted(set(np.unique(labels).tolist()) - own - {""})]
    rank = {name: i for i, name in enumerate(FIRST_CAUSES)}
    found.sort(key=lambda name: (name not in own, rank.get(name, len(rank))))
    number = {name: i + 1 for i, name in enumerate(found)} | {"": 0}
    return pd.Series(labels).map(number).to_numpy(dtype=np.intp), tuple(found) or (risk.roles.outcome,)


def cause_labels(values: pd.Series[Any]) -> NDArray[np.object_]:
    """Return causes as text, empty where nothing happened (none, censored, open, 0, empty or missing)."""
    missing = values.isna().to_numpy(dtype=bool)
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        numbers = values.to_numpy(dtype=np.float64, na_value=0.0)
        text = np.array([f"{x:g}" for x in np.unique(numbers)], dtype=object)
        labels = text[np.unique(numbers, return_inverse=True)[1]]
    else:
        labels = values.astype(object).where(~missing, "").map(str).to_numpy(dtype=object)
    nothing = pd.Series(labels).str.lower().isin(NOTHING).to_numpy(dtype=bool)
    return np.where(missing | nothing, "", labels)
