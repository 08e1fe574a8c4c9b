"""The LaLonde sample with R's numbers, and small tables that stand for trials."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from missie_impact.risksets.riskset import RiskSet

DATA = Path(__file__).parents[1] / "data"
ON = ("age", "educ", "race", "married", "nodegree", "re74", "re75")


@pytest.fixture(scope="session")
def lalonde():
    table = pd.read_csv(DATA / "lalonde_matching" / "data.csv")
    reference = json.loads((DATA / "lalonde_matching" / "reference.json").read_text(encoding="utf-8"))
    risk = RiskSet.from_frame(table, outcome="re78", treatment="treat", firm="id")
    rows = risk.collect()
    treated = rows["treat"].to_numpy() == 1

    def att(design):
        y, w = rows["re78"].to_numpy(), design.weight
        return np.average(y[treated], weights=w[treated]) - np.average(y[~treated], weights=w[~treated])

    def pairs(design):
        return {rows["id"][a]: rows["id"][b] for a, b in design.pairs}

    return SimpleNamespace(
        table=table, reference=reference, risk=risk, rows=rows, treated=treated, on=list(ON), att=att, pairs=pairs
    )


def trials(seed=3, n=400):
    """Firm-trials of three years: a number, a sector, a 0/1 column; larger firms are treated more often."""
    rng = np.random.default_rng(seed)
    size, sector = rng.normal(size=n), rng.choice(["C", "G", "J"], n)
    treated = (rng.random(n) < 1 / (1 + np.exp(1.6 - 0.6 * size))).astype(int)
    table = {"firm": rng.permutation(n) % (n // 2), "year": 2010 + np.arange(n) // (n // 3 + 1), "treated": treated}
    table |= {"outcome": rng.integers(0, 2, n), "log_workers": size, "sector": sector, "here": rng.integers(0, 2, n)}
    return pd.DataFrame(table)


def risk_set(table, **roles):
    return RiskSet.from_frame(table, **{"outcome": "outcome", "treatment": "treated", **roles})


def as_trials(risk, question="transition", **changes):
    """Own rows as trials built from registers."""
    return replace(risk, design="trials", question=question, **changes)


@pytest.fixture(scope="session")
def make():
    """Helpers of this folder; a fixture because test modules cannot import each other."""
    return SimpleNamespace(trials=trials, risk_set=risk_set, as_trials=as_trials)
