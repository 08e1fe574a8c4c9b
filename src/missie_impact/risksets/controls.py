"""What a researcher may name as a control, and the arrays it stands for.

One small language wherever controls are named: a column ("log_workers"), a number as a factor ("C(year)"), a function
of a column ("log(x)", "log1p(x)", "sqrt(x)", "x**2"), a spline ("bs(x, 4)", "ns(x, 4)"), and products ("a:b", or "a*b"
for both and their product). Text is a factor, numbers are linear. A column of that very name comes first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.definitions import DEFAULT_CONTROLS
from missie_impact.errors import MissingValueError, SchemaError, SettingsError
from missie_impact.numerics.cells import Column, Factor
from missie_impact.numerics.splines import spline_basis
from missie_impact.risksets.riskset import RiskSet

NOT_IN_REGISTER = "not_in_register"
MARKET_YEAR = "market_year"
MAX_POWER = 9


@dataclass(frozen=True, slots=True)
class Control:
    """One control: how it is called in tables, and what it is made of.

    Attributes
    ----------
    name : in tables; the column itself for "x" and "C(x)"
    column : what it is made from; empty for a product
    function : "", "factor", "log", "log1p", "sqrt", "power", "bs" or "ns"
    number : exponent of a power, degrees of freedom of a spline
    parts : the controls of a product
    """

    name: str
    column: str = ""
    function: str = ""
    number: int = 0
    parts: tuple[Control, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table it needs."""
        return tuple(c for part in self.parts for c in part.columns) if self.parts else (self.column,)


@dataclass(frozen=True, slots=True)
class Controls:
    """Controls of a model on a risk set.

    Attributes
    ----------
    used : in order, each once
    with_treatment : names of controls whose product with the treatment was asked for
    left_out : default controls that the table does not hold
    """

    used: tuple[Control, ...]
    with_treatment: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """Columns of the table they need, each once."""
        return list(dict.fromkeys(column for control in self.used for column in control.columns))


@dataclass(frozen=True, slots=True)
class Variable:
    """A covariate as the likelihood takes it.

    Attributes
    ----------
    values : its codes or numbers
    plain : whether a factor is a 0/1 column in truth
    parts : what a product multiplies, (n,) each
    """

    values: Factor | Column
    plain: bool = False
    parts: tuple[NDArray[np.float64], ...] = ()


def resolve_controls(
    risk: RiskSet, controls: Sequence[str] | None, always: Sequence[str] = (), products: Sequence[str] = ()
) -> Controls:
    """Read the names of controls against the columns of a risk set.

    Parameters
    ----------
    controls : names in the language above; None for none. Of the default list, what the table lacks is left out by name
    always : columns of the design (trial year, follow-up) that enter as factors unless a control implies them
    products : joined to the default list, where both parts of a product are in the model. In any product a number that
        is a factor of the model stays one

    Raises
    ------
    SchemaError
        If a control that is not of the default list names a column that is not there.
    SettingsError
        If a control is the outcome or the treatment, or a product of factors lacks their own terms.
    """
    check_listed("controls", controls)
    wanted = tuple(controls or ())
    if wanted == DEFAULT_CONTROLS:  # the default list, with what this risk set adds to it
        wanted += tuple(c for c in risk.controls if c not in DEFAULT_CONTROLS)
    there = set(risk.columns)
    asked = [control for name in wanted for control in parse_control(name, there)]
    crossed = [c for c in asked if c.parts and any(p.column == risk.roles.treatment for p in c.parts)]
    asked = [c for c in asked if c not in crossed]
    gone = list(dict.fromkeys(c for control in asked for c in control.columns if c not in there))
    wrong = [c for c in gone if c not in DEFAULT_CONTROLS]
    if wrong:
        raise SchemaError(f"controls {wrong} are not in the risk set; it holds {risk.columns}.")
    used = [c for c in asked if set(c.columns) <= there]
    if NOT_IN_REGISTER in there and any(c.column in DEFAULT_CONTROLS for c in used):
        used.append(Control(NOT_IN_REGISTER, NOT_IN_REGISTER))
    taken = {c.column for c in used}
    implied = {risk.roles.year} if MARKET_YEAR in taken else set()  # market x year knows the year
    used += [Control(c, c, "factor") for c in always if c in there and c not in taken | implied]
    if tuple(controls or ()) == DEFAULT_CONTROLS:
        named = {c.name for c in used}
        joined = [control for name in products for control in parse_control(name, there)]
        used += [c for c in joined if {part.name for part in c.parts} <= named]
    used = _same_factors(used)
    doubled = sorted({risk.roles.outcome, risk.roles.treatment} & {c for control in used for c in control.columns})
    if doubled:
        raise SettingsError(f"{doubled} are outcome or treatment and cannot be controls as well.")
    expected = [c for c in gone if c in risk.absent_controls or risk.design != "trials"]
    names = tuple(dict.fromkeys(":".join(_others(c, risk.roles.treatment)) for c in crossed))
    return Controls(_once(used), names, tuple(expected))


