from __future__ import annotations

import json

import pytest

from missie_impact.cli import main

TRADE = "firm,market,year,value_eur\nann,DE,2015,10\nann,DE,2016,10\nbob,FR,2015,20\nbob,FR,2016,20\nbob,FR,2017,20\n"
TOML = """
[study]
name = "two firms"
first_year = 2015
last_year = 2017

[files.trade]
path = "trade.csv"
constants = {flow = "export", kind = "goods"}

[definitions]
gap_years = 1
row_year = "last_active"
"""


@pytest.fixture
def toml(tmp_path):
    (tmp_path / "trade.csv").write_text(TRADE, encoding="utf-8")
    path = tmp_path / "study.toml"
    path.write_text(TOML, encoding="utf-8")
    return path


def test_study_on_own_registers_prints_and_writes_the_table(toml, tmp_path, capsys):
    assert main(["study", "--registers", str(toml), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "nothing simulated" in said.splitlines()[0]
    records = json.loads((tmp_path / "out" / "replication.json").read_text("utf-8"))
    hazard = next(r for r in records if r["id"] == "exit_hazard")
    assert (hazard["n_rows"], hazard["n_events"]) == (4, 1)  # ann leaves after 2016
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "replication.json", "replication.csv", "replication.html", "provenance.json", "report_en.html",
        "report_nl.html",
    }  # fmt: skip


def test_an_error_is_one_line_and_no_traceback(tmp_path, capsys):
    assert main(["study", "--registers", str(tmp_path / "absent.toml"), "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("missie-impact: ")
    assert len(said.splitlines()) == 1


def test_an_unknown_key_is_an_error_that_names_it(toml, tmp_path, capsys):
    toml.write_text(TOML + "\ncolour = 3\n", encoding="utf-8")
    assert main(["study", "--registers", str(toml), "--out", str(tmp_path / "out")]) == 1
    assert "colour" in capsys.readouterr().err


def test_check_reports_counts(toml, capsys):
    assert main(["check", str(toml)]) == 0
    assert capsys.readouterr().out.strip() != ""


@pytest.mark.parametrize("words", [[], ["fly"], ["study", "--firms", "-3"], ["study", "--seed", "x"], ["check"]])
def test_a_wrong_command_ends_with_two(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2


@pytest.mark.parametrize("words", [["--help"], ["study", "--help"], ["simulate", "--help"], ["truth", "--help"]])
def test_every_command_explains_itself(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    assert "missie-impact" in capsys.readouterr().out
