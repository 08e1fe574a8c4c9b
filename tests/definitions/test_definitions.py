import pytest

from missie_impact.definitions import CBS_2024, DEFAULT_CONTROLS, PAIR_CONTROLS, TRANSITION_CONTROLS
from missie_impact.errors import SettingsError


def test_every_rule_says_what_it_is_and_where_it_comes_from():
    table = CBS_2024.describe()
    assert list(table.columns) == ["name", "value", "rule", "options", "status", "source"]
    assert set(table["status"]) <= {"documented", "carried over", "assumed", "design"}
    assert (table["rule"].str.len() > 10).all()


def test_a_change_makes_a_new_object():
    changed = CBS_2024.replace(gap_years=1, kinds=["goods"])
    assert (changed.gap_years, changed.kinds) == (1, ("goods",))
    assert (CBS_2024.gap_years, CBS_2024.kinds) == (2, ("goods", "services"))


def test_an_unknown_rule_is_an_error_that_lists_the_known_ones():
    with pytest.raises(SettingsError, match=r"unknown definitions \['gap'\].*gap_years"):
        CBS_2024.replace(gap=1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gap_years": 9}, "gap_years"),
        ({"min_years": 5}, "exceeds"),
        ({"window": 0}, "window"),
        ({"pool": "x"}, "pool"),
    ],
)
def test_impossible_values_are_refused(change, words):
    with pytest.raises(SettingsError, match=words):
        CBS_2024.replace(**change)


def test_default_controls_are_those_of_firms_and_of_pairs():
    assert set(DEFAULT_CONTROLS) == set(TRANSITION_CONTROLS) | set(PAIR_CONTROLS)
