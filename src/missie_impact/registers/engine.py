"""Where tables live and plans run: one private DuckDB connection, files read in place.

A narwhals ``LazyFrame`` is a plan that runs again at each use. `Engine.store` runs it once; `Engine.collect` brings a
small table out, sorted by key. Every run goes through the engine, because the words of a failing database may quote
values: they are withheld and replaced by what was being done.
"""

from __future__ import annotations

import csv
import glob
import itertools
import re
import uuid
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeAlias, TypeVar

import duckdb
import narwhals as nw
import numpy as np
import pandas as pd

from missie_impact.errors import EngineError, MissieError, SchemaError, SettingsError

Lazy: TypeAlias = nw.LazyFrame[Any]
T = TypeVar("T")

TEMPORARY = ".missie_impact_tmp"
ENCODINGS = ("utf-8", "utf-16", "latin-1")
_HUGE = (nw.Int128, nw.UInt128, nw.UInt64)


class Engine:
    """A private DuckDB database in memory, spilling to a folder when one is given.

    Parameters
    ----------
    folder : where a temporary folder may be made when memory runs out, such as the study's own folder.
        None: nothing is written anywhere, and a step that does not fit fails.
    threads : number of threads; None takes all cores
    memory_limit : such as "4GB"; None takes four fifths of the machine

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> with mi.Engine() as engine:
    ...     trade = engine.take(pd.DataFrame({"firm": [2, 1], "year": [2010, 2011]}))
    ...     engine.collect(trade, sort_by=["firm"])["year"].tolist()
    [2011, 2010]
    """

    def __init__(
        self, folder: str | Path | None = None, *, threads: int | None = None, memory_limit: str | None = None
    ) -> None:
        self._folder = None if folder is None else Path(folder) / TEMPORARY
        self._names = itertools.count(1)
        self._tag = f"engine_{uuid.uuid4().hex}"
        self._connection = self._open(threads, memory_limit)
        self._close: weakref.finalize[..., Any] = weakref.finalize(self, _shut, self._connection, self._folder)

    def _open(self, threads: int | None, memory_limit: str | None) -> Any:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "temp_directory": "" if self._folder is None else str(self._folder),
            "preserve_insertion_order": False,  # a third of the memory; what leaves the engine is sorted
            "autoinstall_known_extensions": False,  # no network
        }
        if threads is not None:
            settings["threads"] = threads
        if memory_limit is not None:
            settings["memory_limit"] = memory_limit
        try:
            connection = duckdb.connect(":memory:", config=settings)
            _hide_progress(connection)
            connection.execute(f"CREATE TABLE {self._tag} (x INTEGER)")
        except duckdb.Error as error:
            message = f"The engine does not start with threads={threads!r}, memory_limit={memory_limit!r}"
            raise SettingsError(f"{message}; expected a count and a size such as '4GB'.") from error
        return connection

    @property
    def is_open(self) -> bool:
        """False after `close`."""
        return self._close.alive

    def require_open(self, doing: str) -> None:
        """Raise an `EngineError` that says what is not possible any more if the engine is closed."""
        if not self.is_open:
            raise EngineError(f"The engine is closed, so {doing} is not possible; read the registers again.")

    def scan(
        self,
        path: str | Path,
        *,
        file_format: str | None = None,
        delimiter: str = ",",
        encoding: str = "utf-8",
    ) -> Lazy:
        """Read Parquet or CSV files in place, as a plan; no row is taken until it is used.

        Parameters
        ----------
        path : a file, or a pattern such as ``trade_*.parquet``
        file_format : "parquet" or "csv"; None goes by the ending of the path
        delimiter, encoding : of CSV files; encoding is one of utf-8, utf-16, latin-1

        Returns
        -------
        Lazy table with the columns of the file. All columns of a CSV are text, an empty field is null: what is a
        number is decided by the schema, not by the first rows.
        """
        kind = file_format or Path(path).suffix.lstrip(".").lower()
        if kind not in ("parquet", "csv"):
            raise SettingsError(f"Expected a format 'parquet' or 'csv' for the file {Path(path).name}, found {kind!r}.")
        if encoding not in ENCODINGS:
            raise SettingsError(f"Expected an encoding among {', '.join(ENCODINGS)}, found {encoding!r}.")
        return self._run(f"reading {Path(path).name}", lambda: self._scan(str(path), kind, delimiter, encoding))

    def _scan(self, path: str, kind: str, delimiter: str, encoding: str) -> Lazy:
        if kind == "parquet":
            return _lazy(self._connection.read_parquet(path))
        # The header is read here: DuckDB's own detection may take a later line for it when a line is malformed. In SQL,
        # because the same function of the connection refuses every encoding but UTF-8 (DuckDB 2.0).
        columns = ", ".join(f"{_quoted(name)}: 'VARCHAR'" for name in _header(path, delimiter, encoding))
        words = (
            f"{_quoted(path)}, delim = {_quoted(delimiter)}, encoding = {_quoted(encoding)}, columns = {{{columns}}}"
        )
        options = "header = true, auto_detect = false, quote = '\"', escape = '\"'"
        return _lazy(self._connection.sql(f"SELECT * FROM read_csv({words}, {options})"))

    def take(self, frame: object) -> Lazy:
        """Copy a frame in: pandas, polars, Arrow, a DuckDB relation, narwhals, or a mapping of columns.

        The copy is independent of the caller's frame, which is not changed. A pandas index without a name is dropped,
        one with a name becomes a column. NaN becomes null, categories become text. A plan of this engine comes back
        as it is.
        """
        hint = "A column may hold values of more than one type."
        return self._run("taking a frame in", lambda: self._take(nw.to_native(frame, pass_through=True)), hint)

    def _take(self, native: Any) -> Lazy:
        if self._owns(native):
            return _lazy(native)
        return self._store([_plain(self._enter(native))], "taken")

    def _owns(self, native: object) -> bool:
        if not isinstance(native, duckdb.DuckDBPyRelation):
            return False
        try:
            native.query("relation", f"SELECT x FROM {self._tag} LIMIT 0")
        except duckdb.Error:
            return False
        return True

    def _enter(self, native: Any) -> Lazy:
        if isinstance(native, Mapping):
            native = pd.DataFrame(dict(native))
        if isinstance(native, pd.DataFrame):
            return self._from_pandas(_flat(native))
        module = type(native).__module__.split(".")[0]
        if module == "polars" and hasattr(native, "collect"):
            native = native.collect()
        if isinstance(native, duckdb.DuckDBPyRelation):
            native = native.to_arrow_table()
        if module not in ("polars", "pyarrow", "duckdb", "_duckdb") and not hasattr(native, "__arrow_c_stream__"):
            raise SchemaError(
                "Expected a pandas, polars, Arrow, DuckDB or narwhals frame or a mapping of columns, "
                f"found {type(native).__name__}."
            )
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise EngineError("Taking this frame in needs pyarrow: install it, or hand over a pandas frame.") from None
        return _lazy(self._connection.from_arrow(native))

    def _from_pandas(self, frame: pd.DataFrame) -> Lazy:
        try:
            return _lazy(self._connection.from_df(frame))
        except duckdb.Error:  # a view such as df.iloc[::-1] steps backwards through memory, which DuckDB cannot follow
            return _lazy(self._connection.from_df(frame.copy()))

    def store(self, lazy: Lazy, name: str) -> Lazy:
        """Run a plan once and keep the rows; further use reads them.

        Parameters
        ----------
        lazy : plan of this engine
        name : a word for the table, for errors and for whoever looks into the database
        """
        return self.store_parts([lazy], name)

    def store_parts(self, parts: Sequence[Lazy], name: str) -> Lazy:
        """Run plans one after the other into one table; the memory of a step is that of a part.

        Parameters
        ----------
        parts : plans of this engine with the same columns, at least one
        name : a word for the table
        """
        return self._run(f"storing {name}", lambda: self._store(parts, name))

    def _store(self, parts: Sequence[Lazy], name: str) -> Lazy:
        table = f"{re.sub(r'[^A-Za-z0-9_]', '_', name)}_{next(self._names)}"
        narrow(parts[0]).to_native().create(table)
        for part in parts[1:]:
            narrow(part).to_native().insert_into(table)
        return _lazy(self._connection.table(table))

    def forget(self, *stored: Lazy) -> None:
        """Let go of tables that `store` made and that no plan needs any more."""
        for lazy in stored:
            self._run("letting go of a table", partial(self._forget, lazy))

    def _forget(self, lazy: Lazy) -> None:
        self._connection.execute(f'DROP TABLE IF EXISTS "{lazy.to_native().alias}"')

    def collect(self, lazy: Lazy, sort_by: Sequence[str] = ()) -> pd.DataFrame:
        """Bring a table out of the engine.

        Parameters
        ----------
        lazy : plan of this engine
        sort_by : columns that order the rows, usually the key; without it the order of rows is not defined

        Returns
        -------
        pandas frame with a fresh index. Integers and booleans are numpy types without nulls and pandas' nullable
        types (Int64, boolean) with them; floats have NaN for null; dates are datetime64; text is pandas' own default.
        """
        return self._run("running a plan", lambda: self._fetch(_ordered(lazy, sort_by)))

    def _fetch(self, plan: Lazy) -> pd.DataFrame:
        columns = plan.to_native().fetchnumpy()
        return pd.DataFrame({name: _column(values) for name, values in columns.items()})

    def count(self, lazy: Lazy) -> int:
        """Count the rows of a plan."""
        return int(self._run("counting rows", lambda: self._fetch(lazy.select(n=nw.len())))["n"].iloc[0])

    def one(self, lazy: Lazy) -> dict[str, Any]:
        """Run a plan of a single row, such as a set of sums; nulls become None."""
        frame = self.collect(lazy)
        if len(frame) != 1:
            raise EngineError(f"Expected a plan of one row, found {len(frame)} rows.")
        values = {str(name): frame[name].iloc[0] for name in frame.columns}
        return {c: None if pd.isna(v) else v.item() if isinstance(v, np.generic) else v for c, v in values.items()}

    def write(self, lazy: Lazy, path: str | Path, *, sort_by: Sequence[str] = ()) -> None:
        """Write a plan to a Parquet or CSV file (by the ending of its name), rows ordered by some columns."""
        self._run(f"writing {Path(path).name}", lambda: self._write(_ordered(lazy, sort_by), Path(path)))

    def _write(self, plan: Lazy, path: Path) -> None:
        if path.suffix == ".csv":
            plan.to_native().write_csv(str(path), header=True)
        else:
            plan.to_native().write_parquet(str(path))

    def close(self) -> None:
        """Let go of all tables and of the temporary folder. Plans of this engine cannot be used afterwards."""
        self._close()

    def _run(self, doing: str, work: Callable[[], T], hint: str = "") -> T:
        self.require_open(doing)
        try:
            return work()
        except MissieError:
            raise
        except nw.exceptions.ColumnNotFoundError as error:
            failure: MissieError = SchemaError(f"A column is missing while {doing}: {error}")
        except (duckdb.OutOfMemoryException, MemoryError):
            failure = EngineError(f"Out of memory while {doing}: raise memory_limit, or give a folder to spill to.")
        except (duckdb.IOException, OSError):
            failure = EngineError(f"A file failed while {doing}: expected an existing path and a sound file.")
        except Exception as error:
            if isinstance(error, duckdb.InvalidInputException):
                hint = hint or "A line of a CSV file may have more or fewer fields than its header."
            message = f"The engine failed while {doing} ({type(error).__name__}). {hint}".strip()
            failure = EngineError(f"{message} Its own message is withheld because it may quote values.")
        raise failure  # outside the handlers, so that the exception does not carry the withheld words

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'open' if self.is_open else 'closed'}>"


