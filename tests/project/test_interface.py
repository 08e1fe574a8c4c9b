"""The door of the library: what a researcher types exists, is explained, and opens fast."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import pytest

import missie_impact as mi

HEAVY = ["statsmodels", "linearmodels", "matplotlib", "pyspark", "polars", "great_tables", "sklearn", "scipy.stats"]


@pytest.mark.parametrize("name", sorted(mi.__all__))
def test_every_public_name_exists_and_is_explained(name: str) -> None:
    value = getattr(mi, name)
    if inspect.isclass(value) or inspect.isroutine(value):
        assert inspect.getdoc(value)


def test_all_is_unique() -> None:
    assert len(mi.__all__) == len(set(mi.__all__))


@pytest.mark.parametrize("name", sorted(mi.__all__))
def test_no_public_function_takes_a_rest_of_keywords(name: str) -> None:
    value = getattr(mi, name)
    if inspect.isroutine(value):
        kinds = {parameter.kind for parameter in inspect.signature(value).parameters.values()}
        assert inspect.Parameter.VAR_KEYWORD not in kinds


def test_bare_import_takes_no_heavy_library() -> None:
    code = f"import json, sys, missie_impact; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout) == []


def test_import_says_nothing() -> None:
    code = "import missie_impact"
    answer = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout + answer.stderr == ""
