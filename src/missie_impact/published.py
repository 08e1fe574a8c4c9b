"""The published figures R1-R11 as data: what CBS and the letter print, on which scale, and how it is read."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Literal, cast

import pandas as pd

from missie_impact.errors import SettingsError

Status = Literal["published", "published as text", "published as a bound", "inferred", "layout only"]
Bound = Literal["", "over", "about"]


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """One published cell.

    Attributes
    ----------
    id : name of the cell, such as "R1.trade.sme" or "R6.2020.sme.eur"
    table : "R1" .. "R11"
    label : what is counted
    group : "all", "sme", "not_sme", "large", "OECD", "BRICS", "developing" and others
    period : years of the interventions or of the count
    value : the number as printed, in ``unit``; None where only words are published
    bound : "over" or "about" where the text gives no exact number, else empty
    unit : unit as printed; says so where the source leaves it open
    scale : scale on which the library compares it (assumed where ``unit`` or ``note`` says so)
    read_as : the number on that scale (shares and risk differences as fractions, money in EUR)
    status : published, published as text, published as a bound, inferred (our arithmetic) or layout only
    source : publication
    note : what is open about it
    """

    id: str
    table: str
    label: str
    group: str
    period: str
    value: float | None
    bound: Bound
    unit: str
    scale: str
    read_as: float | None
    status: Status
    source: str
    note: str


@cache
def published_figures() -> tuple[PublishedFigure, ...]:
    """Return every published figure as a typed record, in the order of the tables."""
    text = resources.files("missie_impact").joinpath("published.csv").read_text("utf-8")
    return tuple(_figure(row) for row in csv.DictReader(text.splitlines()))


def published() -> pd.DataFrame:
    """Return the published figures R1-R11, one row each, to set beside own estimates.

    Returns
    -------
    pandas.DataFrame
        Columns as the attributes of `PublishedFigure`; ``value`` as printed, ``read_as`` on ``scale``
        (fractions for shares and risk differences, EUR for money). Missing numbers are NaN.

    References
    ----------
    CBS (2024), maatwerk 2024/17; the minister's letter to parliament on the missions of 2025 (2026).

    Examples
    --------
    >>> import missie_impact as mi
    >>> figures = mi.published().set_index("id")
    >>> print(figures.loc["R1.trade.all", "value"], figures.loc["R1.trade.all", "scale"])
    7.2 risk_difference
    """
    names = [field.name for field in fields(PublishedFigure)]
    table = pd.DataFrame([[getattr(figure, name) for name in names] for figure in published_figures()], columns=names)
    return table.astype({"value": float, "read_as": float})


def published_figure(figure_id: str) -> PublishedFigure:
    """Return one published figure by its id.

    Raises
    ------
    SettingsError
        If no figure has this id.
    """
    for figure in published_figures():
        if figure.id == figure_id:
            return figure
    raise SettingsError(
        f"expected the id of a published figure, found {figure_id!r}; see the column id of published() for the "
        f"{len(published_figures())} ids there are."
    )


def _figure(row: dict[str, str]) -> PublishedFigure:
    return PublishedFigure(
        id=row["id"],
        table=row["table"],
        label=row["label"],
        group=row["group"],
        period=row["period"],
        value=_number(row["value"]),
        bound=cast(Bound, row["bound"]),
        unit=row["unit"],
        scale=row["scale"],
        read_as=_number(row["read_as"]),
        status=cast(Status, row["status"]),
        source=row["source"],
        note=row["note"],
    )


def _number(text: str) -> float | None:
    return float(text) if text else None
