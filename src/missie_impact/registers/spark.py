"""The same engine on Spark, for registers that one machine cannot hold."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import narwhals as nw
import pandas as pd

from missie_impact.errors import EngineError

from .engine import Engine, Lazy, narrow


class SparkEngine(Engine):
    """An `Engine` whose tables live in a Spark session; stored tables are persisted there.

    Frames enter and leave through a small DuckDB engine, so that they are read and typed as everywhere else.

    Parameters
    ----------
    session : a ``pyspark.sql.SparkSession``; None starts a local one, which `close` stops

    Raises
    ------
    EngineError
        pyspark is not installed, or no session can be started.
    """

    def __init__(self, session: Any = None) -> None:
        self._session = _local_session() if session is None else session
        self._stored: list[Any] = []
        self._close = weakref.finalize(self, _let_go, self._stored, self._session if session is None else None)

    def _scan(self, path: str, kind: str, delimiter: str, encoding: str) -> Lazy:
        if kind == "parquet":
            return _lazy(self._session.read.parquet(path))
        options = {"header": True, "sep": delimiter, "encoding": encoding, "escape": '"', "mode": "FAILFAST"}
        return _lazy(self._session.read.options(**options).csv(path))

    def _take(self, native: Any) -> Lazy:
        if type(native).__module__.split(".")[0] == "pyspark":
            return _lazy(native)
        with Engine(threads=1) as door:
            table = door.take(native).to_native().to_arrow_table()
        return _lazy(self._session.createDataFrame(table))

    def _store(self, parts: Sequence[Lazy], name: str) -> Lazy:
        frame = narrow(parts[0]).to_native()
        for part in parts[1:]:
            frame = frame.unionByName(narrow(part).to_native())
        frame = frame.persist()
        frame.count()
        self._stored.append(frame)
        return _lazy(frame)

    def _forget(self, lazy: Lazy) -> None:
        lazy.to_native().unpersist()

    def collect(self, lazy: Lazy, sort_by: Sequence[str] = ()) -> pd.DataFrame:
        """Bring a table out, sorted; see `Engine.collect`."""
        return self._run("running a plan", lambda: self._leave(lazy, sort_by))

    def _fetch(self, plan: Lazy) -> pd.DataFrame:
        return self._leave(plan, ())

    def _leave(self, lazy: Lazy, sort_by: Sequence[str]) -> pd.DataFrame:
        with Engine(threads=1) as door:
            return door.collect(door.take(narrow(lazy).to_native().toArrow()), sort_by)

    def _write(self, plan: Lazy, path: Path) -> None:
        with Engine(threads=1) as door:  # the order of the plan is kept: one thread, one table
            door.write(door.take(plan.to_native().toArrow()), path)


def _local_session() -> Any:
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise EngineError("SparkEngine needs pyspark: install it, or use Engine().") from None
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    try:
        return builder.config("spark.sql.shuffle.partitions", "4").getOrCreate()
    except Exception as error:
        name = type(error).__name__
    raise EngineError(f"No Spark session can be started ({name}): is Java installed?")


def _lazy(native: Any) -> Lazy:
    frame = nw.from_native(native)
    return frame if isinstance(frame, nw.LazyFrame) else frame.lazy()


def _let_go(stored: list[Any], session: Any) -> None:
    for frame in stored:
        frame.unpersist()
    if session is not None:
        session.stop()
