"""From a risk set to arrays: outcome, treatment, weights, controls as factors and columns, clusters, groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.definitions import COUNTRY_GROUPS, SIZE_LEVELS
from missie_impact.effects.fitting.compared import (
    MATCHED_SET,
    MISSION_OF_SET,
    Compared,
    WeightScores,
    add_set_columns,
    compared_of,
    with_sets,
)
from missie_impact.effects.fitting.products import product_controls, treatment_products
from missie_impact.errors import MissingValueError, SchemaError, SettingsError
from missie_impact.numerics.covariance import Clusters, Correction, clusters_of
from missie_impact.numerics.design import Column, Factor
from missie_impact.risksets.controls import Variable, level_text, resolve_controls, variables_of
from missie_impact.risksets.riskset import RiskSet

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

ORIGIN_SEEN = "origin_seen"
BEFORE_THE_DATA = "began before the data"
ClusterName: TypeAlias = str | tuple[str, ...]
ClusterChoice: TypeAlias = ClusterName | Sequence[ClusterName] | None


class Designed(Protocol):
    """A risk set with a comparison made on it: matched or weighted rows."""

    @property
    def risk(self) -> RiskSet:
        """Rows it was made on."""

    @property
    def weight(self) -> NDArray[Any]:
        """(n,) weight of each row of ``risk.collect()``; zero leaves the row out."""


Source: TypeAlias = RiskSet | Designed


@dataclass(frozen=True, slots=True)
class Clustering:
    """One choice of clusters: its name, an array of clusters per dimension (none: no clusters), small-sample factor."""

    name: str
    dimensions: tuple[Clusters, ...]
    correction: Correction = "g_over_gm1"


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one subgroup and its name for tables."""

    name: str
    rows: Mask


@dataclass(frozen=True, slots=True)
class Rows:
    """Arrays of a risk set of n rows.

    Attributes
    ----------
    y : (n,) 0 or 1
    treated : (n,) whether treated
    frequency, probability : (n,) weights, or None for one
    treatment : name of the treatment
    variables : controls, as factors or columns
    plain : factors that are 0/1 columns in truth, so that their coefficient is named after the column alone
    left_out : controls that are not in the table
    firm : (n,) number of the firm, or None
    clusterings : one per error asked for
    groups : subgroups asked for
    first : (n,) rows at a unit's first year of follow-up; None where rows are units
    unit : the unit of each row, with it
    products : (n,) per product of the treatment with a control, what the treatment is multiplied with
    crossed : per product of controls, its parts, (n,) each
    compared : the design the rows come with, or None
    weighting : how their weights were estimated, for errors that include it; None where weights are known or matched
    """

    y: Floats
    treated: Mask
    frequency: Floats | None
    probability: Floats | None
    treatment: str
    variables: tuple[Factor | Column, ...]
    plain: frozenset[str]
    left_out: tuple[str, ...]
    firm: NDArray[np.intp] | None
    clusterings: tuple[Clustering, ...]
    groups: tuple[Group, ...]
    first: Mask | None = None
    unit: Clusters | None = None
    products: Mapping[str, Floats] = field(default_factory=dict)
    crossed: Mapping[str, tuple[Floats, ...]] = field(default_factory=dict)
    compared: Compared | None = None
    weighting: WeightScores | None = None

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.y)


@dataclass(frozen=True, slots=True)
class Request:
    """What an estimator wants from a risk set.

    Attributes
    ----------
    controls : columns, ``C(name)`` for a number taken as a factor; None for no control
    always : factors of the design (trial year, follow-up), by column
    classes : lower bounds of the classes of the duration column, or None
    by : columns that make subgroups
    cluster : main error first, then others
    follow_up : column that numbers the years of follow-up, or None where rows are units
    correction : small-sample factor of clustered errors
    products : of controls, joined to the default list
    """

    controls: Sequence[str] | None
    always: tuple[str, ...] = ()
    classes: tuple[str, tuple[int, ...]] | None = None
    by: str | Sequence[str] | None = None
    cluster: tuple[ClusterChoice, ...] = (None,)
    follow_up: str | None = None
    correction: Correction = "g_over_gm1"
    products: tuple[str, ...] = ()