def narrow(lazy: Lazy) -> Lazy:
    """Cast what sums make of integers (128 bits) back to 64 bits."""
    wide = [name for name, kind in lazy.collect_schema().items() if kind in _HUGE]
    return lazy.with_columns(nw.col(*wide).cast(nw.Int64)) if wide else lazy


def distinct(lazy: Lazy) -> Lazy:
    """Return the distinct rows. As a grouping: narwhals' ``unique`` is a window over all rows on DuckDB."""
    names = lazy.collect_schema().names()
    return lazy.group_by(*names).agg(nw.len().alias("copies")).select(*names)


def _ordered(lazy: Lazy, sort_by: Sequence[str]) -> Lazy:
    have = lazy.collect_schema().names()
    if lacking := [name for name in sort_by if name not in have]:
        raise SchemaError(f"Expected the columns {lacking} to sort by, found {have}.")
    return narrow(lazy.sort(*sort_by) if len(sort_by) else lazy)


def _plain(lazy: Lazy) -> Lazy:
    """Turn NaN into null and categories into text."""
    schema = lazy.collect_schema()
    floats = [name for name, kind in schema.items() if kind in (nw.Float32, nw.Float64)]
    texts = [name for name, kind in schema.items() if kind in (nw.Categorical, nw.Enum)]
    changed: list[nw.Expr] = [nw.when(~nw.col(c).is_nan()).then(nw.col(c)).alias(c) for c in floats]
    changed += [nw.col(c).cast(nw.String) for c in texts]
    return lazy.with_columns(*changed) if changed else lazy


