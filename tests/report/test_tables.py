from __future__ import annotations

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest

from missie_impact.display import SIMULATED, html_page, html_table, number_text
from missie_impact.errors import SettingsError
from missie_impact.report import Table, expected_misses, label, register_line, write_table


@pytest.fixture
def table() -> Table:
    frame = pd.DataFrame(
        {
            "label": ["Becoming structural", "a <b> & c | d"],
            "year": [2013, 2014],
            "estimate": [1.5823456, np.nan],
            "n_rows": pd.array([1234567, None], dtype="Int64"),
            "simulated": [True, False],
        }
    )
    return Table(frame, title="Published & estimated", notes=("one note",), simulated=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567, "1,234,567"),
        (np.int64(12), "12"),
        (1.58234, "1.582"),
        (0.000123456, "0.0001235"),
        (932123456.4, "932,123,456"),
        (-0.5, "-0.5"),
        (float("nan"), ""),
        (float("inf"), "∞"),
        (None, ""),
        (pd.NA, ""),
        (True, "True"),
        ("as it is", "as it is"),
    ],
)
def test_numbers_for_a_reader(value: object, text: str) -> None:
    assert number_text(value) == text


def test_html_escapes_everything_and_says_simulated_first(table: Table) -> None:
    html = table.to_html(page=True)
    assert "a &lt;b&gt; &amp; c | d" in html and "<b>" not in html
    assert html.index(SIMULATED) < html.index("<table>")
    assert "Published &amp; estimated" in html
    assert ">2013<" in html and ">1,234,567<" in html  # a year is a name, a count is not
    assert "http" not in html


def test_html_of_real_registers_has_no_banner(table: Table) -> None:
    assert SIMULATED not in Table(table.frame).to_html()


def test_long_tables_are_cut_and_counted() -> None:
    html = html_table(pd.DataFrame({"n": range(105)}))
    assert html.count("<tr>") == 101
    assert "5 more rows" in html


def test_markdown_is_a_pipe_table(table: Table) -> None:
    lines = table.to_markdown().splitlines()
    assert lines[0] == "## Published & estimated"
    assert lines[2] == f"**{SIMULATED}**"
    assert lines[4] == "| question | year | estimate | rows | simulated |"
    assert lines[7].startswith("| a <b> & c \\| d | 2014 |  |")
    assert lines[-1] == "one note"


def test_text_lines_up(table: Table) -> None:
    lines = table.to_text().splitlines()
    assert lines[0] == SIMULATED
    head = next(line for line in lines if line.startswith("question"))
    row = next(line for line in lines if line.startswith("Becoming"))
    assert head.index("estimate") + len("estimate") == row.index("1.582") + len("1.582")


def test_long_texts_become_notes_of_a_terminal_table() -> None:
    long = "no spell with a seen begin is at risk; " * 4
    lines = Table(pd.DataFrame({"id": ["a", "b", "c"], "reason": [long, "short", long]}), notes=("last",)).to_text()
    assert lines.splitlines()[2:5] == ["a    [1]", "b    short", "c    [1]"]
    assert lines.count(long) == 1 and f"[1] {long}" in lines
    assert lines.endswith("last\n")


def test_groups_and_scales_are_put_into_words_for_readers_only() -> None:
    table = Table(pd.DataFrame({"group": ["not_sme"], "scale": ["risk_difference_pp"], "label": ["other"]}))
    for shown in (table.to_html(), table.to_markdown(), table.to_text()):
        assert "not SME" in shown and "risk difference, pp" in shown and "other" in shown
    assert table.to_records() == [{"group": "not_sme", "scale": "risk_difference_pp", "label": "other"}]
    assert list(table.frame["group"]) == ["not_sme"]


def test_records_are_plain_json(table: Table) -> None:
    records = json.loads(table.to_json())
    assert records[0] == {
        "label": "Becoming structural",
        "year": 2013,
        "estimate": 1.5823456,
        "n_rows": 1234567,
        "simulated": True,
    }
    assert records[1]["estimate"] is None and records[1]["n_rows"] is None


def test_csv_keeps_full_precision(table: Table) -> None:
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert rows[0]["estimate"] == "1.5823456" and rows[1]["estimate"] == ""


def test_files_are_written_where_asked(table: Table, tmp_path: object) -> None:
    paths = write_table(table, f"{tmp_path}/new/folder", "replication", ("csv", "json", "html", "md", "txt"))
    assert [path.name for path in paths] == [f"replication.{kind}" for kind in ("csv", "json", "html", "md", "txt")]
    assert paths[1].read_text(encoding="utf-8") == table.to_json()


def test_unknown_format_names_the_known_ones(table: Table, tmp_path: object) -> None:
    with pytest.raises(SettingsError, match=r"\['xls'\].*'html'"):
        write_table(table, f"{tmp_path}", "x", ("xls",))


def test_the_frame_is_not_changed(table: Table) -> None:
    before = table.frame.copy(deep=True)
    table.to_html(), table.to_markdown(), table.to_text(), table.to_json(), table.to_csv()
    pd.testing.assert_frame_equal(table.frame, before)


def test_words_in_two_languages(table: Table) -> None:
    assert label("sme") == "SME" and label("sme", "nl") == "zelfstandig mkb"
    assert label("not in the catalogue", "nl") == "not in the catalogue"
    assert "schatting" in Table(table.frame, language="nl").to_html()


def test_sentences() -> None:
    assert register_line(True).startswith("Simulated registers")
    assert "imulated registers" not in register_line(False)
    assert "Of 20 intervals at 95%, 1.0 are expected" in expected_misses(20)


def test_a_page_is_whole() -> None:
    page = html_page("a & b", "<p>x</p>")
    assert page.startswith("<!DOCTYPE html>") and "<title>a &amp; b</title>" in page and "viewport" in page


def test_long_remarks_are_numbered_notes_of_a_page_too() -> None:
    long = "no spell with a seen begin is at risk; " * 4
    table = Table(pd.DataFrame({"n_rows": [1, 2], "reason": [long, long]}), notes=("last",))
    html = table.to_html()
    assert html.count(long.strip()) == 1 and html.count(">[1]<") == 2
    assert html.index("</table>") < html.index(f"[1] {long}") < html.index("last")
    assert table.cells().rows == (("1", "[1]"), ("2", "[1]"))


def test_dutch_tables_have_decimal_commas_wherever_people_read_them() -> None:
    table = Table(pd.DataFrame({"year": [2020], "estimate": [1.5], "n_rows": [1234]}), simulated=True, language="nl")
    for shown in (table.to_html(), table.to_markdown(), table.to_text(), table.to_latex()):
        assert "1,5" in shown and "1.234" in shown and "2020" in shown and "Gesimuleerde" in shown
    assert "1.5" in table.to_csv() and table.to_records()[0]["n_rows"] == 1234


@pytest.mark.parametrize(
    ("term", "language", "words"),
    [
        ("size=sme (eu)", "nl", "zelfstandig mkb (EU)"),
        ("country_group=OECD", "en", "OECD (country group)"),
        ("2020: increase, SME", "nl", "2020: toename, mkb"),
        ("exit, death", "en", "leaving the market, firm ceased"),
        ("size=sme (eu): exit", "en", "SME (EU): leaving the market"),
        ("something, else", "nl", "something, else"),
    ],
)
def test_terms_made_of_others_are_put_into_words_part_by_part(term: str, language: str, words: str) -> None:
    assert label(term, language) == words  # type: ignore[arg-type]