def check_listed(argument: str, names: object) -> None:
    """One text is no list of names: its letters would be taken for names.

    Raises
    ------
    SettingsError
        If ``names`` is a text.
    """
    if isinstance(names, str):
        raise SettingsError(f"{argument}: expected a list of names such as [{names!r}], found one text.")


def parse_control(text: str, columns: Iterable[str]) -> list[Control]:
    """Read one name; ``a*b`` gives three controls.

    Raises
    ------
    SettingsError
        If the text is neither a column nor in the language.
    """
    plain = text.strip()
    if plain in columns:
        return [Control(plain, plain)]
    if "*" in plain.replace("**", "") and not plain.startswith("I("):
        parts = [control for name in re.split(r"(?<!\*)\*(?!\*)", plain) for control in parse_control(name, columns)]
        return [*parts, _product(parts)]
    if ":" in plain:
        return [_product([control for name in plain.split(":") for control in parse_control(name, columns)])]
    return [_single(plain)]


def variables_of(frame: pd.DataFrame, controls: Iterable[Control]) -> list[Variable]:
    """Turn controls into factors and columns.

    Parameters
    ----------
    frame : (n rows) with the columns the controls need, such as ``risk.collect(controls.columns)``

    Raises
    ------
    MissingValueError
        If a value is missing or infinite, or a function has no value (the logarithm of zero).
    """
    listed = list(controls)
    mains = {control.name for control in listed if not control.parts}
    made = {c.name: _made(frame, c) for c in listed if not c.parts}
    for control in (c for c in listed if c.parts):
        made[control.name] = _multiplied(frame, control, mains)
    return [variable for control in listed for variable in made[control.name]]


def _single(text: str) -> Control:
    inner = re.fullmatch(r"I\((.+)\)", text)
    text = inner.group(1).strip() if inner else text
    if match := re.fullmatch(r"C\((.+)\)", text):
        return Control(match.group(1), match.group(1), "factor")
    if match := re.fullmatch(r"(log|log1p|sqrt)\((.+)\)", text):
        return Control(text, match.group(2).strip(), match.group(1))
    if match := re.fullmatch(r"(bs|ns)\(([^,]+),\s*(?:df\s*=\s*)?(\d+)\)", text):
        return Control(text, match.group(2).strip(), match.group(1), int(match.group(3)))
    if match := re.fullmatch(rf"(.+?)\s*(?:\*\*|\^)\s*([2-{MAX_POWER}])", text):
        return Control(text, match.group(1), "power", int(match.group(2)))
    return Control(text, text)


def _product(parts: Sequence[Control]) -> Control:
    return Control(":".join(part.name for part in parts), parts=tuple(parts))


def _same_factors(controls: Sequence[Control]) -> list[Control]:
    """Take a number that is a factor of the model as one in products too."""
    factors = {c.name: c for c in controls if c.function == "factor"}
    return [replace(c, parts=tuple(factors.get(part.name, part) for part in c.parts)) for c in controls]


def _others(crossed: Control, treatment: str) -> list[str]:
    return [part.name for part in crossed.parts if part.column != treatment]


