"""The workbook as a reader opens it: sheets, numbers as numbers, signs, translated terms."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from missie_impact.errors import SettingsError
from missie_impact.report import Table, write_workbook

openpyxl = pytest.importorskip("openpyxl")

FRAME = pd.DataFrame(
    {
        "group": ["all", "sme"],
        "year": [2020, 2021],
        "estimate": [1.5, float("nan")],
        "n_events": pd.array([1200, 0], dtype="Int64"),
        "reason": ["", "no events"],
    }
)


@pytest.fixture
def book(tmp_path: Path) -> object:
    table = Table(FRAME, "Effecten", ("vijf procent",), simulated=True, language="nl")
    path = write_workbook(tmp_path / "out" / "tabellen.xlsx", {"1": table}, title="Missies", provisional=["n_events"])
    return openpyxl.load_workbook(path)


def test_sheets_in_the_form_of_the_office(book) -> None:  # type: ignore[no-untyped-def]
    assert book.sheetnames == ["Inhoud", "Toelichting", "Tabel 1", "Begrippen"]
    assert book["Inhoud"]["A5"].hyperlink.location == "'Tabel 1'!A1"
    assert "Tabel 1: vijf procent" in [cell.value for cell in book["Toelichting"]["A"]]


def test_numbers_are_numbers_and_signs_are_signs(book) -> None:  # type: ignore[no-untyped-def]
    rows = list(book["Tabel 1"].iter_rows(min_row=4, values_only=True))
    assert rows[0] == ("groep", "jaar", "schatting", "gebeurtenissen*", "opmerking")
    assert rows[1][:4] == ("totaal", 2020, 1.5, 1200)
    assert rows[2][:4] == ("zelfstandig mkb", 2021, ".", "-")
    assert book["Tabel 1"]["B5"].number_format == "0"  # a year is a name
    assert book["Tabel 1"]["D5"].number_format == "#,##0"


def test_simulated_registers_are_named_on_every_sheet_with_figures(book) -> None:  # type: ignore[no-untyped-def]
    for name in ("Inhoud", "Toelichting", "Tabel 1"):
        assert "Gesimuleerde" in book[name]["A2"].value


def test_terms_used_are_translated(book) -> None:  # type: ignore[no-untyped-def]
    rows = list(book["Begrippen"].iter_rows(min_row=4, values_only=True))
    assert rows[0] == ("Nederlands", "English", "code")
    assert ("zelfstandig mkb", "SME", "sme") in rows


@pytest.mark.parametrize(("name", "tables"), [("a.xls", [Table(FRAME)]), ("a.xlsx", [])])
def test_what_cannot_be_written_says_why(tmp_path: Path, name: str, tables: list[Table]) -> None:
    with pytest.raises(SettingsError, match="found"):
        write_workbook(tmp_path / name, tables, title="x")


def test_latex_escapes_what_latex_reads() -> None:
    shown = Table(pd.DataFrame({"n_rows": [1234], "x_1": ["5% & more"]}), "A_b").to_latex()
    assert r"\caption{A\_b}" in shown
    assert r"1,234 & 5\% \& more \\" in shown
