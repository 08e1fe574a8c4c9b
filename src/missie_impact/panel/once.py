"""A table that not every question needs: made when it is first asked for, and kept."""

from __future__ import annotations

from missie_impact.registers.engine import Engine, Lazy


class Once:
    """A plan that runs into a table of its engine at its first use. Copies of what holds it share the table."""

    def __init__(self, engine: Engine, plan: Lazy, name: str) -> None:
        self._engine, self._plan, self._name = engine, plan, name
        self._table: Lazy | None = None

    def table(self) -> Lazy:
        """Return the table, made now if it is not there."""
        if self._table is None:
            self._table = self._engine.store(self._plan, self._name)
        return self._table

    def made(self) -> tuple[Lazy, ...]:
        """Return the table if it is there."""
        return () if self._table is None else (self._table,)
