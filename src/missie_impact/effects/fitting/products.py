"""Products of the treatment with other columns: how the effect differs by them, and what they are in another world."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.errors import SchemaError, SettingsError
from missie_impact.numerics.design import Column, Factor
from missie_impact.risksets.controls import Control, Variable, parse_control, variables_of
from missie_impact.risksets.riskset import RiskSet

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Products:
    """Products with the treatment.

    Attributes
    ----------
    variables : the products as covariates, "treated:far", "treated:follow_up[3]"
    factors : (n,) per product, what the treatment is multiplied with
    """

    variables: tuple[Variable, ...] = ()
    factors: Mapping[str, Floats] | None = None


def product_controls(risk: RiskSet, names: Sequence[str], used: Iterable[Control]) -> list[Control]:
    """Read what the treatment is to be multiplied with; a number that is a factor of the model stays one.

    Raises
    ------
    SchemaError
        If it is made from a column that is not there.
    SettingsError
        If it is made from outcome or treatment.
    """
    columns = set(risk.columns)
    factors = {control.name for control in used if control.function == "factor"}
    found = [control for name in names for control in parse_control(name, columns)]
    found = [Control(c.name, c.column, "factor") if c.name in factors and not c.parts else c for c in found]
    absent = sorted({c for control in found for c in control.columns} - columns)
    if absent:
        raise SchemaError(f"products with the treatment name {absent}, not in the risk set; it holds {risk.columns}.")
    spent = sorted({c for control in found for c in control.columns} & {risk.roles.outcome, risk.roles.treatment})
    if spent:
        raise SettingsError(f"products with the treatment: {spent} are outcome or treatment themselves.")
    return found


def treatment_products(
    frame: pd.DataFrame, controls: Sequence[Control], treatment: str, treated: NDArray[np.bool_]
) -> Products:
    """Multiply the treatment with controls: every contrast of a factor with its first level, every column.

    The effect at the first level, or at zero, is the treatment's own coefficient. A control that is only named in a
    product has no term of its own, as in R's ``any + any:far``.
    """
    variables, factors = [], {}
    for variable in variables_of(frame, controls):
        for label, values in _contrasts(variable):
            name, product = f"{treatment}:{label}", values * treated
            factors[name] = values
            if np.isin(values, (0.0, 1.0)).all():
                variables.append(Variable(Factor(name, product.astype(np.intp), ("0", "1")), plain=True))
            else:
                variables.append(Variable(Column(name, product)))
    return Products(tuple(variables), factors)


def _contrasts(variable: Variable) -> list[tuple[str, Floats]]:
    values = variable.values
    if isinstance(values, Column):
        return [(values.name, values.values)]
    names = [values.name if variable.plain else f"{values.name}[{level}]" for level in values.levels]
    return [(names[k], (values.codes == k).astype(np.float64)) for k in range(1, len(values.levels))]
