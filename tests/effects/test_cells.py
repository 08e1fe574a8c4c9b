"""A hazard from counts per cell equals the fit on rows, errors included."""

import numpy as np
import pandas as pd
import pytest

from missie_impact.effects.leaving import cells
from missie_impact.effects.leaving.cells import count_cells, hazard_from_cells
from missie_impact.effects.leaving.exit import market_exit
from missie_impact.effects.leaving.exit_options import ExitOptions
from missie_impact.errors import MissingValueError, SchemaError
from missie_impact.risksets.riskset import RiskSet


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(4)
    n = 20_000
    treated, duration = (rng.random(n) < 0.2).astype(int), rng.integers(1, 7, n)
    sector, size = rng.choice(list("ABCD"), n), rng.choice(["sme", "large"], n)
    eta = -1.5 - 0.7 * treated - 0.1 * duration + 0.3 * (sector == "B")
    y = (rng.random(n) < -np.expm1(-np.exp(eta))).astype(int)
    y[sector == "D"] = 0  # a level without events
    firm = np.char.add("f", rng.integers(0, 900, n).astype(str))
    return pd.DataFrame(
        {"y": y, "treated": treated, "duration": duration, "sector": sector, "size": size, "firm": firm}
    )


def risk_of(table):
    return RiskSet.from_frame(table, outcome="y", treatment="treated", firm="firm")


@pytest.mark.parametrize("model", ["cloglog", "logit"])
def test_counts_give_what_rows_give(table, model, monkeypatch):
    monkeypatch.setattr(cells, "ROWS_AT_A_TIME", 3_000)  # several parts of whole clusters
    controls = ["C(duration)", "sector", "size"]
    rows = market_exit(risk_of(table), cluster="firm", controls=controls, model=model, options=ExitOptions())
    found = hazard_from_cells(risk_of(table), cluster="firm", controls=controls, model=model)
    expected = rows.coefficients.dropna(subset="estimate")
    same = found.coefficients.loc[expected.index]
    np.testing.assert_allclose(same["estimate"], expected["estimate"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(same["std_error"], expected["std_error"], rtol=1e-10)
    scale = "hazard_ratio_conditional" if model == "cloglog" else "odds_ratio_conditional"
    for name in ("estimate", "conf_low", "conf_high", "n_rows", "n_events"):
        assert getattr(found.effect(scale), name) == pytest.approx(getattr(rows.effect(scale), name), rel=1e-10)


def test_counts_are_those_of_the_table(table):
    found = count_cells(risk_of(table), ["sector", "size"]).table
    by_hand = table.groupby(["treated", "sector", "size"])["y"].agg(["size", "sum"]).reset_index(drop=True)
    np.testing.assert_array_equal(found[["n_rows_", "n_events_"]].to_numpy(), by_hand.to_numpy())


def test_bad_input_is_named(table):
    with pytest.raises(MissingValueError, match="found 1 of 20000 rows"):
        count_cells(risk_of(table.assign(size=table["size"].where(table.index != 5))), ["size"])
    with pytest.raises(SchemaError, match="need rows without weights"):
        weighted = RiskSet.from_frame(table.assign(w=1.0), outcome="y", treatment="treated", frequency="w")
        count_cells(weighted, ["size"])
    with pytest.raises(SchemaError, match="is no column"):
        hazard_from_cells(risk_of(table), cluster="region", controls=["size"])
