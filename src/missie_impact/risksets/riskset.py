"""The risk set: rows at risk with their roles, made by a question or from a researcher's own table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.definitions import Definitions
from missie_impact.errors import EmptyTableError, SchemaError, SettingsError
from missie_impact.flow import Flow, FlowStep
from missie_impact.registers import Engine
from missie_impact.registers.engine import Lazy

Question = Literal["transition", "exit", "entry", "increase", "own table"]
Design = Literal["trials", "spells", "frame"]


@dataclass(frozen=True, slots=True)
class Roles:
    """Names of the columns by what they are; None where the table has no such column.

    Attributes
    ----------
    outcome : 0 or 1 (``increase``: a number)
    treatment : 0 or 1
    firm, market : the unit
    year : mission year of the trial, or year of the row
    mission : mission of a treated row
    duration, start : the row covers (start, duration]; without a start, see :meth:`RiskSet.from_frame`
    cause : which event a row ends with; ``outcome`` is the event of interest
    frequency : a row with weight 2 stands for two equal rows
    probability : sampling, matching or balancing weight

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0] * 10 + [1] * 10, "structural": [1] * 2 + [0] * 8 + [1] * 5 + [0] * 5})
    >>> risk = mi.RiskSet.from_frame(table, outcome="structural", treatment="went")
    >>> risk.roles.named()
    {'outcome': 'structural', 'treatment': 'went'}
    """

    outcome: str
    treatment: str
    firm: str | None = None
    market: str | None = None
    year: str | None = None
    mission: str | None = None
    duration: str | None = None
    start: str | None = None
    cause: str | None = None
    frequency: str | None = None
    probability: str | None = None

    def named(self) -> dict[str, str]:
        """Return role -> column for the roles that are filled."""
        filled = {f.name: getattr(self, f.name) for f in fields(self)}
        return {role: column for role, column in filled.items() if column is not None}


KEY_ROLES = ("firm", "market", "year", "start", "duration")
OUTCOME_ROLES = ("outcome", "cause")


@dataclass(frozen=True)
class RiskSet:
    """Rows at risk. Every estimator takes one; a :class:`Design` is made from one.

    Attributes
    ----------
    rows : lazy table, stored once in the engine
    roles : names of the columns by what they are
    question, design : what is asked, and how rows came about
    controls : default controls of the question that the table holds
    absent_controls : default controls that could not be made, by name
    after_columns : columns known only after t, which no design may look at
    definitions : the rules; None for an own table
    flow : who was left out, and why
    n_rows : number of rows
    simulated : whether the rows come from simulated registers

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0] * 10 + [1] * 10, "structural": [1] * 2 + [0] * 8 + [1] * 5 + [0] * 5})
    >>> risk = mi.RiskSet.from_frame(table, outcome="structural", treatment="went")
    >>> risk.n_rows, risk.covariates().columns.tolist()
    (20, ['went'])
    """

    rows: Lazy
    engine: Engine
    roles: Roles
    question: Question
    design: Design
    n_rows: int
    controls: tuple[str, ...] = ()
    absent_controls: tuple[str, ...] = ()
    after_columns: tuple[str, ...] = ()
    definitions: Definitions | None = None
    flow: Flow = field(default_factory=Flow)
    simulated: bool = False

    @property
    def columns(self) -> list[str]:
        """Names of all columns."""
        return [c for c in self.rows.collect_schema().names() if c != ROW]

    def collect(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Bring rows out as pandas, sorted by key; only the columns asked for."""
        keys = [k for k in (getattr(self.roles, role) for role in KEY_ROLES) if k is not None]
        wanted = list(dict.fromkeys(columns)) if columns is not None else self.columns
        missing = [c for c in wanted if c not in self.columns]
        if missing:
            raise SchemaError(f"columns {missing} are not in the risk set; it holds {self.columns}.")
        order = [*keys, ROW] if self.design == "frame" else keys
        needed = list(dict.fromkeys([*wanted, *order]))
        frame = self.engine.collect(self.rows.select(*needed), sort_by=order)
        return frame[[c for c in wanted if c != ROW]].reset_index(drop=True)

    def covariates(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return what is known before the outcome, or some columns of it: no outcome, no cause, nothing after t.

        Raises
        ------
        SettingsError
            If a column asked for is known only afterwards.
        """
        hidden = {*(getattr(self.roles, role) for role in OUTCOME_ROLES), *self.after_columns}
        late = [c for c in columns or () if c in hidden]
        if late:
            raise SettingsError(
                f"columns {late} are the outcome or known only after the mission year; a design may not look at them."
            )
        return self.collect([c for c in self.columns if c not in hidden] if columns is None else columns)

    def table_order(self) -> NDArray[np.intp]:
        """Place of each row of :meth:`collect` in the researcher's own table; by key where the rows were built."""
        if self.design != "frame":
            return np.arange(self.n_rows)
        keys = [k for k in (getattr(self.roles, role) for role in KEY_ROLES) if k is not None]
        rows = self.engine.collect(self.rows.select(*keys, ROW), sort_by=[*keys, ROW])[ROW]
        return rows.to_numpy(dtype=np.intp)

    def __repr__(self) -> str:
        source = ", simulated" if self.simulated else ""
        return f"RiskSet({self.question}, {self.design}, {self.n_rows:,} rows{source})"

    def _repr_html_(self) -> str:
        return f"<p><b>{self!r}</b></p>{self.flow._repr_html_()}"

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        outcome: str,
        treatment: str,
        firm: str | None = None,
        market: str | None = None,
        year: str | None = None,
        mission: str | None = None,
        duration: str | None = None,
        start: str | None = None,
        cause: str | None = None,
        frequency: str | None = None,
        probability: str | None = None,
    ) -> RiskSet:
        """Take a table of the researcher's own making as a risk set.

        Parameters
        ----------
        frame : pandas, polars, Arrow, DuckDB or Spark frame; other columns stay available as controls
        outcome, treatment : always needed; 0 or 1, or true and false (``outcome`` may be any number for an increase)
        duration, start : a row covers (start, duration]. When ``start`` is left out, rows that follow each other (one
            per unit and period) begin at ``duration - 1``, and rows that do not (one per unit, with its survival time)
            begin at zero; results say in a note which was read. Discrete-time hazards take a row as one period anyway
        others : see :class:`Roles`

        Raises
        ------
        SchemaError
            If a role names a column that is not there, the outcome, treatment, firm or a weight is missing in some
            rows, or names of columns are the same but for case.
        EmptyTableError
            If the table has no row.
        """
        roles = Roles(outcome, treatment, firm, market, year, mission, duration, start, cause, frequency, probability)
        engine = Engine()
        taken = _numbered(engine, frame)
        _check_roles(roles, list(taken.collect_schema().names()))
        n_rows = engine.count(taken)
        if n_rows == 0:
            raise EmptyTableError("the table of the risk set has no row; expected one row per unit at risk.")
        flow = Flow((FlowStep("rows of the own table", n_rows),))
        risk = cls(taken, engine, roles, "own table", "frame", n_rows, flow=flow)
        _check_values(risk)
        return risk


