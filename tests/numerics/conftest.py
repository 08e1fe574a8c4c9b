"""Reference cases: R's numbers and the rows they were made from."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from missie_impact.numerics.design import Column, build_design, factor_of

DATA = Path(__file__).parents[1] / "data"


def load(case, **options):
    """Table and R's numbers of a case."""
    reference = json.loads((DATA / case / "reference.json").read_text(encoding="utf-8"))
    return pd.read_csv(DATA / case / "data.csv", **options), reference


def design_of(table, continuous, factors=(), **options):
    """Design in R's order of terms; factors sorted as in the table."""
    columns = [Column(name, table[name].to_numpy(dtype=float)) for name in continuous]
    return build_design([factor_of(name, table[name].to_numpy()) for name in factors], columns, **options)


def named(values, design, rename=str):
    """Values by R's names of the terms."""
    return {rename(term.name): value for term, value in zip(design.terms, values, strict=True)}


def assert_matches(values, design, reference, rename=str, rtol=1e-6):
    """Compare term by term, whatever the order."""
    ours = named(values, design, rename)
    assert set(ours) == set(reference)
    np.testing.assert_allclose([ours[name] for name in reference], list(reference.values()), rtol=rtol)


@pytest.fixture(scope="session")
def cases():
    """Helpers for reference cases; a fixture because test modules cannot import each other."""
    return SimpleNamespace(load=load, design_of=design_of, named=named, assert_matches=assert_matches)
