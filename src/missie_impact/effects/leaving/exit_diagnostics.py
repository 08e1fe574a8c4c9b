"""Does an exit model fit: proportionality, link, residuals by group, how much single firms decide. Aggregates only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import scipy  # scipy.stats loads slowly: at its first use
from numpy.typing import NDArray
from scipy import special

from missie_impact.definitions import DEFAULT_CONTROLS
from missie_impact.display import html_table
from missie_impact.effects.fitting.estimate import DEFAULT_OPTIONS, FitOptions
from missie_impact.effects.fitting.groups import coefficient_covariance
from missie_impact.effects.fitting.model import fit_group
from missie_impact.effects.fitting.rows import ClusterChoice, Clustering, Request, Rows, Source, parts
from missie_impact.effects.leaving.exit_baseline import FOLLOW_UP, exit_request, exit_rows
from missie_impact.effects.leaving.exit_cox import CoxFitted, CoxRows, cox_clustered, fit_cox_rows, read_cox_rows
from missie_impact.effects.leaving.exit_options import ExitModel, ExitOptions, check_model, exit_options, link_of
from missie_impact.effects.leaving.exit_years import with_years
from missie_impact.errors import SettingsError
from missie_impact.numerics.binomial import fit_binomial
from missie_impact.numerics.contrasts import sum_by
from missie_impact.numerics.covariance import Clusters, clusters_of, covariance, fit_scores, p_value
from missie_impact.numerics.cox import (
    CoxData,
    Ties,
    cox_covariance,
    cox_data,
    cox_score_residuals,
    fit_cox,
    kaplan_meier_clock,
    martingale_residuals,
    proportionality,
)
from missie_impact.numerics.design import Column, build_design
from missie_impact.numerics.links import get_link
from missie_impact.risksets.riskset import RiskSet

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]
Clock = Literal["km", "identity", "log", "rank"]

FEWEST_FIRMS = 10
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
CELL_COLUMNS = ("by", "level", "n_rows", "n_firms", "observed", "expected", "ratio", "z", "reason")


@dataclass(frozen=True, slots=True, eq=False)
class ExitDiagnostics:
    """What speaks for and against an exit model. No cell stands on fewer than ten firms.

    Made by :func:`exit_diagnostics`.

    Attributes
    ----------
    proportionality : tests that the effect is the same at all durations: term, df, statistic, p_value
    link : the linear predictor and its square in a model of their own; a square that matters says the link, or the form
        of the controls, is wrong
    residuals : observed and expected events by duration, year, size and what was asked for; z is the difference over
        the error of the summed residuals by cluster
    influence : how far the log ratio moves when a firm is left out, as means over the ten firms nearest each quantile
    notes : what a reader must know
    simulated : whether the registers are simulated ones
    """

    proportionality: pd.DataFrame
    link: pd.DataFrame
    residuals: pd.DataFrame
    influence: pd.DataFrame
    notes: tuple[str, ...] = ()
    simulated: bool = False

    def _repr_html_(self) -> str:
        parts = {
            "Is the effect the same at all durations?": self.proportionality,
            "Does the link fit?": self.link,
            "Observed and expected exits": self.residuals,
            "Influence of firms on the log ratio": self.influence,
        }
        shown = [html_table(table, title=title, simulated=self.simulated) for title, table in parts.items()]
        return "".join(shown) + "".join(f"<p>{note}</p>" for note in self.notes)


@dataclass(frozen=True, slots=True)
class _Case:
    """A fitted model as the diagnostics see it: positions of its rows, residuals, influences and their clusters."""

    rows: Rows
    used: Positions
    expected: Floats
    weight: Floats
    influence: Floats
    std_error: float


def exit_diagnostics(
    risk: Source,
    *,
    cluster: ClusterChoice,
    model: ExitModel = "cloglog",
    controls: Sequence[str] | None = DEFAULT_CONTROLS,
    by: Sequence[str] = (),
    clock: Clock = "km",
    options: FitOptions = DEFAULT_OPTIONS,
) -> ExitDiagnostics:
    """Check an exit model: proportionality, link, residuals by group, influence of firms.

    Parameters
    ----------
    risk, cluster, model, controls, options : as in the :func:`market_exit` that is checked; "conditional" is not here
    by : columns whose levels get residuals of their own, beside duration, year and size
    clock : function of time of the Cox test ("km": one less Kaplan-Meier, as R's ``cox.zph``)

    Returns
    -------
    ExitDiagnostics
        Hazard models: Wald tests of treatment x years (joint) and of its trend. Cox: score tests of every term.

    Raises
    ------
    SettingsError
        If the model has no such diagnostics, or the clock is unknown.

    References
    ----------
    Grambsch and Therneau (1994), Biometrika 81, 515-526; Pregibon (1980), Applied Statistics 29, 15-24.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0, 0, 1, 1] * 2, "year": [1] * 4 + [2] * 4, "left": [0, 1] * 4})
    >>> table = table.loc[table.index.repeat([80, 20, 90, 10, 80, 20, 80, 20])]
    >>> risk = mi.RiskSet.from_frame(table, outcome="left", treatment="went", duration="year")
    >>> mi.exit_diagnostics(risk, cluster=None, controls=None).proportionality["p_value"].round(2).tolist()
    [0.13, 0.13]
    """
    chosen = exit_options(options)
    check_model(model, chosen)
    if model == "conditional" or clock not in get_args(Clock):
        raise SettingsError(f"expected a hazard or Cox model and a clock among {list(get_args(Clock))}.")
    source, _ = parts(risk)
    request = Request(controls, cluster=(cluster,), correction=options.correction)
    if model == "cox":
        if chosen.ties == "exact":
            raise SettingsError("ties='exact' has no diagnostics: its rows have no residuals. Use ties='efron'.")
        read = read_cox_rows(risk, exit_request(source, request, chosen, clock=True), chosen)
        fitted = fit_cox_rows(read, np.ones(read.rows.n, dtype=bool), chosen)
        tests, link, case = _cox_tests(read, fitted, clock), _cox_link(read, fitted, chosen), _cox_case(read, fitted)
    else:
        rows, _ = exit_rows(risk, exit_request(source, request, chosen), chosen)
        tests, link, case = _hazard_parts(source, rows, model)
    if case.rows.n != source.n_rows:
        raise SettingsError("rows were dropped from the baseline; make a risk set without them for diagnostics.")
    influence, said = _influence(case)
    notes = (f"errors: {case.rows.clusterings[0].name}", "rows whose outcome is certain take no part", *said)
    return ExitDiagnostics(tests, link, _residuals(source, case, by), influence, notes, source.simulated)


def _hazard_parts(risk: RiskSet, rows: Rows, model: ExitModel) -> tuple[pd.DataFrame, pd.DataFrame, _Case]:
    link, clustering = link_of(model), rows.clusterings[0]
    fitted = fit_group(rows, np.ones(rows.n, dtype=bool), link)
    k, used = fitted.treatment, fitted.used
    eta = fitted.settled.design.predict(fitted.fit.coef)
    weight = fitted.weights(used)
    firm = _firms(rows, used)
    influence = fitted.scores.by_cluster(firm, fitted.fit.bread[:, [k]])[:, 0]
    error = math.sqrt(coefficient_covariance(fitted, clustering).matrix[k, k])
    case = _Case(rows, used, get_link(link).probability(eta), weight, influence, error)
    design = build_design([], [Column("hat", eta), Column("hat squared", eta**2)])
    frequency = None if rows.frequency is None else rows.frequency[used]
    probability = None if rows.probability is None else rows.probability[used]
    again = fit_binomial(rows.y[used], design, link=link, frequency=frequency, probability=probability)
    scores = fit_scores(again, rows.y[used], design, frequency=frequency, probability=probability)
    matrix = covariance(scores, _dimensions(clustering, used), correction=clustering.correction).matrix
    tested = _coefficients(["hat", "hat squared"], again.coef[1:], np.sqrt(np.diag(matrix))[1:])
    return _hazard_proportionality(risk, rows, model), tested, case


def _hazard_proportionality(risk: RiskSet, rows: Rows, model: ExitModel) -> pd.DataFrame:
    """Wald tests of treatment x years: all years apart, and a line."""
    column = FOLLOW_UP if risk.design == "trials" else risk.roles.duration
    if column is None:
        return _tests([("treatment x duration", 0, math.nan, math.nan, "no duration in the risk set")])
    numbers = risk.collect([column])[column].to_numpy(dtype=np.float64, na_value=np.nan)
    known = np.isfinite(numbers)
    whole = np.where(known, numbers, np.nanmin(numbers))
    lines = [(f"{rows.treatment} x {column}", "as a line", whole[:, None])]
    bounds = np.unique(np.quantile(whole[rows.treated], np.linspace(0, 1, 6)[:-1], method="lower"))
    if len(bounds) > 1:
        year = np.searchsorted(bounds, whole, side="right").clip(1) - 1
        lines.append((f"{rows.treatment} x {column}", f"{len(bounds)} classes", year[:, None]))
    made = []
    for name, how, values in lines:
        wide = with_years(rows, values[:, 0].astype(np.intp), list(range(len(bounds)))) if "classes" in how else None
        wide = _with_line(rows, values[:, 0]) if wide is None else wide
        added = set(wide.products) - set(rows.products)
        fitted = fit_group(wide, np.ones(rows.n, dtype=bool), link_of(model))
        places = [j for j, term in enumerate(fitted.fit.terms) if term.variable in added]
        matrix = coefficient_covariance(fitted, rows.clusterings[0]).matrix[np.ix_(places, places)]
        b = fitted.fit.coef[places]
        statistic = float(b @ np.linalg.solve(matrix, b)) if places else math.nan
        lost = len(added) - len(places)
        note = f"{lost} classes without an event among the treated" if lost else ""
        made.append(
            (f"{name}, {how}", len(places), statistic, float(special.chdtrc(max(len(places), 1), statistic)), note)
        )
    return _tests(made)


def _with_line(rows: Rows, values: Floats) -> Rows:
    name, centred = f"{rows.treatment}:line", values - float(values.mean())
    column = Column(name, centred * rows.treated)
    return replace(rows, variables=(*rows.variables, column), products={**rows.products, name: centred})


def _cox_tests(read: CoxRows, fitted: CoxFitted, clock: Clock) -> pd.DataFrame:
    data, variables = fitted.data, list(dict.fromkeys(term.variable for term in fitted.terms))
    sets = [[j for j, term in enumerate(fitted.terms) if term.variable == v] for v in variables]
    found = proportionality(data, fitted.fit, _of_time(data, clock, read.stop[fitted.used]), sets)
    labels = [*variables, "all together"]
    lines = zip(labels, found.df.tolist(), found.statistic.tolist(), found.p_value.tolist(), strict=True)
    return _tests([(*line, f"score test, time as {clock}") for line in lines])


def _of_time(data: CoxData, clock: Clock, stop: Floats) -> Floats:
    if clock == "km":
        return kaplan_meier_clock(data)
    if clock == "rank":
        times, first = np.unique(stop, return_index=True)
        ranks: Floats = scipy.stats.rankdata(stop)[first]
        return ranks[np.searchsorted(times, data.clock)]
    return data.clock if clock == "identity" else np.log(data.clock)


def _cox_link(read: CoxRows, fitted: CoxFitted, options: ExitOptions) -> pd.DataFrame:
    eta, used = fitted.data.x @ fitted.fit.coef, fitted.used
    probability = read.rows.probability
    ties: Ties = "breslow" if options.ties == "breslow" else "efron"
    data = cox_data(
        np.column_stack([eta, eta**2]), read.stop[used], read.rows.y[used], start=read.start[used],
        strata=None if read.strata is None else read.strata[used],
        weight=None if probability is None else probability[used], ties=ties,
    )  # fmt: skip
    again = fit_cox(data, ties=ties)
    clustering = read.rows.clusterings[0]
    matrix = cox_covariance(data, again, _dimensions(clustering, used)).matrix
    if not clustering.dimensions and clustering.name != "hc0":
        matrix = again.bread
    return _coefficients(["hat", "hat squared"], again.coef, np.sqrt(np.diag(matrix)))


def _cox_case(read: CoxRows, fitted: CoxFitted) -> _Case:
    used, data = fitted.used, fitted.data
    influence = sum_by(cox_score_residuals(data, fitted.fit.coef), _firms(read.rows, used)) @ fitted.fit.bread[:, 0]
    expected = data.event - martingale_residuals(data, fitted.fit.coef)
    error = math.sqrt(cox_clustered(read, fitted)[read.rows.clusterings[0].name].matrix[0, 0])
    return _Case(read.rows, used, expected, data.weight, influence, error)


def _dimensions(clustering: Clustering, used: Positions) -> list[Clusters]:
    return [clusters_of(d.codes[used]) for d in clustering.dimensions]


def _firms(rows: Rows, used: Positions) -> Clusters:
    return Clusters(np.arange(len(used)), len(used)) if rows.firm is None else clusters_of(rows.firm[used])


def _tests(lines: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    return pd.DataFrame(lines, columns=["term", "df", "statistic", "p_value", "reason"])


def _coefficients(terms: list[str], values: Floats, errors: Floats) -> pd.DataFrame:
    p = [float(p_value(b, e)) for b, e in zip(values, errors, strict=True)]
    return pd.DataFrame(
        {"term": terms, "estimate": values, "std_error": errors, "statistic": values / errors, "p_value": p}
    )


def _residuals(risk: RiskSet, case: _Case, by: Sequence[str]) -> pd.DataFrame:
    """Observed and expected events per level of a column."""
    clock = FOLLOW_UP if risk.design == "trials" else risk.roles.duration
    usual = [clock, risk.roles.year, "size" if "size" in risk.columns else None]
    columns = list(dict.fromkeys([*(c for c in usual if c is not None), *by]))
    absent = [c for c in columns if c not in risk.columns]
    if absent:
        raise SettingsError(f"residuals by {absent}: no such columns; the risk set holds {risk.columns}.")
    frame = risk.collect(columns).iloc[case.used]
    tables = [_cells(frame[column], column, case) for column in columns]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(CELL_COLUMNS))


def _cells(values: pd.Series[Any], column: str, case: _Case) -> pd.DataFrame:
    codes, levels = pd.factorize(values, sort=True, use_na_sentinel=False)
    firm = _firms(case.rows, case.used)
    y = case.rows.y[case.used]
    lines: list[dict[str, Any]] = []
    for k, level in enumerate(levels):
        inside = codes == k
        firms = len(np.unique(firm.codes[inside]))
        observed, expected = (float(case.weight[inside] @ x[inside]) for x in (y, case.expected))
        summed = np.bincount(firm.codes[inside], (case.weight * (y - case.expected))[inside])
        spread = math.sqrt(float(summed @ summed))
        z = (observed - expected) / spread if spread > 0 else math.nan
        ratio = observed / expected if expected > 0 else math.nan
        name = "not seen" if pd.isna(level) else str(level)
        lines.append(
            dict(
                zip(
                    CELL_COLUMNS,
                    (column, name, int(inside.sum()), firms, observed, expected, ratio, z, ""),
                    strict=True,
                )
            )
        )
    few = [i for i, line in enumerate(lines) if line["n_firms"] < FEWEST_FIRMS]
    if len(few) == 1 and len(lines) > 1:  # one hidden cell alone could be had by subtraction
        few.append(min((i for i in range(len(lines)) if i not in few), key=lambda i: lines[i]["n_firms"]))
    for i in few:
        lines[i] |= dict.fromkeys(("observed", "expected", "ratio", "z", "n_rows", "n_firms"), math.nan)
        lines[i]["reason"] = f"fewer than {FEWEST_FIRMS} firms here or in the only other hidden cell"
    return pd.DataFrame(lines, columns=list(CELL_COLUMNS))


def _influence(case: _Case) -> tuple[pd.DataFrame, list[str]]:
    """Change of the log ratio without a firm, averaged over ten firms around each quantile."""
    columns = ["quantile", "change", "change_in_errors", "n_firms"]
    moved = np.sort(-case.influence)
    n = len(moved)
    if n < 2 * FEWEST_FIRMS:
        return pd.DataFrame(columns=columns), [f"influence of fewer than {2 * FEWEST_FIRMS} firms is not shown"]
    lines = []
    for q in QUANTILES:
        first = min(max(round(q * (n - 1)) - FEWEST_FIRMS // 2, 0), n - FEWEST_FIRMS)
        mean = float(moved[first : first + FEWEST_FIRMS].mean())
        lines.append((q, mean, mean / case.std_error, FEWEST_FIRMS))
    top = np.sort(np.abs(moved))[::-1][:FEWEST_FIRMS]
    share = float((top**2).sum() / (moved**2).sum()) if (moved**2).sum() > 0 else math.nan
    return pd.DataFrame(lines, columns=columns), [
        f"the ten most influential firms make {share:.0%} of the variance by firm"
    ]
