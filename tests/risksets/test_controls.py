"""The language in which controls are named, against columns made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from missie_impact.errors import MissingValueError, SchemaError, SettingsError
from missie_impact.numerics.cells import Column, Factor
from missie_impact.numerics.splines import spline_basis
from missie_impact.risksets import RiskSet
from missie_impact.risksets.controls import resolve_controls, variables_of


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "y": [0, 1, 0, 1, 0, 1],
            "d": [0, 0, 1, 1, 0, 1],
            "x": [1.0, 2.0, 3.0, 4.0, 5.0, 7.0],
            "far": [0, 1, 1, 0, 1, 0],
            "sector": ["A", "B", "C", "A", "B", "C"],
            "a:b": [2.0, 1.0, 4.0, 1.0, 0.5, 1.0],
        }
    )


def made(frame: pd.DataFrame, *names: str) -> dict[str, np.ndarray]:
    risk = RiskSet.from_frame(frame, outcome="y", treatment="d")
    controls = resolve_controls(risk, names)
    shown = {}
    for variable in variables_of(risk.collect(controls.columns), controls.used):
        values = variable.values
        shown[values.name] = values.values if isinstance(values, Column) else values.codes
    return shown


def test_functions_of_a_column(frame: pd.DataFrame) -> None:
    found = made(frame, "log(x)", "log1p(x)", "sqrt(x)", "x**2", "I(x^3)")
    x = frame["x"].to_numpy()
    expected = {"log(x)": np.log(x), "log1p(x)": np.log1p(x), "sqrt(x)": np.sqrt(x), "x**2": x**2, "x^3": x**3}
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values)


def test_a_number_as_a_factor_keeps_the_name_of_its_column(frame: pd.DataFrame) -> None:
    risk = RiskSet.from_frame(frame, outcome="y", treatment="d")
    controls = resolve_controls(risk, ["C(x)"])
    (variable,) = variables_of(risk.collect(controls.columns), controls.used)
    assert isinstance(variable.values, Factor)
    assert (variable.values.name, variable.values.levels) == ("x", ("1", "2", "3", "4", "5", "7"))


def test_products(frame: pd.DataFrame) -> None:
    found = made(frame, "sector", "x*far", "sector:x", "sector:far")
    assert list(found) == [
        "sector", "x", "far", "x:far", "sector[B]:x", "sector[C]:x", "sector[B]:far", "sector[C]:far",
    ]  # fmt: skip
    np.testing.assert_array_equal(found["x:far"], [0, 2, 3, 0, 5, 0])
    np.testing.assert_array_equal(found["sector[C]:x"], [0, 0, 3, 0, 0, 7])
    np.testing.assert_array_equal(found["sector[B]:far"], [0, 1, 0, 0, 1, 0])


def test_a_column_of_that_very_name_comes_first(frame: pd.DataFrame) -> None:
    np.testing.assert_array_equal(made(frame, "a:b")["a:b"], frame["a:b"])


def test_products_with_the_treatment_are_kept_apart(frame: pd.DataFrame) -> None:
    risk = RiskSet.from_frame(frame, outcome="y", treatment="d")
    controls = resolve_controls(risk, ["far", "d:far"])
    assert [c.name for c in controls.used] == ["far"]
    assert controls.with_treatment == ("far",)


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("height", SchemaError, "height"),
        ("log(sector)", SchemaError, "found text"),
        ("y", SettingsError, "outcome or treatment"),
        ("sector:x", SettingsError, r"\['sector'\]"),
        ("log(far)", MissingValueError, "found 3 rows"),
        ("bs(far, 4)", SettingsError, "distinct values, found 2"),
    ],
)
def test_a_control_that_cannot_be_made_says_why(
    frame: pd.DataFrame, name: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        made(frame, name)


def test_splines_are_cubic_between_knots_and_natural_ones_straight_outside() -> None:
    x = np.linspace(0, 10, 201)
    for natural, df in ((False, 5), (True, 4)):
        basis = spline_basis(x, df, natural=natural)
        assert basis.shape == (201, df)
        # Straight lines lie in the span, as of every cubic spline.
        line = np.column_stack([np.ones(201), basis])
        fitted = line @ np.linalg.lstsq(line, x, rcond=None)[0]
        np.testing.assert_allclose(fitted, x, atol=1e-9)
    natural_basis = spline_basis(x, 4, natural=True)
    second = np.diff(natural_basis, 2, axis=0) / (x[1] - x[0]) ** 2
    slopes = np.diff(second, axis=0)
    ends = second[0] - slopes[0], second[-1] + slopes[-1]  # extrapolated to the outermost values
    np.testing.assert_allclose(ends, np.zeros((2, 4)), atol=1e-6)
