"""The study on real registers of a user: Brazilian sugar exporters, against counts made in R from the same file."""

import json
import math
from pathlib import Path

import pytest

from missie_impact.cli import main

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "sugar_exporters" / "study.toml"
REFERENCE = ROOT / "tests" / "data" / "trase_sugar_exporters" / "reference.json"


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    out = tmp_path_factory.mktemp("sugar")
    assert main(["study", "--registers", str(EXAMPLE), "--out", str(out)]) == 0
    return json.loads((out / "replication.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def expected():
    return json.loads(REFERENCE.read_text("utf-8"))["exit"]


def test_exits_per_year(records, expected):
    hazards = {r["label"].rsplit(", ", 1)[1]: r for r in records if r["id"] == "exit_hazard"}
    wanted = {"all years": expected, **expected["by_year"]}
    for year, counts in wanted.items():
        assert (hazards[year]["n_rows"], hazards[year]["n_events"]) == (counts["at_risk"], counts["exits"])
        assert hazards[year]["estimate"] == pytest.approx(100 * counts["exits"] / counts["at_risk"], rel=1e-12)
        assert "exits are exits or deaths" in hazards[year]["reason"]


def test_new_relations_of_2016_that_stay(records, expected):
    first = next(r for r in records if r["id"] == "survival")
    new = expected["new_2016"]
    assert (first["n_rows"], first["n_events"]) == (new["at_risk"], new["exits"])
    assert first["estimate"] == pytest.approx(100 * (1 - new["exits"] / new["at_risk"]), rel=1e-12)


def test_what_cannot_be_had_says_why(records):
    by_id = {r["id"]: r for r in records}
    assert by_id["structural"]["estimate"] is None
    assert by_id["structural"]["reason"].startswith("window longer than data")
    assert by_id["firm_death"]["reason"].startswith("not known")
    missing = [r for r in records if r["id"] in ("R1", "R2", "R3", "R6")]
    assert all(r["estimate"] is None and r["reason"] for r in missing)
    assert {r["simulated"] for r in records} == {False}


def test_no_truth_for_real_registers(records):
    assert all(r["truth"] is None and r["realised_truth"] is None for r in records)
    assert all(math.isfinite(r["estimate"]) for r in records if r["id"] == "spells")
