"""Survivors' bias by coding: the table by hand, and a run of a register without any effect that goes on."""

import math

import pytest

from missie_impact.effects.leaving.exit_codings import CODINGS
from missie_impact.validity.codings_on_registers import coding_table, run


def test_table_by_hand():
    draws = [dict.fromkeys(CODINGS, 0.5), dict.fromkeys(CODINGS, 2.0), dict.fromkeys(CODINGS, math.nan)]
    table = coding_table(draws).set_index("coding")
    assert list(table.index) == list(CODINGS)
    line = table.loc["trials from t+1"]
    assert (line["draws"], line["failed"], line["smallest"], line["largest"]) == (2, 1, 0.5, 2.0)
    assert line["hazard_ratio"] == pytest.approx(1.0)
    assert line["monte_carlo_error"] == pytest.approx(math.log(2))  # sd of -log 2, log 2 is sqrt(2) log 2


def test_a_register_has_a_ratio_for_each_coding(tmp_path):
    table = run(tmp_path, 1, 8_000, progress=False)
    assert set(table["attendance"]) == {"status_last_year", "still_trading"}
    assert (table["draws"] + table["failed"]).eq(1).all()
    written = sorted(path.name for path in tmp_path.glob("*.jsonl"))
    assert len(written) == 2 and all("8000" in name for name in written)
