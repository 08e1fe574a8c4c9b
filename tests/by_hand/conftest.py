"""Histories written out year by year, and the registers they stand for.

A history is one line: firm, market, flow where it is not export, the first year, and a token per year::

    anna FR 2006: x x . x           exports of 1,000 euro in 2006, 2007 and 2009, none in 2008
    anna FR import 2006: x          the same for imports
    anna FR 2006: 500 100-150 0     500 euro; a correction that exceeds the exports; a row of zero

Every firm has a row in the firm register for each year from its founding to its end, 1990 to never unless `life`
says otherwise (``anna 2006-2012``: first year in the register 2006, last 2012). Data run over 2004-2016.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from missie_impact.definitions import CBS_2024, Definitions
from missie_impact.panel import build_panel
from missie_impact.registers import Registers

FIRST, LAST = 2004, 2016
GUIDE, GUIDE_MARKET = "guide", "KE"


def amounts(token: str) -> list[float]:
    """Return the amounts of a token in euro: x is 1,000, a dot none, and 100-150 two rows."""
    return {".": [], "x": [1000.0]}.get(token) or [float(v) for v in re.findall(r"-?[\d.]+", token) if v != "."]


def trade_rows(text: str) -> pd.DataFrame:
    """Turn histories into rows of the trade register."""
    rows: list[dict[str, Any]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        head, tokens = line.split(":")
        firm, market, *words, start = head.split()
        flow = "import" if "import" in words else "export"
        kind = "services" if "services" in words else "goods"
        for year, token in enumerate(tokens.split(), int(start)):
            values = (
                [] if token == "." else [1000] if token == "x" else [float(v) for v in re.findall(r"-?[\d.]+", token)]
            )
            for value in values:
                key = {"firm": firm, "market": market, "year": year, "flow": flow, "kind": kind}
                rows.append(key | {"value_eur": float(value), "estimated": False})
    columns = ["firm", "market", "year", "flow", "kind", "value_eur", "estimated"]
    return pd.DataFrame(rows, columns=columns)


def mission_rows(text: str) -> pd.DataFrame:
    """Turn lines ``firm market 2010-05-01 [instrument] [no-minister]`` into rows of the participants' list."""
    rows = []
    for number, line in enumerate(filter(None, map(str.strip, text.splitlines()))):
        firm, market, day, *words = line.split()
        led = "no-minister" not in words
        instrument = next((w for w in words if w != "no-minister"), "mission")
        rows.append(
            {
                "kvk": f"kvk-{firm}",
                "market": market,
                "date": date.fromisoformat(day),
                "instrument": instrument,
                "mission": f"{market}-{day}" if instrument == "mission" else None,
                "minister_led": led and instrument == "mission",
                "person": f"person-{number}",
                "organisation": "firm",
            }
        )
    columns = ["kvk", "market", "date", "instrument", "mission", "minister_led", "person", "organisation"]
    return pd.DataFrame(rows, columns=columns)


def firm_rows(firms: list[str], life: str, absent: str) -> pd.DataFrame:
    """Turn firms into rows of the firm register, `life` and `absent` (``anna 2010``: no row in 2010) observed."""
    lives = {firm: (1990, None) for firm in firms}
    for firm, span in (line.split() for line in filter(None, map(str.strip, life.splitlines()))):
        first, last = span.split("-")
        lives[firm] = (int(first), int(last) + 1 if last else None)
    holes = {(f, int(y)) for f, y in (line.split() for line in filter(None, map(str.strip, absent.splitlines())))}
    rows = []
    for firm, (founded, ended) in sorted(lives.items()):
        for year in range(max(founded, FIRST), min(ended or LAST + 1, LAST + 1)):
            if (firm, year) not in holes:
                rows.append(
                    {
                        "firm": firm,
                        "year": year,
                        "group": f"group-{firm}",
                        "workers": 10.0,
                        "turnover_eur": 1_000_000.0,
                        "balance_eur": 500_000.0,
                        "sector": "G",
                        "region": "NL31",
                        "foreign_controlled": False,
                        "founded": founded,
                        "ended": ended,
                        "weight": 1.0,
                    }
                )
    frame = pd.DataFrame(rows)
    return frame.assign(ended=frame["ended"].astype("Int64"))


