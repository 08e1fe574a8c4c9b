"""What the study says of registers without missions and without a firm register, by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from missie_impact.definitions import CBS_2024
from missie_impact.registers import Registers
from missie_impact.study import replicate

# Four pairs over 2015-2017; with gap_years=1 and row_year="last_active" a pair is at risk in 2015 and 2016.
PAIRS = {
    ("ann", "DE"): (2015, 2016, 2017),  # stays: at risk twice, no exit
    ("ann", "FR"): (2015,),  # leaves in 2015
    ("bob", "DE"): (2016,),  # new in 2016, leaves at once
    ("cas", "DE"): (2016, 2017),  # new in 2016, stays
    ("dan", "DE"): (2015, 2017),  # leaves in 2015, comes back
}


@pytest.fixture
def replication():
    rows = [(f, m, y, "export", "goods", 10.0, False) for (f, m), years in PAIRS.items() for y in years]
    columns = ["firm", "market", "year", "flow", "kind", "value_eur", "estimated"]
    with Registers.from_frames(trade=pd.DataFrame(rows, columns=columns), first_year=2015, last_year=2017) as registers:
        rules = CBS_2024.replace(gap_years=1, row_year="last_active", origin_zeros=1)
        yield replicate(registers, definitions=rules, progress=False)


def rows(replication, name):
    table = replication.table
    return table[table["id"] == name].set_index("label")


def test_exits_are_counted_per_year_of_the_last_trade(replication):
    found = rows(replication, "exit_hazard")
    counts = {label.rsplit(", ", 1)[1]: (row["n_rows"], row["n_events"]) for label, row in found.iterrows()}
    # 2015: ann-DE, ann-FR, dan-DE at risk; 2016: ann-DE, bob-DE, cas-DE
    assert counts == {"all years": (6, 3), "2015": (3, 2), "2016": (3, 1)}
    assert found["estimate"].iloc[0] == pytest.approx(50.0)
    assert (found["reason"] == "firm death is not known: exits are exits or deaths").all()


def test_survival_takes_spells_whose_begin_was_seen(replication):
    first, second, *_ = rows(replication, "survival").itertuples()
    assert (first.n_rows, first.n_events, first.estimate) == (2, 1, pytest.approx(50.0))  # bob and cas, new in 2016
    assert math.isnan(second.estimate)
    assert "year 2" in second.reason


def test_spells_are_counted(replication):
    found = rows(replication, "spells")["estimate"]
    assert found["spells of trade of a firm in a market"] == 6  # dan's two count apart
    assert found["spells whose begin was seen"] == pytest.approx(100 * 3 / 6)  # bob, cas, dan's second
    assert found["spells open at the end of the data"] == pytest.approx(100 * 3 / 6)


def test_what_cannot_be_known_is_said(replication):
    assert "not known" in rows(replication, "firm_death")["reason"].iloc[0]
    assert "window longer than data" in rows(replication, "structural")["reason"].iloc[0]
    assert math.isnan(rows(replication, "structural")["estimate"].iloc[0])


def test_published_rows_stand_with_the_reason_why_they_have_no_estimate(replication):
    table = replication.table
    headline = table[table["id"].isin(["R1", "R2", "R3", "R6"])]
    assert set(headline["id"]) == {"R1", "R2", "R3", "R6"}
    assert headline["estimate"].isna().all()
    assert (headline["reason"] != "").all()
    assert not table["simulated"].any()


def test_published_values_stand_beside(replication):
    table = replication.table
    r1 = table[table["id"] == "R1"]
    assert r1["published"].tolist() == [7.2, 8.9, 6.2, 11.6, 15.4, 0.0, 2.3, 2.2, 2.5, 2.9, 4.7, 0.0]
    r6 = table[table["id"] == "R6"]
    assert r6["published"].tolist() == [9545, 22.7, 932, 8300, 10265, 23.6, 1100, 10300]
    headline = table[table["published"].isin([1.6, 0.5]) & table["id"].isin(["R2", "R3"])]
    assert headline[["id", "group", "scale"]].to_numpy().tolist() == [
        ["R2", "all", "odds_ratio"],
        ["R3", "all", "hazard_ratio"],
    ]


def test_the_first_line_says_that_nothing_is_simulated(replication):
    assert "nothing simulated" in replication.text().splitlines()[0]