def parts(source: Source) -> tuple[RiskSet, Floats | None]:
    """Return the risk set and, of a design, the weight of each row."""
    if isinstance(source, RiskSet):
        return source, None
    if not hasattr(source, "risk"):
        raise SettingsError(
            f"expected a risk set or a design, found {type(source).__name__}. "
            "RiskSet.from_frame(table, outcome=..., treatment=...) makes one of your own table."
        )
    return source.risk, np.asarray(source.weight, dtype=np.float64)


def read_rows(source: Source, request: Request) -> Rows:
    """Collect the columns a model needs and turn them into arrays.

    Raises
    ------
    SchemaError
        If a control, cluster or subgroup is not in the table. Controls of the default list are left out by name.
    MissingValueError
        If outcome, treatment, a weight or a control is missing in some rows.
    """
    risk, weight = parts(source)
    roles = risk.roles
    controls = resolve_controls(risk, request.controls, request.always, request.products)
    by = [_by_column(name, risk) for name in _listed(request.by)]
    clusters = _cluster_choices(source, request)
    multiplied = product_controls(risk, controls.with_treatment, controls.used)
    needed = [*controls.columns, *(column for control in multiplied for column in control.columns)]
    frame = _collect(risk, request, needed, [c for c, _ in by], [d for _, d in clusters])
    variables = variables_of(frame, controls.used)
    if request.classes:
        unseen = None if ORIGIN_SEEN not in frame else ~frame[ORIGIN_SEEN].to_numpy(dtype=bool)
        variables.append(Variable(duration_factor(frame[request.classes[0]], *request.classes, unseen)))
    treated = _zero_one(frame, roles.treatment, "treatment") == 1.0
    products = treatment_products(frame, multiplied, roles.treatment, treated)
    variables += products.variables
    sampling = _numbers(frame, roles.probability)
    compared = None if weight is None else compared_of(source, len(frame), sampling)
    if compared is not None and compared.sets is not None:
        add_set_columns(frame, compared.sets, treated, roles.mission)
    probability = sampling if weight is None else weight if sampling is None else weight * sampling
    firm = None if roles.firm is None else _codes(frame[roles.firm])
    return Rows(
        y=_zero_one(frame, roles.outcome, "outcome"),
        treated=treated,
        frequency=_numbers(frame, roles.frequency),
        probability=probability,
        treatment=roles.treatment,
        variables=tuple(variable.values for variable in variables),
        plain=frozenset({roles.treatment, *(v.values.name for v in variables if v.plain)}),
        left_out=controls.left_out,
        firm=firm,
        clusterings=tuple(
            Clustering(name, tuple(_clusters(frame, columns, firm) for columns in dimensions), request.correction)
            for name, dimensions in clusters
        ),
        groups=tuple(group for column, scheme in by for group in _groups(frame, column, scheme, roles.treatment)),
        first=None if request.follow_up is None else _first(frame[request.follow_up]),
        unit=None if request.follow_up is None else _units(frame, risk),
        products=products.factors or {},
        crossed={v.values.name: v.parts for v in variables if v.parts},
        compared=compared,
        weighting=None if compared is None else compared.weighting,
    )


def _collect(
    risk: RiskSet, request: Request, controls: list[str], by: list[str], clusters: list[list[tuple[str, ...]]]
) -> pd.DataFrame:
    roles = risk.roles
    wanted = [roles.outcome, roles.treatment, roles.frequency, roles.probability, roles.firm, request.follow_up]
    wanted += [*controls, *by, *(column for dims in clusters for dim in dims for column in dim)]
    wanted += [request.classes[0] if request.classes else None]
    wanted += [ORIGIN_SEEN] if request.classes and risk.design == "spells" and ORIGIN_SEEN in risk.columns else []
    wanted += [roles.market, roles.year] if request.follow_up else []
    made = {None, MATCHED_SET, MISSION_OF_SET}
    wanted += [roles.mission] if any((MISSION_OF_SET,) in dims for dims in clusters) else []
    needed = list(dict.fromkeys(column for column in wanted if column is not None and column not in made))
    absent = [column for column in needed if column not in risk.columns]
    if absent:
        raise SchemaError(f"columns {absent} are not in the risk set; it holds {risk.columns}.")
    return risk.collect(needed)