ROW = "row_number_"  # keeps the order of an own table, whose key need not be unique


def _numbered(engine: Engine, frame: Any) -> Lazy:
    """Copy an own table in with its row numbers; a lazy table is numbered by all its columns."""
    check_names(frame)
    native = nw.from_native(frame, pass_through=True)
    if isinstance(native, nw.DataFrame):
        return engine.take(native.with_row_index(ROW))
    taken = engine.take(frame)
    columns = taken.collect_schema().names()
    return engine.store(taken.with_row_index(ROW, order_by=columns), "own_table")


def check_names(frame: Any) -> None:
    """Names must differ by more than case, as in every engine; the row number's own name is taken."""
    if isinstance(frame, Mapping):
        names = [str(name) for name in frame]
    elif isinstance(getattr(frame, "column_names", None), list):  # Arrow, whose columns are arrays
        names = [str(name) for name in frame.column_names]
    elif hasattr(frame, "collect_schema"):  # a plan of polars or narwhals
        names = list(frame.collect_schema().names())
    else:
        names = [name for name in getattr(frame, "columns", ()) if isinstance(name, str)]
    lower = [name.lower() for name in names]
    doubled = [name for name in dict.fromkeys(names) if lower.count(name.lower()) > 1]
    if doubled or ROW in lower:
        raise SchemaError(
            f"columns {doubled or [ROW]}: expected names that differ by more than upper and lower case, and none "
            f"called `{ROW}`. Drop or rename them before you make the risk set."
        )


def _check_roles(roles: Roles, columns: list[str]) -> None:
    absent = {role: column for role, column in roles.named().items() if column not in columns}
    if absent:
        held = [column for column in columns if column != ROW]
        raise SchemaError(f"roles {absent} name columns that are not there; the table has {held}.")
    doubled = [c for c in set(roles.named().values()) if list(roles.named().values()).count(c) > 1]
    if set(doubled) & {roles.outcome, roles.treatment}:
        raise SchemaError(f"columns {sorted(doubled)} are given two roles; outcome and treatment must be their own.")


def _check_values(risk: RiskSet) -> None:
    """Outcome, treatment, firm and weights must be there in every row, the treatment 0 or 1."""
    named = risk.roles.named()
    checked = {
        role: named[role] for role in ("outcome", "treatment", "firm", "frequency", "probability") if role in named
    }
    frame = risk.engine.collect(risk.rows.select(*dict.fromkeys(checked.values())), sort_by=[])
    for role, column in checked.items():
        values = frame[column]
        missing = int(values.isna().sum())
        if missing:
            raise SchemaError(
                f"column `{column}` ({role}): expected a value in every row, found {missing} rows without one. "
                "Leave these rows out before you make the risk set."
            )
        if role == "firm":
            continue
        if not pd.api.types.is_numeric_dtype(values):
            raise SchemaError(
                f"column `{column}` ({role}): expected numbers or true/false, found {values.dtype} in {len(values)} "
                f"rows. {'Recode it as 0 and 1' if role in ('outcome', 'treatment') else 'Make it a number'} first."
            )
        if role == "treatment" and not values.astype(float).isin([0.0, 1.0]).all():
            wrong = int((~values.astype(float).isin([0.0, 1.0])).sum())
            raise SchemaError(f"column `{column}` (treatment): expected 0 or 1, found other values in {wrong} rows.")
        if role in ("frequency", "probability") and (values < 0).any():
            raise SchemaError(f"column `{column}` ({role}): expected weights of at least 0, found negative ones.")
