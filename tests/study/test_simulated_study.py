"""The main job on a small draw: files are written, read back and set beside the published figures."""

import html
import json
import re

import pytest

from missie_impact.cli import main

FIRMS = 6000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    assert main(["study", "--firms", str(FIRMS), "--seed", "3", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def records(folder):
    return json.loads((folder / "replication.json").read_text("utf-8"))


def test_every_published_row_is_there_with_a_number_or_a_reason(records):
    assert {
        "R1",
        "R2",
        "R3",
        "R6",
        "R2.matched",
        "R2.weighted",
        "R2.doubly_robust",
        "R2.naive",
        "R3.naive",
        "R3.from_t",
        "R3.from_t+2",
    } <= {r["id"] for r in records}
    assert [r for r in records if r["estimate"] is None and not r["reason"]] == []
    assert len([r for r in records if r["id"] == "R1"]) == 12


def test_everything_says_that_it_is_simulated(folder, records):
    assert all(r["simulated"] for r in records)
    assert "Simulated registers" in (folder / "replication.html").read_text("utf-8")
    assert json.loads((folder / "provenance.json").read_text("utf-8"))["simulated"] is True


def test_the_stored_truth_stands_beside_the_published_value(records):
    truth = {(r["group"], r["scale"]): r["truth"] for r in records if r["id"] == "R2"}
    assert truth["all", "odds_ratio"] == pytest.approx(1.6, abs=0.05)
    exits = next(r for r in records if r["id"] == "R3")
    assert exits["truth"] == pytest.approx(0.5, abs=0.03)


def test_intervals_stand_around_their_estimate(records):
    with_interval = [r for r in records if r["conf_low"] is not None]
    assert all(r["conf_low"] <= r["estimate"] <= r["conf_high"] for r in with_interval)
    for r in with_interval:
        if r["truth"] is not None:
            assert r["holds_truth"] == (r["conf_low"] <= r["truth"] <= r["conf_high"])


def test_the_indicator_is_a_description(records):
    indicator = [r for r in records if r["id"].startswith("R6")]
    assert all(r["conf_low"] is None and r["truth"] is None for r in indicator)
    assert all("goal attainment" in r["definition"] for r in indicator)


def test_registers_are_written_once_and_read_back(folder):
    assert (folder / "registers" / "study.toml").exists()
    assert (folder / "registers" / "trade.parquet").exists()


@pytest.mark.parametrize(
    ("language", "first", "last"), [("nl", "Beleid en doel", "verantwoording"), ("en", "Policy", "accountability")]
)
def test_the_evaluation_report_follows_the_standard_and_needs_no_network(folder, language, first, last):
    page = (folder / f"report_{language}.html").read_text("utf-8")
    heads = re.findall(r"<h2 id=\"[a-z_]+\">(\d+)\. ([^<]+)</h2>", page)
    assert [int(number) for number, _ in heads] == list(range(1, 15))
    assert first in heads[0][1] and last in heads[-1][1]
    assert not re.search(r"(src|href)=.https?:", page)
    assert {"nl": "Gesimuleerde registers", "en": "Simulated registers"}[language] in page


def test_the_report_has_no_causal_verb_for_a_description(folder):
    page = (folder / "report_nl.html").read_text("utf-8")
    assert [line for line in re.findall(r"<li>(R6[^<]*|[^<]*naive[^<]*)</li>", page) if "leidt tot" in line] == []


def cells(page):
    page = re.sub(r'src="data:[^"]*"|<style.*?</style>', "", page, flags=re.DOTALL)
    return {text.strip() for text in re.split(r"<[^>]+>", page) if text.strip()}


def test_the_dutch_report_has_no_english_sentence(folder, records):
    """What both pages share is a name, or the error of a row without an estimate, which names columns."""
    english, dutch = (cells((folder / f"report_{language}.html").read_text("utf-8")) for language in ("en", "nl"))
    errors = {record["reason"] for record in records if record["estimate"] is None}
    shared = {text for text in english & dutch if len(re.findall(r"[a-z]{2,}", text)) > 2}
    left = {re.sub(r"^\[\d+\] ", "", html.unescape(text)) for text in shared} - errors
    assert {text for text in left if not re.search(r"[.](csv|parquet)$", text)} == set()
