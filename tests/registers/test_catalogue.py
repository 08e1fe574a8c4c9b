"""What study.toml may say, and what happens when it says something else."""

import pytest

from missie_impact.errors import SettingsError
from missie_impact.registers import RegisterSettings, read_catalogue

TRADE = '[files.trade]\npath = "trade.csv"\n'

BAD = {
    "no toml": ("[study", "not valid TOML"),
    "unknown section": (TRADE + "[other]\nx = 1", r"\['other'\].*'study', 'files', 'definitions', 'engine'"),
    "unknown key": ("[study]\nfirst_yaer = 2004\n" + TRADE, "first_yaer.*first_year"),
    "unknown table": (TRADE + '[files.exports]\npath = "x.csv"', "exports.*trade"),
    "unknown file key": (TRADE + "column = {}", r"column.*\[files.trade\].*columns"),
    "unknown column": (TRADE + 'columns = { frim = "x" }', "frim.*firm"),
    "unknown constant": (TRADE + 'constants = { vlow = "x" }', "vlow.*flow"),
    "unknown engine key": (TRADE + "[engine]\ncores = 2", "cores.*threads"),
    "column and constant": (TRADE + 'columns = { flow = "x" }\nconstants = { flow = "export" }', "found both"),
    "type": ('[study]\nfirst_year = "2004"\n' + TRADE, "first_year: expected int, found str"),
    "bool for a year": ("[study]\nfirst_year = true\n" + TRADE, "first_year: expected int, found bool"),
    "cohorts": ('[study]\ncohorts = ["2010"]\n' + TRADE, "list of years"),
    "no trade": ("[study]\n", r"\[files.trade\]"),
    "no path": ("[files.trade]\n", "expected a path"),
    "format": ('[files.trade]\npath = "trade.sav"', "parquet, csv, found 'sav'"),
    "decimal": (TRADE + 'decimal = "·"', "decimal"),
    "encoding": (TRADE + 'encoding = "cp437"', "utf-8"),
    "column name": (TRADE + "columns = { firm = 1 }", "name of a column"),
    "constant": (TRADE + "constants = { flow = [1] }", "expected a text, number, date"),
    "duplicate rule": ('[study]\non_duplicate = "drop"\n' + TRADE, "'error' or 'sum', found 'drop'"),
    "early rule": ('[study]\non_early_participation = "drop"\n' + TRADE, "'error' or 'count'"),
    "window": ("[study]\nfirst_year = 2010\nlast_year = 2009\n" + TRADE, "first_year <= last_year"),
    "extra markets": ("[study]\nextra_markets = [1]\n" + TRADE, "extra_markets"),
    "simulated": ('[study]\nsimulated = "nothere.json"\n' + TRADE, r"nothere\.json"),
    "definitions": ("definitions = 3\n" + TRADE, "definitions"),
}


@pytest.mark.parametrize("case", BAD)
def test_each_mistake_is_named(tmp_path, case):
    text, words = BAD[case]
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(SettingsError, match=words):
        read_catalogue(tmp_path)


def test_no_file(tmp_path):
    with pytest.raises(SettingsError, match=r"study\.toml"):
        read_catalogue(tmp_path)


def test_paths_are_relative_to_the_file(tmp_path):
    (tmp_path / "study.toml").write_text(TRADE + 'version = "2024 final"')
    found = read_catalogue(tmp_path / "study.toml")
    assert found.files["trade"].path == tmp_path / "trade.csv" and found.files["trade"].file_format == "csv"
    assert found.files["trade"].reading.untyped and found.files["trade"].version == "2024 final"
    assert found.settings == RegisterSettings(source="study.toml") and found.threads is None


def test_extra_markets_as_a_list_or_a_table():
    assert dict(RegisterSettings(extra_markets=["XX"]).extra_markets) == {"XX": "XX"}
    assert dict(RegisterSettings(extra_markets={"XX": "Nowhere"}).extra_markets) == {"XX": "Nowhere"}
