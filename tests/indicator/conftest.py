"""Supported firms written out: exports per market and year in euro, and what support they had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

import pandas as pd
import pytest

from missie_impact.definitions import CBS_2024, Definitions
from missie_impact.panel import Panel, build_panel
from missie_impact.registers import Registers

FIRST, LAST = 2015, 2024


def trade_frame(histories: str) -> pd.DataFrame:
    """Lines ``firm market first-year: value value ...``; ``100-150`` are two rows, the second a correction."""
    rows = []
    for line in filter(None, map(str.strip, histories.splitlines())):
        head, values = line.split(":")
        firm, market, *words, first = head.split()
        flow, kind = ("import" if "import" in words else "export"), ("services" if "services" in words else "goods")
        for year, cell in enumerate(values.split(), int(first)):
            parts = cell.replace("-", " -").split()
            for part in parts:
                if float(part) != 0:
                    rows.append((firm, market, year, flow, kind, float(part), False))
    columns = ["firm", "market", "year", "flow", "kind", "value_eur", "estimated"]
    return pd.DataFrame(rows, columns=columns)


def support_frame(supports: str) -> pd.DataFrame:
    """Lines ``firm market year [instrument]``; a firm called ``stranger`` cannot be linked."""
    rows = []
    for number, line in enumerate(filter(None, map(str.strip, supports.splitlines()))):
        firm, market, year, *instrument = line.split()
        name = instrument[0] if instrument else "mission"
        rows.append(
            {
                "kvk": f"kvk-{firm}",
                "market": market,
                "date": date(int(year), 5, 1),
                "instrument": name,
                "mission": f"{market}-{year}-{number}" if name == "mission" else None,
                "minister_led": name == "mission",
                "person": f"person-{number}",
                "organisation": "firm",
            }
        )
    return pd.DataFrame(rows)


def firm_frame(firms: list[str], large: str, ended: dict[str, int], unseen: str) -> pd.DataFrame:
    rows = []
    for firm in firms:
        for year in range(FIRST, min(ended.get(firm, LAST + 1), LAST + 1)):
            if firm in unseen.split() and year == 2020:
                continue
            big = firm in large.split()
            rows.append(
                {
                    "firm": firm,
                    "year": year,
                    "group": f"group-{firm}",
                    "workers": 300.0 if big else 10.0,
                    "turnover_eur": 60e6 if big else 1e6,
                    "balance_eur": 1e6,
                    "sector": "C" if big else "G",
                    "region": "NL31",
                    "foreign_controlled": False,
                    "founded": 2000,
                    "ended": ended.get(firm),
                    "weight": 1.0,
                }
            )
    frame = pd.DataFrame(rows)
    return frame.assign(ended=frame["ended"].astype("Int64"))


@pytest.fixture
def make_panel() -> Iterator[Callable[..., Panel]]:
    opened: list[Registers] = []

    def make(
        histories: str,
        supports: str,
        *,
        large: str = "",
        ended: dict[str, int] | None = None,
        unseen: str = "",
        identities: list[tuple[str, str | None, date]] | None = None,
        definitions: Definitions = CBS_2024,
        last: int = LAST,
    ) -> Panel:
        trade, supported = trade_frame(histories), support_frame(supports)
        names = {*trade["firm"], *supported["kvk"].str.removeprefix("kvk-")} - {"stranger"}
        firms = sorted(names | {change[1] for change in identities or [] if change[1]})
        links = pd.DataFrame({"kvk": [f"kvk-{f}" for f in firms], "firm": firms})
        links = links.assign(valid_from=date(2000, 1, 1), valid_to=None)
        changes = pd.DataFrame(identities or [], columns=["old_firm", "new_firm", "date"]).assign(event="merger")
        registers = Registers.from_frames(
            trade=trade[trade["year"] <= last],
            firms=firm_frame(firms, large, ended or {}, unseen).query("year <= @last"),
            participations=supported,
            links=links,
            identity_changes=changes,
            first_year=FIRST,
            last_year=last,
        )
        opened.append(registers)
        return build_panel(registers, definitions)

    yield make
    for registers in opened:
        registers.close()
