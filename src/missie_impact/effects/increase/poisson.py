"""Ratios of means by Poisson pseudo-maximum likelihood with fixed effects, on any table with named columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.effects.fitting.rows import Source, parts
from missie_impact.effects.result import Counts, Effect, GroupResult, TermName
from missie_impact.errors import CollinearityError, SchemaError, SettingsError
from missie_impact.flow import Flow, FlowStep
from missie_impact.numerics.cells import Column
from missie_impact.numerics.covariance import Clusters, clusters_of, covariance
from missie_impact.numerics.poisson import PoissonFit, fit_poisson, poisson_scores
from missie_impact.numerics.poisson_bias import three_way_bias, three_way_covariance
from missie_impact.risksets.controls import Control, check_listed, parse_control, variables_of
from missie_impact.risksets.riskset import RiskSet, check_names

Floats = NDArray[np.float64]
Effects: TypeAlias = Sequence[str | tuple[str, ...]]
PoissonCorrection = Literal["g_over_gm1", "cr0", "cr1"]
MEAN_RATIO = "mean_ratio"
CONSTANT = "(Intercept)"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoissonOptions:
    """Settings that are rarely changed.

    Attributes
    ----------
    conf_level : of intervals
    correction : "g_over_gm1" is G / (G - 1); "cr0" none; "cr1" the first times (N - 1) / (N - K), K counting columns
        and effects that are not nested in the cluster, which is the default of R's fixest for one dimension (for two,
        each has its own G here, as in R's sandwich; fixest takes the smaller G for all)
    three_way : take the incidental bias of sender x year, receiver x year and pair effects out of the coefficients,
        and out of errors clustered by pair: the columns (sender, receiver, year); such errors take no
        ``correction``

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0, 0, 1, 1], "exports": [10, 30, 50, 70]})
    >>> found = mi.poisson_effect(table, "exports", "went", cluster=None, options=mi.PoissonOptions(conf_level=0.9))
    >>> found.conf_level
    0.9
    """

    conf_level: float = 0.95
    correction: PoissonCorrection = "g_over_gm1"
    three_way: tuple[str, str, str] | None = None

    def __post_init__(self) -> None:
        if self.correction not in get_args(PoissonCorrection):
            raise SettingsError(
                f"correction: expected one of {list(get_args(PoissonCorrection))}, found {self.correction!r}."
            )
        if not 0.5 < self.conf_level < 1:
            raise SettingsError(f"conf_level: expected a number between 0.5 and 1, found {self.conf_level}.")


DEFAULTS = PoissonOptions()


def poisson_effect(
    source: Source | Any,
    outcome: str | None = None,
    treatment: str | Sequence[str] | None = None,
    *,
    effects: Effects = (),
    controls: Sequence[str] | None = None,
    cluster: str | tuple[str, ...] | Sequence[str | tuple[str, ...]] | None,
    weights: Mapping[Literal["frequency", "probability"], str] | None = None,
    options: PoissonOptions = DEFAULTS,
) -> Effect:
    """Estimate by which factor treatments change the mean of an outcome of at least zero.

    Parameters
    ----------
    source : a risk set, a design, or any pandas, polars or Arrow frame
    outcome : column of at least zero; that of the risk set if left out
    treatment : one or more terms in the language of controls; numbers need not be 0 or 1
    effects : fixed effects taken out: columns, or combinations as ("exporter", "year") or "exporter^year"
    controls : further terms; text and ``C(x)`` are factors
    cluster : column, tuple of columns (their combinations), list of two for two-way errors; None: robust, rows alone
    weights : columns of frequency and probability weights

    Returns
    -------
    Effect
        Scale ``mean_ratio`` of the first treatment, ``mean_ratio:name`` of the others: exp(coefficient). All terms
        in ``coefficients``. ``n_events``: rows with an outcome above zero. Notes and flow count rows left out because
        a level of an effect is all zero, and rows that covariates and effects separate.

    Raises
    ------
    SchemaError, MissingValueError
        If a column is not there, or has rows without a value.
    CollinearityError
        If the effects explain the treatment.

    References
    ----------
    Santos Silva and Tenreyro (2006), REStat 88, 641-658; Correia, Guimaraes and Zylkin (2020), Stata Journal 20,
    95-115; Weidner and Zylkin (2021), JIE 132, 103513. Reference implementation: R's ``fixest::fepois``.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0, 0, 1, 1], "exports": [10, 30, 50, 70]})
    >>> found = mi.poisson_effect(table, "exports", "went", cluster=None)
    >>> round(found.effect("mean_ratio").estimate, 2)
    3.0
    """
    check_listed("controls", controls)
    check_listed("effects", effects)
    risk, weight = parts(source) if isinstance(source, RiskSet) or hasattr(source, "risk") else (None, None)
    outcome, treated, named = _roles(risk, outcome, treatment, weights)
    table = Table(source if risk is None else risk)
    sets = [_combination(item) for item in effects]
    dims = cluster_columns(risk, cluster)
    terms = [table.term(name) for name in (*treated, *(controls or ()))]
    needed = [outcome, *(c for t in terms for c in t.columns), *(c for e in sets for c in e)]
    needed += [c for d in dims for c in d] + list(named.values()) + list(options.three_way or ())
    frame = table.collect(needed)
    model = _model(frame, outcome, terms, sets, named, weight)
    if not any(term < len(treated) for term in model.term_of):
        raise SettingsError(f"treatment: expected at least one term that varies, found {list(treated)}.")
    fit = fit_poisson(model.y, model.x, model.effects, frequency=model.frequency, probability=model.probability)
    lost = [model.names[j].label for j in fit.aliased if model.term_of[j] < len(treated)]
    if lost:
        raise CollinearityError(f"treatment {lost}: the fixed effects and the terms before it leave nothing of it.")
    result = _result(frame, model, fit, treated, dims, options)
    vcov = next(iter(result.covariances))
    flow = Flow() if risk is None else risk.flow
    return Effect(
        outcome=outcome, term=treated[0], design="Poisson pseudo-maximum likelihood" + _effects_text(sets),
        model="Poisson, log link", population="all", groups=(result,), vcov=vcov, vcovs=(vcov,),
        conf_level=options.conf_level, flow=flow.then(*_steps(frame, fit)),
        notes=result.notes, simulated=False if risk is None else risk.simulated,
    )  # fmt: skip


class Table:
    """Columns of a risk set or a frame, by name."""

    def __init__(self, source: RiskSet | Any) -> None:
        self.risk = source if isinstance(source, RiskSet) else None
        if self.risk is None:
            check_names(source)
        native: Any = None if self.risk is not None else nw.from_native(source)
        self.native = native
        self.columns: list[str] = self.risk.columns if self.risk is not None else list(native.collect_schema().names())

    def term(self, name: str) -> Control:
        """Read one term of the language of controls."""
        found = parse_control(name, self.columns)
        if len(found) != 1:
            raise SettingsError(f"term {name!r}: expected one term, found a product with its parts; name them apart.")
        return found[0]

    def collect(self, columns: Sequence[str]) -> pd.DataFrame:
        """Bring the columns out as pandas.

        Raises
        ------
        SchemaError
            If one is not there, or the table has no row.
        """
        wanted = list(dict.fromkeys(columns))
        absent = [c for c in wanted if c not in self.columns]
        if absent:
            raise SchemaError(f"columns {absent} are not in the table; it holds {self.columns}.")
        if self.risk is not None:
            return self.risk.collect(wanted)
        chosen = self.native.select(*wanted)
        chosen = chosen.collect() if isinstance(chosen, nw.LazyFrame) else chosen
        frame: pd.DataFrame = chosen.to_pandas().reset_index(drop=True)
        if frame.empty:
            raise SchemaError("the table has no row; expected one row per unit and period.")
        return frame


def cluster_columns(
    risk: RiskSet | None, cluster: str | tuple[str, ...] | Sequence[str | tuple[str, ...]] | None
) -> list[tuple[str, ...]]:
    """Columns of each dimension of clusters; roles of a risk set are turned into its columns."""
    if cluster is None:
        return []
    listed: list[str | tuple[str, ...]] = [cluster] if isinstance(cluster, str | tuple) else list(cluster)
    if not 1 <= len(listed) <= 2:
        raise SettingsError(f"cluster: expected one or two dimensions, found {len(listed)}.")
    roles = {} if risk is None else {r: c for r, c in risk.roles.named().items() if r in ("firm", "market", "mission")}
    dims = [(item,) if isinstance(item, str) else tuple(item) for item in listed]
    return [tuple(roles.get(c, c) for c in dim) for dim in dims]


def clusters_from(frame: pd.DataFrame, columns: Sequence[str]) -> Clusters:
    """Clusters of the combinations of some columns; rows without a value are an error."""
    return clusters_of(*(codes_of(frame, column) for column in columns))


def codes_of(frame: pd.DataFrame, column: str) -> NDArray[np.intp]:
    """Number the values of a column."""
    codes = pd.factorize(frame[column], sort=True)[0].astype(np.intp)
    missing = int((codes < 0).sum())
    if missing:
        raise SchemaError(
            f"column `{column}`: expected a value in every row, found {missing} rows without one. "
            "Leave these rows out before the call."
        )
    return codes


def numbers_of(frame: pd.DataFrame, column: str, low: float = -math.inf) -> Floats:
    """Take a column as finite numbers of at least ``low``."""
    values = frame[column]
    if not (pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)):
        raise SchemaError(f"column `{column}`: expected numbers, found {values.dtype}.")
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = int(np.count_nonzero(~(np.isfinite(numbers) & (numbers >= low))))
    if wrong:
        least = "" if low == -math.inf else f" of at least {low:g}"
        raise SchemaError(
            f"column `{column}`: expected a finite number{least} in every row, found {wrong} of {len(numbers)} rows "
            "without one. Leave these rows out, or mend them, before the call."
        )
    return numbers


@dataclass(frozen=True, slots=True)
class _Model:
    y: Floats
    x: Floats
    names: tuple[TermName, ...]
    term_of: tuple[int, ...]
    effects: tuple[NDArray[np.intp], ...]
    frequency: Floats | None
    probability: Floats | None


def _roles(
    risk: RiskSet | None, outcome: str | None, treatment: str | Sequence[str] | None, weights: Mapping[Any, str] | None
) -> tuple[str, list[str], dict[str, str]]:
    if risk is not None:
        outcome, treatment = outcome or risk.roles.outcome, treatment or risk.roles.treatment
        filled = {k: c for k, c in risk.roles.named().items() if k in ("frequency", "probability")}
        weights = {**filled, **(weights or {})}
    if outcome is None or treatment is None:
        raise SettingsError("a frame needs outcome= and treatment=: the columns that hold them.")
    wrong = sorted(set(weights or ()) - {"frequency", "probability"})
    if wrong:
        raise SettingsError(f"weights: expected 'frequency' or 'probability', found {wrong}.")
    return outcome, [treatment] if isinstance(treatment, str) else list(treatment), dict(weights or {})


def _combination(item: str | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part.strip() for part in item.split("^")) if isinstance(item, str) else tuple(item)


def _model(
    frame: pd.DataFrame,
    outcome: str,
    terms: Sequence[Control],
    sets: Sequence[tuple[str, ...]],
    named: Mapping[str, str],
    weight: Floats | None,
) -> _Model:
    columns: list[Floats] = [] if sets else [np.ones(len(frame))]
    names = [] if sets else [TermName(CONSTANT)]
    term_of = [] if sets else [len(terms)]
    for position, term in enumerate(terms):
        for variable in variables_of(frame, [term]):
            values = variable.values
            if isinstance(values, Column):
                columns.append(values.values)
                names.append(TermName(values.name))
                term_of.append(position)
                continue
            for code, level in enumerate(values.levels[1:], start=1):
                columns.append((values.codes == code).astype(np.float64))
                names.append(TermName(values.name, "" if variable.plain else level))
                term_of.append(position)
    probability = numbers_of(frame, named["probability"], 0.0) if "probability" in named else None
    if weight is not None:
        probability = weight if probability is None else probability * weight
    return _Model(
        numbers_of(frame, outcome, 0.0),
        np.column_stack(columns) if columns else np.zeros((len(frame), 0)),
        tuple(names),
        tuple(term_of),
        tuple(clusters_from(frame, item).codes for item in sets),
        numbers_of(frame, named["frequency"], 0.0) if "frequency" in named else None,
        probability,
    )


def _result(
    frame: pd.DataFrame,
    model: _Model,
    fit: PoissonFit,
    treated: Sequence[str],
    dims: Sequence[tuple[str, ...]],
    options: PoissonOptions,
) -> GroupResult:
    kept = np.flatnonzero(fit.rows.kept)
    clusters = [clusters_of(clusters_from(frame, d).codes[kept]) for d in dims]
    cov = covariance(poisson_scores(fit), clusters, correction="cr0" if options.correction == "cr0" else "g_over_gm1")
    matrix = cov.matrix * (_degrees_factor(fit, clusters) if options.correction == "cr1" and clusters else 1.0)
    coef, notes = fit.coef, [*cov.notes, *_left_notes(fit)]
    if options.three_way is not None:
        codes = [codes_of(frame, c)[kept] for c in options.three_way]
        bias = three_way_bias(fit, codes[0], codes[1], codes[2])
        coef = coef - bias
        notes.append("coefficients corrected for the incidental bias of three-way effects (Weidner and Zylkin)")
        if len(clusters) == 1 and _hold_pairs(codes, clusters[0]):
            matrix = three_way_covariance(fit, codes[0], codes[1], codes[2], clusters[0])
            notes.append("errors corrected for what three-way effects take out of the scores")
        else:
            notes.append("errors not corrected for three-way effects: their clusters do not hold whole pairs")
    shown = [j for j, c in enumerate(fit.columns) if model.term_of[c] < len(treated)]
    scales = [
        MEAN_RATIO if i == 0 else f"{MEAN_RATIO}:{model.names[fit.columns[j]].label}" for i, j in enumerate(shown)
    ]
    vcov = " + ".join(" x ".join(d) for d in dims) or "hc0"
    total = np.full((len(model.names), len(model.names)), np.nan)
    total[np.ix_(fit.columns, fit.columns)] = matrix
    wide = np.full(len(model.names), np.nan)
    wide[list(fit.columns)] = coef
    weight = np.ones(len(kept)) if fit.frequency is None else fit.frequency
    first = model.x[kept][:, fit.columns[shown[0]]]
    return GroupResult(
        group="all",
        counts=Counts(
            round(fit.n_rows), None, round(float(weight[first != 0].sum())),
            round(float(weight[fit.y > 0].sum())),
        ),
        scales=tuple(scales), values=np.exp(coef[shown]), covariances={vcov: matrix[np.ix_(shown, shown)]},
        terms=model.names, coef=wide,
        term_reasons=tuple("collinear with others" if j in fit.aliased else "" for j in range(len(model.names))),
        coef_covariances={vcov: total}, degrees={vcov: cov.df if len(dims) == 2 else math.inf},
        notes=tuple(notes), log_likelihood=fit.log_likelihood,
    )  # fmt: skip


def _hold_pairs(codes: Sequence[NDArray[np.intp]], clusters: Clusters) -> bool:
    """Whether every sender and receiver lie in one cluster with all their years."""
    pair = clusters_of(codes[0], codes[1])
    return len(np.unique(pair.codes * clusters.count + clusters.codes)) == pair.count


def _degrees_factor(fit: PoissonFit, clusters: Sequence[Clusters]) -> float:
    """(N - 1) / (N - K), effects nested in a cluster not counted."""
    k = len(fit.coef) + (1 if fit.effects else 0)
    for codes in fit.effects:
        size = int(codes.max()) + 1
        nested = any(len(np.unique(codes * c.count + c.codes)) == size for c in clusters)
        k += 0 if nested else size - 1
    return (fit.n_rows - 1) / (fit.n_rows - k)


def _left_notes(fit: PoissonFit) -> list[str]:
    notes = []
    if fit.rows.all_zero:
        notes.append(f"{fit.rows.all_zero} rows left out: a level of an effect is zero throughout")
    if fit.rows.separated:
        notes.append(f"{fit.rows.separated} rows left out: covariates and effects together predict zero (separated)")
    return notes


def _steps(frame: pd.DataFrame, fit: PoissonFit) -> list[FlowStep]:
    n = len(frame)
    found = fit.rows
    return [
        FlowStep("rows given to the model", n),
        FlowStep("without all-zero levels", n - found.all_zero, reason="a level of an effect is zero throughout"),
        FlowStep("in the likelihood", int(found.kept.sum()), reason="separated, or weight zero"),
    ]


def _effects_text(sets: Sequence[tuple[str, ...]]) -> str:
    return f" with effects of {', '.join(' x '.join(item) for item in sets)}" if sets else ""