def _by_column(name: str, risk: RiskSet) -> tuple[str, str]:
    """Column that makes the groups, and the size scheme that is written behind their names."""
    column, _, scheme = name.partition(":")
    if column != "size" or risk.definitions is None:
        return name, ""
    used = {
        "transition": risk.definitions.size_transition,
        "exit": risk.definitions.size_exit,
        "entry": risk.definitions.size_entry,
    }.get(risk.question, "")
    if scheme in ("", used):
        return "size", used
    other = f"size_{scheme}"
    if scheme not in SIZE_LEVELS or other not in risk.columns:
        raise SettingsError(
            f"by={name!r}: the risk set holds the size scheme {used!r} only. Build the panel with "
            f"definitions.replace(size_{risk.question}=...) for another of {sorted(SIZE_LEVELS)}."
        )
    return other, scheme


def _groups(frame: pd.DataFrame, column: str, scheme: str, treatment: str) -> list[Group]:
    """Rows of each level. A column without values for the untreated describes the treatment: all of them compare."""
    codes, levels = pd.factorize(frame[column], sort=True)
    untreated = frame[treatment].to_numpy(dtype=np.float64) == 0.0
    shared = untreated if (codes[untreated] < 0).all() else np.zeros(len(frame), dtype=bool)
    names = [level_text(level) for level in levels]
    suffix = f" ({scheme})" if scheme else ""
    shown = "size" if scheme else column
    order = sorted(range(len(names)), key=lambda i: (_rank(names[i], scheme), i))
    return [Group(f"{shown}={names[i]}{suffix}", (codes == i) | shared) for i in order]


def _rank(level: str, scheme: str) -> int:
    known = [*SIZE_LEVELS.get(scheme, ()), *COUNTRY_GROUPS]
    return len(known) + 1 if level == "unknown" else known.index(level) if level in known else len(known)


