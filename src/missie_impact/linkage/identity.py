"""Firms that change their identity, followed to the last one they have."""

from __future__ import annotations

from dataclasses import dataclass

import narwhals as nw
import pandas as pd

from missie_impact.definitions import Definitions
from missie_impact.errors import SchemaError
from missie_impact.registers import Registers
from missie_impact.registers.engine import Lazy

MAX_CHAIN = 50  # a longer chain of identities is a circle


@dataclass(frozen=True, slots=True)
class Successors:
    """Where each changed identity ends.

    Attributes
    ----------
    final : one row per old firm: ``firm``, ``successor`` (never a firm that changes again); None where nobody changes
    lost : one row per firm whose identity is lost: ``firm`` (as followed), ``lost_year``; None where none is
    """

    final: Lazy | None
    lost: Lazy | None

    def follow(self, frame: Lazy) -> Lazy:
        """Return a frame with the column ``firm`` replaced by the last identity."""
        if self.final is None:
            return frame
        return (
            frame.join(self.final, on="firm", how="left")
            .with_columns(firm=nw.coalesce("successor", "firm"))
            .drop("successor")
        )


def resolve_successors(registers: Registers, definitions: Definitions) -> Successors:
    """Follow renumbered, merged and restructured firms to the identity they have at the end.

    An old firm with several successors (a demerger) follows the one with the latest date, then the lowest number.
    The rule ``identity="none"`` follows nobody; lost identities are read in both cases.

    Raises
    ------
    SchemaError
        If firms succeed each other in a circle.
    """
    changes = registers.engine.collect(registers.identity_changes, sort_by=["old_firm", "date", "new_firm"])
    lost = changes.loc[changes["new_firm"].isna(), ["old_firm", "date"]]
    lost = pd.DataFrame({"firm": lost["old_firm"], "lost_year": pd.to_datetime(lost["date"]).dt.year.astype("int64")})
    known = changes.loc[changes["new_firm"].notna(), ["old_firm", "new_firm", "date"]]
    known = known.sort_values(["date", "new_firm"], ascending=[False, True]).drop_duplicates("old_firm")
    step = pd.Series(known["new_firm"].to_numpy(), index=pd.Index(known["old_firm"]))
    step = step.astype(changes["old_firm"].dtype)
    if definitions.identity == "none":
        step = step.iloc[:0]
    final = _end_of_chain(step)
    if len(final) and len(lost):
        lost["firm"] = lost["firm"].map(final).fillna(lost["firm"]).astype(changes["old_firm"].dtype)
    lost = lost.groupby("firm", as_index=False).agg({"lost_year": "max"})
    engine = registers.engine
    return Successors(
        engine.take(pd.DataFrame({"firm": final.index, "successor": final.to_numpy()})) if len(final) else None,
        engine.take(lost) if len(lost) else None,
    )


def _end_of_chain(step: pd.Series) -> pd.Series:
    """Follow old -> new until nobody changes any more."""
    final = step
    for _ in range(MAX_CHAIN):
        further = final.map(step)
        if further.isna().all():
            return final
        final = further.fillna(final).astype(step.dtype)
    circular = int(final.isin(step.index).sum())
    raise SchemaError(
        f"identity_changes: expected chains of identities that end, found {circular} firms that succeed each other "
        f"in a circle (or more than {MAX_CHAIN} changes in a row). Correct columns old_firm and new_firm."
    )