def _header(path: str, delimiter: str, encoding: str) -> list[str]:
    """Names of the columns of CSV files, which must all have the same."""
    headers = []
    for part in sorted(glob.glob(path, recursive=True)) or [path]:
        with open(part, encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as lines:
            headers.append(next(csv.reader(lines, delimiter=delimiter), []))
    header, name = headers[0], Path(path).name
    if any(other != header for other in headers):
        raise SchemaError(f"Expected the same columns in the same order in all files {name}, found different ones.")
    if not all(header) or len(set(header)) < len(header) or not header:
        raise SchemaError(f"Expected a first line with distinct column names in {name}, found none or repeated ones.")
    return header


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    named = any(name is not None for name in frame.index.names)
    flat = frame.reset_index() if named else frame.reset_index(drop=True)
    flat.columns = flat.columns.map(str)
    if not flat.columns.is_unique:
        raise SchemaError(f"Expected distinct column names, found {sorted(flat.columns[flat.columns.duplicated()])}.")
    return flat


def _column(values: Any) -> Any:
    """One column as DuckDB hands it out, nulls masked, as pandas keeps it."""
    if not isinstance(values, np.ma.MaskedArray):
        return values.astype("datetime64[us]") if values.dtype.kind == "M" else values
    data, mask = values.data, np.ma.getmaskarray(values)
    if not mask.any():
        return data
    if values.dtype.kind in "iu":
        return pd.arrays.IntegerArray(np.where(mask, 0, data).astype(np.int64), mask.copy())
    if values.dtype.kind == "b":
        return pd.arrays.BooleanArray(data.astype(bool), mask.copy())
    if values.dtype.kind == "f":
        return np.where(mask, np.nan, data)
    if values.dtype.kind == "M":
        return np.where(mask, np.datetime64("NaT"), data).astype("datetime64[us]")
    return np.where(mask, np.array(None, dtype=object), data)


def _lazy(native: Any) -> Lazy:
    frame = nw.from_native(native)
    return frame if isinstance(frame, nw.LazyFrame) else frame.lazy()


def _hide_progress(connection: Any) -> None:
    """Turn DuckDB's bar off where it is on: it would write to standard output.

    In Jupyter without ipywidgets it is off already, and DuckDB refuses to be told so.
    """
    shown = connection.execute("SELECT current_setting('enable_progress_bar')").fetchone()
    if shown and shown[0]:
        connection.execute("SET enable_progress_bar = false")


def _shut(connection: Any, folder: Path | None) -> None:
    connection.close()
    if folder is not None:
        with suppress(OSError):
            folder.rmdir()  # only when empty: another engine of the same study may be at work
