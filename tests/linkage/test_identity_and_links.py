"""Identities followed to their end, and numbers linked on the day, by hand."""

import pandas as pd
import pytest

from missie_impact import CBS_2024, Registers, build_panel
from missie_impact.errors import SchemaError
from missie_impact.linkage import resolve_successors

TRADE = pd.DataFrame({"firm": [1], "market": ["DE"], "year": [2010], "value_eur": [5.0]})


def registers(changes=(), **tables):
    columns = ["old_firm", "new_firm", "date", "event"]
    frame = pd.DataFrame([(a, b, pd.Timestamp(d), e) for a, b, d, e in changes], columns=columns)
    frame["new_firm"] = frame["new_firm"].astype("Int64")
    frame["old_firm"] = frame["old_firm"].astype("Int64")
    given = {"identity_changes": frame} if len(frame) else {}
    return Registers.from_frames(trade=TRADE, first_year=2004, last_year=2012, **given, **tables)


def ends(changes, definitions=CBS_2024):
    with registers(changes) as found:
        successors = resolve_successors(found, definitions)
        if successors.final is None:
            return {}
        table = found.engine.collect(successors.final, sort_by=["firm"])
        return dict(zip(table["firm"].tolist(), table["successor"].tolist(), strict=True))


def test_a_chain_is_followed_to_its_end():
    changes = [(1, 2, "2006-01-01", "renumbered"), (2, 3, "2009-01-01", "takeover")]
    assert ends(changes) == {1: 3, 2: 3}


def test_a_firm_that_splits_follows_the_latest_then_the_lowest():
    changes = [(1, 7, "2006-01-01", "demerger"), (1, 9, "2008-01-01", "demerger"), (1, 8, "2008-01-01", "demerger")]
    assert ends(changes) == {1: 8}


def test_a_circle_is_an_error_that_names_no_firm():
    changes = [(411, 422, "2006-01-01", "merger"), (422, 411, "2007-01-01", "merger")]
    with pytest.raises(SchemaError, match="found 2 firms that succeed each other in a circle") as caught:
        ends(changes)
    assert "411" not in str(caught.value) and "422" not in str(caught.value)


def test_nobody_is_followed_where_the_rule_says_so():
    assert ends([(1, 2, "2006-01-01", "renumbered")], CBS_2024.replace(identity="none")) == {}


def test_an_identity_lost_under_an_old_number_is_lost_for_its_successor():
    changes = [(1, 2, "2006-01-01", "renumbered"), (2, None, "2010-06-01", "restructuring")]
    with registers(changes) as found:
        lost = resolve_successors(found, CBS_2024).lost
        assert found.engine.collect(lost, sort_by=["firm"]).to_numpy().tolist() == [[2, 2010]]


def links(rows):
    table = pd.DataFrame(rows, columns=["kvk", "firm", "valid_from", "valid_to"])
    for column in ("valid_from", "valid_to"):
        table[column] = pd.to_datetime(table[column])
    return table


def participations(*days):
    return pd.DataFrame(
        {
            "kvk": ["a"] * len(days),
            "market": ["DE"] * len(days),
            "date": [pd.Timestamp(day) for day in days],
            "instrument": ["mission"] * len(days),
            "mission": [f"M{day[:4]}" for day in days],
            "minister_led": [True] * len(days),
        }
    )


def linked(link_rows, *days):
    with registers(links=links(link_rows), participations=participations(*days)) as found:
        panel = build_panel(found)
        table = panel.collect(panel.supports, ["year", "firm"])
        return list(zip(table["year"].tolist(), table["firm"].tolist(), strict=True)), panel.linkage


def test_the_link_that_is_valid_on_the_day_counts():
    rows = [("a", 1, "2005-01-01", "2008-06-30"), ("a", 2, "2008-07-01", None)]
    assert linked(rows, "2008-06-30", "2008-07-01")[0] == [(2008, 1), (2008, 2)]


def test_several_links_on_a_day_follow_the_one_that_began_last_then_the_lowest_number():
    rows = [("a", 1, "2005-01-01", None), ("a", 4, "2007-01-01", None), ("a", 5, "2007-03-01", None)]
    assert linked(rows, "2009-01-01")[0] == [(2009, 5)]
    assert linked([*rows, ("a", 3, "2007-03-01", None)], "2009-01-01")[0] == [(2009, 3)]


def test_a_number_without_a_link_on_the_day_is_counted_and_is_nobody():
    found, linkage = linked([("a", 1, "2009-01-01", None)], "2008-01-01", "2010-01-01")
    assert found == [(2010, 1)]
    assert linkage.report[["participations", "linked"]].to_numpy().tolist() == [[1, 0], [1, 1]]


def test_several_persons_of_a_firm_are_one_support():
    found, linkage = linked([("a", 1, "2005-01-01", None)], "2010-01-01", "2010-01-01")
    assert found == [(2010, 1)]
    assert linkage.flow.steps[-1].rows == 1
