"""Real trade panels as a user's own registers, and the values R gave for them."""

import json
from pathlib import Path

import pandas as pd
import pytest

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture(scope="session")
def sugar_reference():
    return json.loads((DATA / "trase_sugar_exporters" / "reference.json").read_text())


@pytest.fixture(scope="session")
def sugar():
    """Brazilian sugar exports 2015-2017: firm x port x destination x year, USD."""
    path = DATA / "trase_sugar_exporters" / "data.csv"
    return pd.read_csv(path, keep_default_na=False).astype({"fob": "int64"})


@pytest.fixture(scope="session")
def country_pairs_reference():
    return json.loads((DATA / "country_pair_spells" / "reference.json").read_text())


@pytest.fixture(scope="session")
def country_pairs():
    """Yearly trade of country pairs 1986-2006 in million USD, zeros included."""
    return pd.read_csv(DATA / "country_pair_spells" / "data.csv", keep_default_na=False)
