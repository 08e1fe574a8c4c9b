"""Small registers of five firms, every row written out."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest


def small_tables() -> dict[str, pd.DataFrame]:
    trade = pd.DataFrame(
        [
            (1, "DE", 2010, "export", "goods", 1000.25, False),
            (1, "DE", 2010, "export", "goods", -100.0, False),
            (1, "DE", 2011, "export", "goods", 500.0, True),
            (2, "NA", 2010, "export", "goods", 20.0, False),
            (2, "NA", 2010, "import", "services", 30.5, False),
            (3, "US", 2012, "export", "goods", 100.0, False),
            (3, "US", 2012, "export", "goods", -150.0, False),
            (9, "FR", 2012, "export", "goods", 0.0, False),
        ],
        columns=["firm", "market", "year", "flow", "kind", "value_eur", "estimated"],
    )
    firms = pd.DataFrame(
        [
            (1, 2010, 11, 10.5, 1_000_000.0, 500_000.0, "C", "NL31", False, 2001, None, 1.0),
            (1, 2012, 11, None, None, None, "C", None, None, 2001, None, 1.0),
            (2, 2010, None, 250.0, 60_000_000.0, 1.0, "G", "NL32", True, 2010, 2011, 1.0),
            (3, 2012, 13, 0.0, -5.0, 0.0, "47", "NL33", False, 2012, None, 2.5),
        ],
        columns=[
            *("firm", "year", "group", "workers", "turnover_eur", "balance_eur"),
            *("sector", "region", "foreign_controlled", "founded", "ended", "weight"),
        ],
    )
    firms = firms.astype({"group": "Int64", "ended": "Int64", "foreign_controlled": "boolean"})
    participations = pd.DataFrame(
        [
            ("00000001", "DE", date(2011, 5, 1), "mission", "m1", True, "p1", "firm"),
            ("00000002", None, date(2010, 1, 31), "coaching", None, False, "p2", "firm"),
            ("00000003", "US", date(2012, 2, 29), "mission", "m2", True, "p3", "firm"),
            ("99999999", "US", date(2012, 2, 29), "mission", "m2", True, "p4", "firm"),
            (None, "US", date(2012, 2, 29), "mission", "m2", True, "p5", "knowledge institute"),
        ],
        columns=["kvk", "market", "date", "instrument", "mission", "minister_led", "person", "organisation"],
    )
    links = pd.DataFrame(
        [
            ("00000001", 1, date(2005, 1, 1), None),
            ("00000001", 3, date(2011, 1, 1), date(2011, 12, 31)),
            ("00000002", 2, date(2010, 1, 1), date(2010, 1, 31)),
            ("00000003", 3, date(2012, 3, 1), None),
        ],
        columns=["kvk", "firm", "valid_from", "valid_to"],
    )
    changes = pd.DataFrame(
        [(1, 3, date(2011, 7, 1), "merger"), (2, None, date(2011, 1, 1), "restructuring")],
        columns=["old_firm", "new_firm", "date", "event"],
    ).astype({"new_firm": "Int64"})
    affiliates = pd.DataFrame({"firm": [1, 1], "market": ["DE", "US"], "year": [2010, 2011]})
    return {
        "trade": trade,
        "firms": firms,
        "affiliates": affiliates,
        "participations": participations,
        "links": links,
        "identity_changes": changes,
    }


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    return small_tables()


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Path]:
    """Write tables as CSV with a study.toml; `sections` maps a table to further lines of its section."""

    def write(tables: dict[str, pd.DataFrame], *, top: str = "", end: str = "", **sections: str) -> Path:
        lines = ["[study]", 'name = "five firms"', "first_year = 2010", "last_year = 2012", top]
        for name, table in tables.items():
            options: dict[str, Any] = {}
            if "delimiter" in sections.get(name, ""):
                options = {"sep": ";", "decimal": ",", "encoding": "latin-1"}
            table.to_csv(tmp_path / f"{name}.csv", index=False, **options)
            lines += [f"[files.{name}]", f'path = "{name}.csv"', sections.get(name, "")]
        path = tmp_path / "study.toml"
        path.write_text("\n".join([*lines, end]))
        return path

    return write