def identity_rows(text: str) -> pd.DataFrame:
    """Turn lines ``old new 2010-01-01 event`` (new ``-``: identity lost) into identity changes."""
    rows = []
    for old, new, day, event in (line.split() for line in filter(None, map(str.strip, text.splitlines()))):
        target = None if new == "-" else new
        rows.append({"old_firm": old, "new_firm": target, "date": date.fromisoformat(day), "event": event})
    return pd.DataFrame(rows, columns=["old_firm", "new_firm", "date", "event"])


def frames_of(
    histories: str,
    *,
    missions: str = "",
    life: str = "",
    absent: str = "",
    identities: str = "",
    affiliates: str = "",
    large: str = "",
    guide: bool = True,
) -> dict[str, pd.DataFrame]:
    """Return the tables of a register.

    With `guide`, a firm that trades nothing goes to Kenya every year from 2005 on: the list then runs from 2005,
    every year is a mission year and Kenya a host in each, so that pairs with Kenya can be controls in every trial.
    Firms named in `large` have 300 workers and a turnover of 60 million euro, the others 10 workers and 1 million.
    """
    if guide:
        missions += "".join(f"\n{GUIDE} {GUIDE_MARKET} {year}-06-01" for year in range(2005, LAST + 1))
    trade, listed, changes = (
        trade_rows(histories or f"{GUIDE} JP {LAST}: x"),
        mission_rows(missions),
        identity_rows(identities),
    )
    seats = [line.split() for line in filter(None, map(str.strip, affiliates.splitlines()))]
    houses = pd.DataFrame(
        [{"firm": f, "market": m, "year": y} for f, m, a, b in seats for y in range(int(a), int(b) + 1)],
        columns=["firm", "market", "year"],
    )
    names = {
        *trade["firm"],
        *listed["kvk"].str.removeprefix("kvk-"),
        *changes["old_firm"],
        *changes["new_firm"].dropna(),
    }
    names |= {*houses["firm"], *(line.split()[0] for line in life.splitlines() if line.strip())}
    firms = sorted(names)
    links = pd.DataFrame({"kvk": [f"kvk-{f}" for f in firms], "firm": firms})
    links = links.assign(valid_from=date(1980, 1, 1), valid_to=date(2099, 12, 31))
    register = firm_rows(firms, life, absent)
    register.loc[register["firm"].isin(large.split()), ["workers", "turnover_eur"]] = [300.0, 60_000_000.0]
    tables = {"trade": trade, "firms": register, "participations": listed, "links": links}
    tables |= {"identity_changes": changes, "affiliates": houses}
    return {name: table for name, table in tables.items() if len(table)}


def collect(frame: Any) -> pd.DataFrame:
    """Bring a lazy or eager frame here as pandas."""
    if isinstance(frame, pd.DataFrame):
        return frame
    eager = frame.collect() if hasattr(frame, "collect") else frame
    return eager if isinstance(eager, pd.DataFrame) else eager.to_pandas()


def plain(value: Any) -> Any:
    """Return a value as a plain Python one, missing as None."""
    if value is None or (not isinstance(value, (list, tuple)) and pd.isna(value)):
        return None
    return value.item() if hasattr(value, "item") else value


FIRMS, MARKETS = 80, ["BE", "DE", "FR", "US", "CN", "KE", "BR", "IN"]


