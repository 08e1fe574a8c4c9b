"""Tables small enough to check by hand, and R's numbers."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from missie_impact.risksets.riskset import RiskSet

DATA = Path(__file__).parents[1] / "data"


def load(case):
    """Table and R's numbers of a case."""
    reference = json.loads((DATA / case / "reference.json").read_text(encoding="utf-8"))
    return pd.read_csv(DATA / case / "data.csv", keep_default_na=case != "trase_sugar_exporters"), reference


def load_reference(case):
    """R's numbers of a case that shares its data with another."""
    return json.loads((DATA / case / "reference.json").read_text(encoding="utf-8"))


def aged(table, event, interest=1):
    """Gammopathy patients on age in months, given 60 years: entered late, progression 1, death 2, or ``any``."""
    progressed = table["pstat"] == 1
    entry = 12 * table["age"]
    rows = table.assign(
        entry=entry.clip(lower=720),
        exit=entry + np.where(progressed, table["ptime"], table["futime"]),
        cause=np.where(progressed, 1, 2 * table["death"]),
        male=(table["sex"] == "M").astype(int),
    )
    rows = rows[rows["exit"] > 720].assign(y=lambda d: d["cause"] > 0 if event == "any" else d["cause"] == interest)
    roles = {} if event == "any" else {"cause": "cause"}
    return risk_set(rows.astype({"y": int}), outcome="y", treatment="male", firm="id", duration="exit", start="entry",
                    **roles)  # fmt: skip


def repeated(counts, columns):
    """One row per unit from rows of (values..., count)."""
    *values, count = zip(*counts, strict=True)
    return pd.DataFrame({name: np.repeat(v, count) for name, v in zip(columns, values, strict=True)})


def two_by_two(treated_yes=10, treated_no=30, control_yes=12, control_no=68):
    counts = [(1, 1, treated_yes), (1, 0, treated_no), (0, 1, control_yes), (0, 0, control_no)]
    table = repeated(counts, ["treated", "outcome"])
    return table.assign(firm=np.arange(len(table)) + 1000)


def risk_set(table, **roles):
    return RiskSet.from_frame(table, **{"outcome": "outcome", "treatment": "treated", **roles})


def exit_trials(table, **roles):
    """Own rows as exit trials: firm, market, year, follow_up, treated, outcome."""
    risk = risk_set(table, firm="firm", market="market", year="year", **roles)
    return replace(risk, design="trials", question="exit")


def firms(seed=1, n=600):
    """Firm-trials with a continuous, a 0/1 and a text control, several rows a firm."""
    rng = np.random.default_rng(seed)
    firm = rng.integers(0, n // 3, n)
    size, here = rng.normal(0, 1, n) + firm % 3 / 2, rng.integers(0, 2, n)
    treated = rng.random(n) < 1 / (1 + np.exp(1 - 0.5 * size))
    eta = -0.4 + 0.7 * treated + 0.5 * size - 0.3 * here + (firm % 5 - 2) / 5
    sector = np.array(["C", "G", "J"])[rng.integers(0, 3, n)]
    outcome = (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(int)
    table = {"firm": firm, "treated": treated.astype(int), "outcome": outcome, "log_workers": size, "here": here}
    return pd.DataFrame({**table, "sector": sector, "size": np.where(size > 0.5, "not_sme", "sme")})


@pytest.fixture(scope="session")
def make():
    """Helpers of this folder; a fixture because test modules cannot import each other."""
    return SimpleNamespace(
        load=load,
        load_reference=load_reference,
        aged=aged,
        repeated=repeated,
        two_by_two=two_by_two,
        risk_set=risk_set,
        exit_trials=exit_trials,
        firms=firms,
    )


def agree(found, expected, name_of, rtol=1e-6):
    """Compare a column of coefficients with R's numbers, term by term."""
    ours = {name_of(term): value for term, value in found.items()}
    assert set(ours) >= set(expected)
    np.testing.assert_allclose([ours[name] for name in expected], list(expected.values()), rtol=rtol)


@pytest.fixture(scope="session")
def matches():
    """Return the comparison with R's numbers."""
    return agree
