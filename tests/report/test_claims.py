"""Sentences go no further than the design carries."""

from __future__ import annotations

import math

import pytest

from missie_impact.report.claims import claim, level_of

ODDS = ("becoming structural", "odds_ratio", 1.6)


def test_a_causal_verb_needs_level_three() -> None:
    strong = claim(*ODDS, (1.4, 1.8), level=3, n_treated=1200)
    weak = claim(*ODDS, (1.4, 1.8), level=2, n_treated=1200)
    assert strong == (
        "becoming structural: support leads to an odds ratio 1.6 (95%: 1.4 to 1.8; 1,200 treated; level 3)."
    )
    assert "leads to" not in weak and "goes together with" in weak


@pytest.mark.parametrize("design", ["naive", "description", "something new"])
def test_what_is_not_known_to_be_a_design_has_the_lowest_level(design: str) -> None:
    assert level_of(design) == 1


@pytest.mark.parametrize(
    ("scale", "estimate", "interval"),
    [("odds_ratio", 1.2, (0.9, 1.6)), ("hazard_ratio", 0.8, (0.5, 1.1)), ("risk_difference_pp", 2.0, (-1.0, 5.0))],
)
def test_an_interval_that_holds_no_effect_says_so(scale: str, estimate: float, interval: tuple[float, float]) -> None:
    assert "no effect was shown" in claim("x", scale, estimate, interval, level=3, n_treated=10)


def test_dutch_sentences() -> None:
    found = claim(*ODDS, (1.4, 1.8), level=3, n_treated=1200, language="nl")
    assert "ondersteuning leidt tot een odds ratio 1,6 (95%: 1,4 tot 1,8; 1.200 deelnemers; niveau 3)" in found
    assert "gaat samen met" in claim(*ODDS, (1.4, 1.8), level=1, n_treated=None, language="nl")


def test_a_risk_of_one_world_is_no_effect_and_neither_is_a_description() -> None:
    of_world = claim("exit", "yearly_exit_probability_with_percent", 2.3, (1.6, 3.0), level=3, n_treated=5)
    described = claim("sum", "eur_million", 932.0, (math.nan, math.nan), level=1, n_treated=None)
    for sentence in (of_world, described):
        assert "leads to" not in sentence and "goes together with" not in sentence
    assert "a description" in described


def test_no_estimate() -> None:
    assert claim("x", "odds_ratio", math.nan, (math.nan, math.nan), level=3, n_treated=0) == "x: no estimate."