@pytest.fixture(scope="session")
def random_tables() -> dict[str, pd.DataFrame]:
    """Make a small register with everything in it: gaps, corrections, deaths, renumbered and lost firms."""
    draw = np.random.default_rng(20240617)
    grid = pd.MultiIndex.from_product([range(1, FIRMS + 1), MARKETS, range(FIRST, LAST + 1)]).to_frame(index=False)
    grid.columns = pd.Index(["firm", "market", "year"])
    founded = pd.Series(draw.integers(1995, 2009, FIRMS), index=range(1, FIRMS + 1))
    ended = pd.Series(draw.integers(2009, 2030, FIRMS), index=range(1, FIRMS + 1))
    taste = pd.Series(draw.normal(size=FIRMS), index=range(1, FIRMS + 1))
    inside = (grid["year"] >= grid["firm"].map(founded)) & (grid["year"] < grid["firm"].map(ended))
    likes = grid["firm"].map(taste) + draw.normal(size=len(grid)) + (grid["market"].isin(["BE", "KE"]))
    goods = grid[inside & (likes > 0.4)].assign(flow="export", kind="goods")
    services = grid[inside & (likes > 1.6)].assign(flow="export", kind="services")
    imports = grid[inside & (likes > 1.2)].assign(flow="import", kind="goods")
    trade = pd.concat([goods, services, imports])
    trade = trade.assign(value_eur=np.round(np.exp(draw.normal(8, 2, len(trade))), 2), estimated=False)
    undone = goods.sample(25, random_state=3).assign(value_eur=-1e9, estimated=False)
    years = pd.MultiIndex.from_product([range(1, FIRMS + 1), range(FIRST, LAST + 1)]).to_frame(index=False)
    years.columns = pd.Index(["firm", "year"])
    firms = years[(years["year"] >= years["firm"].map(founded)) & (years["year"] < years["firm"].map(ended))]
    firms = firms.assign(
        group=["g" + str(f) for f in firms["firm"]],
        workers=np.round(np.exp(draw.normal(3, 1.5, len(firms))), 1),
        turnover_eur=np.round(np.exp(draw.normal(14, 1, len(firms))), 2),
        balance_eur=None,
        sector=draw.choice(list("CGHM"), len(firms)),
        region="NL31",
        foreign_controlled=draw.random(len(firms)) < 0.2,
        founded=firms["firm"].map(founded),
        ended=firms["firm"].map(ended.where(ended <= LAST)).astype("Int64"),
        weight=1.0,
    ).sample(frac=0.97, random_state=4)
    seats = pd.DataFrame({"firm": draw.integers(1, FIRMS + 1, 220), "market": draw.choice(MARKETS, 220)})
    went = draw.integers(2005, LAST + 1, 220)
    went = np.minimum(np.maximum(went, seats["firm"].map(founded)), seats["firm"].map(ended) - 1)
    participations = pd.DataFrame(
        {
            "kvk": [f"kvk-{f:03d}" for f in seats["firm"]],
            "market": seats["market"],
            "date": [date(int(y), 5, 1 + i % 28) for i, y in enumerate(went)],
            "instrument": np.where(draw.random(220) < 0.6, "mission", "trade_fair"),
            "mission": [f"{m}-{y}" for m, y in zip(seats["market"], went, strict=True)],
            "minister_led": True,
            "person": [f"p{i}" for i in range(220)],
            "organisation": "firm",
        }
    )
    known = np.arange(1, FIRMS - 2)
    links = pd.DataFrame({"kvk": [f"kvk-{f:03d}" for f in known], "firm": known})
    links = links.assign(valid_from=date(1980, 1, 1), valid_to=date(2050, 1, 1))
    gone = int(ended[ended <= 2014].index[0])
    heir = int(founded.index[-1])
    changes = pd.DataFrame({"old_firm": [gone], "new_firm": [heir], "date": [date(int(ended[gone]), 1, 1)]})
    lost = int(ended[ended <= 2014].index[1])
    more = pd.DataFrame({"old_firm": [lost], "new_firm": [None], "date": [date(int(ended[lost]), 1, 1)]})
    changes = pd.concat([changes.astype({"new_firm": "Int64"}), more.astype({"new_firm": "Int64"})])
    houses = pd.DataFrame({"firm": [1, 1, 2, 5], "market": ["KE", "KE", "US", "DE"], "year": [2011, 2012, 2009, 2013]})
    return {
        "trade": pd.concat([trade, undone]).reset_index(drop=True),
        "firms": firms.drop(columns="balance_eur").reset_index(drop=True),
        "participations": participations,
        "links": links,
        "identity_changes": changes.assign(event="restructuring").reset_index(drop=True),
        "affiliates": houses,
    }


