"""Rules that a study.toml asks for are the rules of its panel, unless others are handed over."""

from __future__ import annotations

from pathlib import Path

import pytest

import missie_impact as mi
from missie_impact.errors import SettingsError

TRADE = "firm,market,year,flow,kind,value_eur\na,DE,2010,export,goods,10\na,DE,2012,export,goods,10\n"


def registers(folder: Path, rules: str) -> mi.Registers:
    (folder / "trade.csv").write_text(TRADE, encoding="utf-8")
    path = folder / "study.toml"
    path.write_text(f'[files.trade]\npath = "trade.csv"\n[definitions]\n{rules}\n', encoding="utf-8")
    return mi.read_registers(path)


def test_the_rules_of_the_file_count(tmp_path: Path) -> None:
    found = registers(tmp_path, "gap_years = 1")
    # 2010 and 2012 are two spells where one year without trade ends a spell, and one where it takes two.
    assert mi.build_panel(found).definitions.gap_years == 1
    assert mi.build_panel(found).spells().collect().shape[0] == 2
    assert mi.build_panel(found, mi.CBS_2024).spells().collect().shape[0] == 1


def test_a_rule_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unknown definitions"):
        registers(tmp_path, "gap_year = 1")
    with pytest.raises(SettingsError, match="`gap_years`: expected"):
        registers(tmp_path, "gap_years = 0")
