"""Every reading is there, each as it would be on its own, and an interrupted run loses nothing."""

import json

import numpy as np
import pytest

from missie_impact import CBS_2024, build_panel, structural_transition, transition_risk_set
from missie_impact.errors import SettingsError
from missie_impact.validity.multiverse import RunOptions, multiverse

READINGS = {"window": (3,), "threshold": (3, 4), "count_from": ("t+1", "t"), "controls": ("none", "size")}
LISTS = {"size": ("log_workers", "log_exports")}


@pytest.fixture(scope="module")
def curve(panel, tmp_path_factory):
    journal = tmp_path_factory.mktemp("multiverse") / "journal.jsonl"
    options = RunOptions(controls=LISTS, journal=journal, progress=False)
    return multiverse(panel.registers, readings=READINGS, cluster="firm", options=options), options


def test_the_whole_curve_is_there(curve):
    table = curve[0].table
    assert len(table) == 8
    assert not [name for name in table.columns if "p_value" in name]
    assert table[["window", "threshold", "count_from", "controls"]].drop_duplicates().shape == (8, 4)
    # four of three years: a contradiction, said and kept
    impossible = table.query("window == 3 and threshold == 4")
    assert len(impossible) == 4
    assert impossible["estimate"].isna().all()
    assert impossible["reason"].str.contains("exceeds").all()
    ranked = table.dropna(subset=["estimate"]).sort_values("rank")["estimate"]
    assert ranked.is_monotonic_increasing
    assert table["headline"].sum() == 0  # the headline has the default controls


def test_a_reading_is_what_it_is_on_its_own(curve, panel):
    row = curve[0].table.query("window == 3 and threshold == 3 and count_from == 't' and controls == 'size'").iloc[0]
    own = build_panel(panel.registers, CBS_2024.replace(window=3, min_years=3, count_from="t"))
    alone = structural_transition(transition_risk_set(own), cluster="firm", controls=LISTS["size"])
    found = alone.effect("odds_ratio")
    assert row["estimate"] == pytest.approx(found.estimate, rel=1e-9)
    assert row["std_error"] == pytest.approx(found.std_error, rel=1e-9)
    assert (row["n_rows"], row["n_treated"]) == (found.n_rows, found.n_treated)


def test_an_interrupted_run_goes_on_where_it_stopped(curve, panel):
    first, options = curve
    lines = options.journal.read_text("utf-8").splitlines()
    assert len(lines) == 9
    kept = [*lines[:6], lines[6][:25]]  # the last line was being written
    changed = json.loads(kept[1]) | {"found": [9.0, 1.0, 8.0, 10.0, 1, 1, 1, 1, ""]}
    options.journal.write_text("\n".join([kept[0], json.dumps(changed), *kept[2:]]), encoding="utf-8")
    again = multiverse(panel.registers, readings=READINGS, cluster="firm", options=options)
    same = np.isclose(again.table["estimate"], first.table["estimate"], rtol=1e-9, equal_nan=True)
    assert (~same).sum() == 1  # the changed one was read, not computed again
    assert 9.0 in again.table["estimate"].tolist()
    with pytest.raises(SettingsError, match="belongs to another run"):
        multiverse(panel.registers, readings={"window": (4,)}, cluster="firm", options=options)


def test_summary_spreads_by_reading(curve):
    summary = curve[0].summary().set_index(["reading", "value"])
    part = curve[0].table.query("count_from == 't'")["estimate"].dropna()
    assert summary.loc[("count_from", "t"), "median"] == pytest.approx(part.median())
    assert summary.loc[("threshold", 4), "without_estimate"] >= 4


def test_unknown_readings_are_refused(panel):
    with pytest.raises(SettingsError, match="windows"):
        multiverse(panel, readings={"windows": (3,)}, cluster="firm")
    with pytest.raises(SettingsError, match="without a value: \\['window'\\]"):
        multiverse(panel, readings={"window": ()}, cluster="firm")
    with pytest.raises(SettingsError, match="expected names among"):
        multiverse(panel, readings={"controls": ("all",)}, cluster="firm")
