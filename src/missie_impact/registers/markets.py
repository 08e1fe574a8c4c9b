"""The lists of markets that ship with the library: codes, names, memberships by year, neighbours."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from importlib.resources import files

import pandas as pd

from missie_impact.errors import SettingsError

from .engine import Engine, Lazy


def read_list(name: str) -> list[dict[str, str]]:
    """Read one of the shipped lists: markets, memberships, neighbours or aliases; one mapping per row, as text."""
    text = (files("missie_impact.registers") / "data" / f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def market_codes(extra: Mapping[str, str]) -> frozenset[str]:
    """Codes a register may use: the shipped ones and those declared by the user."""
    return frozenset(row["market"] for row in read_list("markets")) | frozenset(extra)


def market_names(extra: Mapping[str, str]) -> dict[str, str]:
    """Names and other codes of markets, in upper case, and the code each stands for.

    The user's own declarations win over the shipped names.
    """
    rows = read_list("markets")
    names = {row["name"].upper(): row["market"] for row in rows} | {row["market"]: row["market"] for row in rows}
    names |= {row["name"].upper(): row["market"] for row in read_list("aliases")}
    return names | {key.strip().upper(): code for code, name in extra.items() for key in (code, name)}


def extra_markets(given: Mapping[str, str] | Iterable[str]) -> dict[str, str]:
    """Bring the user's own markets into the form code -> name; a plain list names markets by their code."""
    pairs = dict(given) if isinstance(given, Mapping) else {code: code for code in given}
    texts: list[object] = [text for pair in pairs.items() for text in pair]
    if not all(isinstance(text, str) and text for text in texts):
        raise SettingsError("Expected extra_markets to be a list of codes or a table code = name, all of them text.")
    return pairs


def market_tables(engine: Engine, extra: Mapping[str, str]) -> tuple[Lazy, Lazy, Lazy]:
    """Put markets, memberships and neighbours into an engine; extra markets have no distance, region or neighbour."""
    markets = pd.DataFrame(read_list("markets")).set_index("market")
    markets["distance_km"] = markets["distance_km"].astype(float)
    own = [code for code in extra if code not in markets.index]
    new = pd.DataFrame({"name": [extra[c] for c in own]}, index=pd.Index(own, name="market", dtype=markets.index.dtype))
    markets = pd.concat([markets, new]).rename_axis("market").reset_index()
    memberships = pd.DataFrame(read_list("memberships"))
    for year in ("from_year", "to_year"):
        memberships[year] = pd.to_numeric(memberships[year]).astype("Int32")
    neighbours = pd.DataFrame(read_list("neighbours"))
    return engine.take(markets), engine.take(memberships), engine.take(neighbours)