def _cluster_choices(source: Source, request: Request) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Name and columns of each error asked for; matched sets join them."""
    risk, weight = parts(source)
    sets = None if weight is None else getattr(source, "sets", None)
    found = [cluster_dimensions(choice, risk) for choice in request.cluster]
    if weight is not None:  # model errors do not hold for weighted rows
        found = [(name if columns else "hc0", columns) for name, columns in found]
    if sets is not None:
        return [with_sets(name, columns, risk.roles.mission) for name, columns in found]
    if any((MATCHED_SET,) in columns and MATCHED_SET not in risk.columns for _, columns in found):
        raise SettingsError(f"cluster={MATCHED_SET!r} needs a design of matched sets without replacement.")
    return found


def cluster_dimensions(choice: ClusterChoice, risk: RiskSet) -> tuple[str, list[tuple[str, ...]]]:
    """Return the name of an error and the columns of each of its dimensions."""
    if choice is None:
        return ("model" if risk.roles.probability is None else "hc0"), []
    if not isinstance(choice, (str, tuple, list)):
        raise SettingsError(
            f"cluster: expected a role, a column, a list of two, or None, found {type(choice).__name__}."
        )
    listed: list[ClusterName] = [choice] if isinstance(choice, str) else list(choice)
    if not 1 <= len(listed) <= 2:
        raise SettingsError(f"cluster: expected one or two dimensions, found {len(listed)}.")
    named = [_dimension(item, risk) for item in listed]
    return " + ".join(name for name, _ in named), [columns for _, columns in named]


def _dimension(item: ClusterName, risk: RiskSet) -> tuple[str, tuple[str, ...]]:
    if not isinstance(item, str):
        columns = tuple(_dimension(part, risk)[1][0] for part in item)
        return " x ".join(item), columns
    if item not in ("firm", "market", "mission"):
        return item, (item,)
    market, year = risk.roles.market, risk.roles.year
    if item == "mission" and risk.design != "frame" and market is not None and year is not None:
        return "market x mission year", (market, year)
    column = getattr(risk.roles, item) or (item if item in risk.columns else None)
    if column is None:
        raise SettingsError(
            f"cluster={item!r}: the risk set has no {item}. Name the column with {item}= when you make it, choose "
            "another column, or say cluster=None."
        )
    return item, (column,)


def _clusters(frame: pd.DataFrame, columns: tuple[str, ...], firm: NDArray[np.intp] | None) -> Clusters:
    """Clusters of a column, or of combinations of columns; rows without one are clusters by firm, or on their own."""
    codes = [_codes(frame[column]) for column in columns]
    alone = np.any([c < 0 for c in codes], axis=0)
    if not alone.any():
        return clusters_of(*codes)
    own = np.arange(len(frame))
    if firm is not None:  # a row without a firm either is a cluster of its own, never one with another row
        own = np.where(firm < 0, int(firm.max(initial=-1)) + 1 + own, firm)
    joint = clusters_of(*codes).codes
    return clusters_of(np.where(alone, int(joint.max()) + 1 + own, joint))


def duration_factor(values: pd.Series[Any], name: str, bounds: tuple[int, ...], unseen: Mask | None) -> Factor:
    """Make classes of a duration from their lower bounds: (1, 2, 6) makes "1", "2-5", "6+".

    Spells whose start was not seen have no known duration: a class of their own.
    """
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    if unseen is not None:
        numbers = np.where(unseen, float(bounds[0]), numbers)
    bad = int(np.count_nonzero(~(numbers >= bounds[0])))
    if bad:
        raise MissingValueError(
            f"duration `{name}`: expected numbers of at least {bounds[0]}, found {bad} rows below it or without one."
        )
    codes = np.searchsorted(bounds, numbers, side="right") - 1
    ends = [following - 1 for following in bounds[1:]]
    labels = [str(low) if low == high else f"{low}-{high}" for low, high in zip(bounds, ends, strict=False)]
    levels = (*labels, f"{bounds[-1]}+")
    if unseen is None or not unseen.any():
        return Factor(name, codes.astype(np.intp), levels)
    return Factor(name, np.where(unseen, len(levels), codes).astype(np.intp), (*levels, BEFORE_THE_DATA))


def _zero_one(frame: pd.DataFrame, column: str, role: str) -> Floats:
    values = _numbers(frame, column)
    wrong = 0 if values is None else int(np.count_nonzero((values != 0.0) & (values != 1.0)))
    if values is None or wrong:
        raise SchemaError(f"column `{column}` ({role}): expected 0 or 1, found other values in {wrong} rows.")
    return values


def _numbers(frame: pd.DataFrame, column: str | None) -> Floats | None:
    if column is None:
        return None
    missing = int(frame[column].isna().sum())
    if missing:
        raise MissingValueError(f"column `{column}`: expected a value in every row, found {missing} without one.")
    return frame[column].to_numpy(dtype=np.float64)


def _first(values: pd.Series[Any]) -> Mask:
    first: Mask = (values == values.min()).to_numpy(dtype=bool)
    return first


def _units(frame: pd.DataFrame, risk: RiskSet) -> Clusters:
    keys = [c for c in (risk.roles.firm, risk.roles.market, risk.roles.year) if c is not None]
    return clusters_of(*(_codes(frame[column]) for column in keys))


def _codes(values: pd.Series[Any]) -> NDArray[np.intp]:
    return pd.factorize(values)[0].astype(np.intp)


def _listed(by: str | Sequence[str] | None) -> list[str]:
    return [] if by is None else [by] if isinstance(by, str) else list(by)
