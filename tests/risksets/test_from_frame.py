"""A researcher's own table as a risk set."""

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from missie_impact.errors import EmptyTableError, SchemaError
from missie_impact.risksets import RiskSet


@pytest.fixture
def table():
    return pd.DataFrame(
        {"left": [0, 1, 1, 0], "went": [0, 1, 0, 1], "firm": [2, 1, 2, 1], "year": [1, 1, 2, 2], "size": list("abab")}
    )


def kinds(table):
    return [
        table,
        pl.from_pandas(table),
        pl.from_pandas(table).lazy(),
        pa.Table.from_pandas(table),
        duckdb.from_df(table),
    ]


def test_every_kind_of_frame_gives_the_same_rows(table):
    sets = [RiskSet.from_frame(f, outcome="left", treatment="went", firm="firm", year="year") for f in kinds(table)]
    first = sets[0].collect()
    assert first["firm"].tolist() == [1, 1, 2, 2] and first["year"].tolist() == [1, 2, 1, 2]
    for other in sets[1:]:
        np.testing.assert_array_equal(other.collect().to_numpy(), first.to_numpy())


def test_the_frame_is_not_touched_and_later_edits_do_not_reach_the_risk_set(table):
    before = table.copy()
    risk = RiskSet.from_frame(table, outcome="left", treatment="went")
    pd.testing.assert_frame_equal(table, before)
    table["left"] = 99
    assert risk.collect(["left"])["left"].tolist() == [0, 1, 1, 0]


def test_rows_without_a_key_keep_their_order(table):
    risk = RiskSet.from_frame(table, outcome="left", treatment="went")
    assert risk.collect()["size"].tolist() == list("abab")
    assert risk.columns == list(table.columns)


def test_covariates_hold_no_outcome(table):
    risk = RiskSet.from_frame(table, outcome="left", treatment="went", cause="size")
    assert list(risk.covariates().columns) == ["went", "firm", "year"]


def test_a_role_that_names_no_column_is_an_error(table):
    with pytest.raises(SchemaError, match=r"'duration': 'years'.*the table has"):
        RiskSet.from_frame(table, outcome="left", treatment="went", duration="years")


def test_one_column_cannot_be_outcome_and_treatment(table):
    with pytest.raises(SchemaError, match="two roles"):
        RiskSet.from_frame(table, outcome="left", treatment="left")


def test_missing_outcomes_are_counted(table):
    holed = table.assign(left=[0.0, np.nan, np.nan, 1.0])
    with pytest.raises(SchemaError, match=r"`left` \(outcome\).*2 rows without one"):
        RiskSet.from_frame(holed, outcome="left", treatment="went")


def test_a_treatment_is_zero_or_one(table):
    with pytest.raises(SchemaError, match=r"`year` \(treatment\): expected 0 or 1, found other values in 2 rows"):
        RiskSet.from_frame(table, outcome="left", treatment="year")


def test_text_as_outcome_is_refused_without_its_values(table):
    secret = table.assign(left=["SECRET"] * 4)
    with pytest.raises(SchemaError, match="expected numbers") as caught:
        RiskSet.from_frame(secret, outcome="left", treatment="went")
    assert "SECRET" not in str(caught.value)


def test_negative_weights_are_refused(table):
    with pytest.raises(SchemaError, match="negative"):
        RiskSet.from_frame(table.assign(w=[1, 1, -1, 1]), outcome="left", treatment="went", probability="w")


def test_an_empty_table_is_an_error(table):
    with pytest.raises(EmptyTableError, match="no row"):
        RiskSet.from_frame(table.iloc[:0], outcome="left", treatment="went")


def test_the_risk_set_shows_counts_only(table):
    risk = RiskSet.from_frame(table.assign(secret=[123456789] * 4), outcome="left", treatment="went")
    assert "4 rows" in repr(risk)
    assert "123456789" not in repr(risk) + risk._repr_html_()
