"""A table that not every question needs: made when it is first asked for, and kept."""

from __future__ import annotations

from collections.abc import Callable

from missie_impact.registers.engine import Engine, Lazy


class Once:
    """A plan that runs into a table of its engine at its first use. Copies of what holds it share the table.

    Parameters
    ----------
    engine : of the plan
    plan : what is stored
    name : a word for the table
    finish : adds columns that follow from the stored ones; computed at use, so that they take no memory
    """

    def __init__(self, engine: Engine, plan: Lazy, name: str, finish: Callable[[Lazy], Lazy] | None = None) -> None:
        self._engine, self._plan, self._name, self._finish = engine, plan, name, finish
        self._stored: Lazy | None = None
        self._table: Lazy | None = None

    def table(self) -> Lazy:
        """Return the table, made now if it is not there."""
        if self._table is None:
            self._stored = self._engine.store(self._plan, self._name)
            self._table = self._finish(self._stored) if self._finish else self._stored
        return self._table

    def made(self) -> tuple[Lazy, ...]:
        """Return what is stored, if it is."""
        return () if self._stored is None else (self._stored,)
