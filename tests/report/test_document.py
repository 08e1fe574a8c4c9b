"""The Word document as Word would open it: headings, tables with the words of the pages, notes, terms."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from missie_impact.errors import DependencyError, SettingsError
from missie_impact.report import Table
from missie_impact.report.document import write_document

docx = pytest.importorskip("docx")

LONG = "no treated firm has an event in this group, so that there is no finite estimate of the effect; " * 2
FRAME = pd.DataFrame(
    {
        "group": ["all", "sme"],
        "year": [2020, 2021],
        "estimate": [1.5, float("nan")],
        "n_events": pd.array([1200, 0], dtype="Int64"),
        "reason": ["", LONG],
    }
)
TABLE = Table(FRAME, "Effecten", ("vijf procent",), simulated=True, language="nl")


@pytest.fixture(scope="module")
def document(tmp_path_factory):  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("word") / "new" / "tabellen.docx"
    assert write_document(path, [TABLE], title="Missies", explanation=["Waarom."]) == path
    return docx.Document(str(path))


def test_cells_are_those_of_the_page(document) -> None:  # type: ignore[no-untyped-def]
    rows = [[cell.text for cell in row.cells] for row in document.tables[0].rows]
    assert rows == [
        ["groep", "jaar", "schatting", "gebeurtenissen", "opmerking"],
        ["totaal", "2020", "1,5", "1.200", ""],
        ["zelfstandig mkb", "2021", "", "0", "[1]"],
    ]


def test_headings_notes_and_the_line_on_simulated_registers(document) -> None:  # type: ignore[no-untyped-def]
    texts = [p.text for p in document.paragraphs]
    assert [p.text for p in document.paragraphs if p.style.name in ("Title", "Heading 1")] == [
        "Missies", "Effecten", "Begrippen",
    ]  # fmt: skip
    assert "Gesimuleerde" in texts[1] and "Waarom." in texts
    assert texts.index(f"[1] {LONG}") < texts.index("vijf procent")


def test_terms_close_the_document(document) -> None:  # type: ignore[no-untyped-def]
    rows = [[cell.text for cell in row.cells] for row in document.tables[-1].rows]
    assert rows[0] == ["Nederlands", "English", "code"] and ["zelfstandig mkb", "SME", "sme"] in rows


def test_the_head_is_repeated_on_each_page_and_numbers_stand_right(document) -> None:  # type: ignore[no-untyped-def]
    first, second = document.tables[0].rows[:2]
    assert "w:tblHeader" in first._tr.xml and "w:tblHeader" not in second._tr.xml
    assert [cell.paragraphs[0].alignment for cell in second.cells] == [None, 2, 2, 2, None]


def document_of(frame: pd.DataFrame, tmp_path: Path) -> Any:
    return docx.Document(str(write_document(tmp_path / "a.docx", [Table(frame, "T", language="nl")], title="x")))


def test_a_wide_table_of_few_rows_is_turned(tmp_path: Path) -> None:
    names = [f"a_long_name_{j}" for j in range(20)]
    document = document_of(pd.DataFrame([dict.fromkeys(names, 1.5)] * 2), tmp_path)
    rows = [[cell.text for cell in row.cells] for row in document.tables[0].rows]
    assert rows == [[name, "1,5", "1,5"] for name in names]


def test_a_wide_table_of_many_rows_is_cut_and_names_its_rows_again(tmp_path: Path) -> None:
    names = [f"a_long_name_{j}" for j in range(20)]
    frame = pd.DataFrame([{"group": f"g{i}", **dict.fromkeys(names, i + 0.5)} for i in range(10)])
    *parts, _terms = document_of(frame, tmp_path).tables
    heads = [[cell.text for cell in part.rows[0].cells] for part in parts]
    assert len(parts) > 1 and all(head[0] == "groep" for head in heads)
    assert [name for head in heads for name in head[1:]] == names
    assert all(part.rows[3].cells[0].text == "g2" and part.rows[3].cells[1].text == "2,5" for part in parts)
    room = 29.7 - 4
    assert all(sum(column.width.cm for column in part.columns) <= room + 0.1 for part in parts)


def test_columns_without_a_text_are_left_out(tmp_path: Path) -> None:
    document = document_of(pd.DataFrame({"group": ["all"], "reason": [""], "estimate": [1.5]}), tmp_path)
    assert [cell.text for cell in document.tables[0].rows[0].cells] == ["groep", "schatting"]


@pytest.mark.parametrize(("name", "tables"), [("a.doc", [TABLE]), ("a.docx", [])])
def test_what_cannot_be_written_says_why(tmp_path: Path, name: str, tables: list[Table]) -> None:
    with pytest.raises(SettingsError, match="found"):
        write_document(tmp_path / name, tables, title="x")


def test_without_python_docx_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docx", None)
    with pytest.raises(DependencyError, match=r"missie-impact\[word\]"):
        write_document(tmp_path / "a.docx", [TABLE], title="x")


def test_tables_by_name_as_in_a_workbook(tmp_path: Path) -> None:
    write_document(tmp_path / "named.docx", {"worden": TABLE, "verlaten": TABLE}, title="Missies")
    assert len(docx.Document(str(tmp_path / "named.docx")).tables) >= 2