TEXTS = ("missions", "life", "absent", "identities", "affiliates")


def named(text: str, prefix: str, firms: int = 1) -> str:
    """Put a prefix before the first words of each line: the firms."""
    lines = []
    for line in filter(None, map(str.strip, text.splitlines())):
        words = line.split()
        lines.append(" ".join([w if w == "-" else prefix + w for w in words[:firms]] + words[firms:]))
    return "\n".join(lines)


def prefix_of(cases: Mapping[str, Any], case: str) -> str:
    return f"{list(cases).index(case):02d}."


@contextmanager
def one_panel(cases: Mapping[str, Mapping[str, Any]]) -> Iterator[Any]:
    """Build one panel for many cases, the firms of each kept apart by a prefix: building it takes most of the time."""
    parts: dict[str, list[str]] = {name: [] for name in ("history", *TEXTS)}
    for label, case in cases.items():
        for name in parts:
            words = 2 if name == "identities" else 1
            parts[name].append(named(case.get(name, ""), prefix_of(cases, label), words))
    texts = {name: "\n".join(text) for name, text in parts.items()}
    tables = frames_of(texts.pop("history"), **texts)
    with Registers.from_frames(**tables, first_year=FIRST, last_year=LAST) as made:
        yield build_panel(made, definitions=CBS_2024)


@pytest.fixture(scope="session")
def panel_of_cases() -> Callable[[Mapping[str, Any]], AbstractContextManager[Any]]:
    return one_panel


@pytest.fixture(scope="session")
def rows_of_case() -> Callable[..., list[Any]]:
    """Return the rows of one case: of its first firm, or with ``firm=None`` of all of them."""

    def read(table: pd.DataFrame, cases: Mapping[str, Any], label: str, columns: str) -> list[Any]:
        case, prefix = cases[label], prefix_of(cases, label)
        first = case["history"].split()[0]
        firm = case.get("firm", first)
        mine = table[table["firm"].str.startswith(prefix)] if firm is None else table[table["firm"] == prefix + firm]
        return rows_in(mine.assign(firm=mine["firm"].str.removeprefix(prefix)), columns)

    return read


def rows_in(frame: pd.DataFrame, columns: str) -> list[Any]:
    """Return chosen columns as sorted tuples; a single column comes as plain values."""
    names = columns.split()
    found = sorted((tuple(plain(v) for v in row) for row in frame[names].itertuples(index=False)), key=str)
    return [row[0] for row in found] if len(names) == 1 else found


@pytest.fixture
def frames() -> Callable[..., dict[str, pd.DataFrame]]:
    return frames_of


@pytest.fixture
def registers() -> Iterator[Callable[..., Registers]]:
    opened: list[Registers] = []

    def build(histories: str, **settings: Any) -> Registers:
        made = Registers.from_frames(**frames_of(histories, **settings), first_year=FIRST, last_year=LAST)
        opened.append(made)
        return made

    yield build
    for made in opened:
        made.close()


@pytest.fixture
def panel_of(registers: Callable[..., Registers]) -> Callable[..., Any]:
    def build(histories: str, *, definitions: Definitions = CBS_2024, **settings: Any) -> Any:
        return build_panel(registers(histories, **settings), definitions=definitions)

    return build


@pytest.fixture
def rows() -> Callable[..., list[Any]]:
    """Return chosen columns of the rows of one firm, or of all, sorted; a single column comes as plain values."""

    def read(table: Any, columns: str, firm: str | None = None, **where: Any) -> list[Any]:
        frame = collect(table)
        if firm is not None:
            frame = frame[frame["firm"] == firm]
        for name, value in where.items():
            frame = frame[frame[name] == value]
        return rows_in(frame, columns)

    return read
