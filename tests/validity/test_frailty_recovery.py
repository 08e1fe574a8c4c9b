"""Tables of the frailty validation by hand, and runs that go on where they stopped."""

import json
import math

import numpy as np
import pytest

from missie_impact.validity import frailty_on_registers, frailty_recovery
from missie_impact.validity.coverage import REGIMES
from missie_impact.validity.frailty_on_registers import MODELS, register_table
from missie_impact.validity.frailty_recovery import CONDITIONAL, IGNORED, LOG_HAZARD_RATIO, VARIANCE, recovery_table


def draws(estimates, half):
    """One draw per estimate: the log hazard ratio, its interval of some width, and a variance twice the truth."""
    return [
        [
            (CONDITIONAL, "log_hazard", e, e - half, e + half),
            (CONDITIONAL, "frailty_variance", 2 * VARIANCE, VARIANCE * 1.5, VARIANCE * 3),
            (IGNORED, "log_hazard", math.nan, math.nan, math.nan if i else 1.0),
        ]
        for i, e in enumerate(estimates)
    ]


def test_table_by_hand():
    found = recovery_table(draws(LOG_HAZARD_RATIO + np.array([-0.1, 0.0, 0.0, 0.3]), 0.2)[:])
    table = found.set_index(["likelihood", "parameter"])
    log = table.loc[CONDITIONAL, "log_hazard"]
    assert log["bias"] == pytest.approx(0.05)
    assert log["bias_error"] == pytest.approx(np.std([-0.1, 0, 0, 0.3], ddof=1) / 2)
    assert (log["coverage"], log["draws"], log["failed"]) == (0.75, 4, 0)
    assert log["unbiased"] and log["covers"]  # four draws show nothing else
    variance = table.loc[CONDITIONAL, "frailty_variance"]
    assert variance["bias"] == pytest.approx(math.log(2)) and variance["coverage"] == 0.0
    assert not variance["unbiased"] and not variance["covers"]
    assert table.loc[IGNORED, "log_hazard"]["failed"] == 4


def test_runs_go_on_where_they_stopped(tmp_path, monkeypatch):
    asked = []

    def once(seed, units, distribution):
        asked.append(seed)
        return draws([LOG_HAZARD_RATIO + 0.01 * (seed % 2)], 0.1)[0]

    monkeypatch.setattr(frailty_recovery, "recover_once", once)
    frailty_recovery.run(tmp_path, 2, 100, progress=False)
    with (tmp_path / "frailty-gaussian-100.jsonl").open("a") as journal:
        journal.write('{"seed": 700002, "fou')  # cut off
    frailty_recovery.run(tmp_path, 3, 100, progress=False)
    table = frailty_recovery.run(tmp_path, 4, 100, progress=False)
    assert asked == [700_000, 700_001, 700_002, 700_003]
    assert table.set_index(["likelihood", "parameter"]).loc[(CONDITIONAL, "log_hazard"), "draws"] == 4


def test_registers_by_hand(tmp_path, monkeypatch):
    base, firm = MODELS[0], MODELS[1]
    found = [
        {base: {"hazard_ratio": 0.5}, firm: {"hazard_ratio": 0.5 * math.e, "frailty_variance": 0.0}},
        {base: {"hazard_ratio": 0.5}, firm: {"hazard_ratio": 0.5 * math.exp(3), "frailty_variance": 0.4}},
        {base: {"hazard_ratio": 0.5}, firm: {}},
    ]
    monkeypatch.setattr(frailty_on_registers, "fit_once", lambda regime, seed, firms: found[seed % 800_000])
    table = frailty_on_registers.run(tmp_path, REGIMES[0], 3, 1_000, progress=False)
    assert len([json.loads(li) for li in next(tmp_path.iterdir()).read_text().splitlines()]) == 3
    assert table.equals(register_table(REGIMES[0], found))
    table = table.set_index(["model", "scale"])
    ratio, variance = table.loc[(firm, "hazard_ratio")], table.loc[(firm, "frailty_variance")]
    assert ratio["moved"] == pytest.approx(2.0) and ratio["moved_error"] == pytest.approx(1.0)
    assert ratio["bias"] == pytest.approx(math.log(0.5) + 2 - math.log(ratio["truth"]))
    assert (ratio["draws"], ratio["failed"]) == (2, 1)
    assert (variance["mean"], variance["at_zero"]) == (0.2, 0.5)