def _once(controls: Iterable[Control]) -> tuple[Control, ...]:
    """Each name once; a number asked for as a factor and as itself is a factor."""
    found: dict[str, Control] = {}
    for control in controls:
        if control.name not in found or control.function == "factor":
            found[control.name] = control
    return tuple(found.values())


def _made(frame: pd.DataFrame, control: Control) -> list[Variable]:
    values = frame[control.column]
    missing = int(values.isna().sum())
    if missing:
        raise MissingValueError(
            f"control `{control.column}`: expected a value in every row, found {missing} of {len(values)} rows without "
            "one. Fill them, add a 0/1 column that marks them, or leave these rows out."
        )
    text = not (pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values))
    if control.function in ("", "factor") and (text or control.function == "factor"):
        codes, levels = pd.factorize(values, sort=True)
        return [Variable(Factor(control.name, codes.astype(np.intp), tuple(level_text(x) for x in levels)))]
    if text:
        raise SchemaError(f"control `{control.name}`: expected numbers in column `{control.column}`, found text.")
    numbers = values.to_numpy(dtype=np.float64)
    infinite = len(numbers) - int(np.isfinite(numbers).sum())
    if infinite:
        raise MissingValueError(
            f"control `{control.column}`: expected finite numbers, found infinite ones in {infinite} rows."
        )
    if control.function in ("bs", "ns"):
        basis = spline_basis(numbers, control.number, natural=control.function == "ns")
        return [Variable(Column(f"{control.name}[{j + 1}]", basis[:, j].copy())) for j in range(basis.shape[1])]
    return [_number(control.name, _transformed(numbers, control))]


def _transformed(numbers: NDArray[np.float64], control: Control) -> NDArray[np.float64]:
    if control.function == "power":
        return numbers**control.number
    bounds = {"log": 0.0, "log1p": -1.0, "sqrt": 0.0}
    if control.function not in bounds:
        return numbers
    low = bounds[control.function]
    outside = int(np.count_nonzero(numbers < low if control.function == "sqrt" else numbers <= low))
    if outside:
        raise MissingValueError(
            f"control `{control.name}`: expected values above {low:g} in column `{control.column}`, found {outside} "
            "rows that are not. Use log1p, or a 0/1 column beside it for zeros."
        )
    functions: dict[str, Any] = {"log": np.log, "log1p": np.log1p, "sqrt": np.sqrt}
    return np.asarray(functions[control.function](numbers), dtype=np.float64)


def _number(name: str, numbers: NDArray[np.float64]) -> Variable:
    """A column of numbers; of 0 and 1 only, a factor whose coefficient is named after the column alone."""
    if np.isin(numbers, (0.0, 1.0)).all():
        return Variable(Factor(name, numbers.astype(np.intp), ("0", "1")), plain=True)
    return Variable(Column(name, numbers))


def _multiplied(frame: pd.DataFrame, control: Control, mains: set[str]) -> list[Variable]:
    """Columns of a product: every contrast of the one times every contrast of the other."""
    parts = [_made(frame, part) for part in control.parts]
    factors = [v.values.name for part in parts for v in part if isinstance(v.values, Factor) and not v.plain]
    lacking = sorted(set(factors) - mains)
    if lacking:
        raise SettingsError(f"control `{control.name}`: name {lacking} as controls of their own beside the product.")
    found = []
    for combination in product(*(_contrasts(part) for part in parts)):
        values = np.prod([own for _, own in combination], axis=0)
        if values.any():
            name = ":".join(name for name, _ in combination)
            found.append(replace(_number(name, values), parts=tuple(own for _, own in combination)))
    return found


def _contrasts(variables: Sequence[Variable]) -> list[tuple[str, NDArray[np.float64]]]:
    found = []
    for variable in variables:
        values = variable.values
        if isinstance(values, Column):
            found.append((values.name, values.values))
            continue
        for code, level in enumerate(values.levels[1:], start=1):
            name = values.name if variable.plain else f"{values.name}[{level}]"
            found.append((name, (values.codes == code).astype(np.float64)))
    return found


def level_text(level: object) -> str:
    """Name of a level in tables; whole numbers without a decimal point."""
    if isinstance(level, float | np.floating) and float(level).is_integer():
        return str(int(level))
    return str(level)
