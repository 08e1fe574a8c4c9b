"""What an estimator hands on: numbers with their scale, their counts and, where there is none, the reason.

An :class:`Effect` holds aggregates only (estimates, covariances, counts), so it may be saved. Rows of firms stay in
a :class:`Fit`, which exists on request only and refuses to be pickled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from missie_impact.display import html_table
from missie_impact.effects.draws import bootstrap_table
from missie_impact.errors import MicrodataError, SettingsError
from missie_impact.flow import Flow
from missie_impact.numerics.covariance import interval
from missie_impact.numerics.covariance import p_value as two_sided_p

Floats = NDArray[np.float64]

RATIO_SCALES = frozenset(
    {
        "odds_ratio",
        "risk_ratio",
        "hazard_ratio",
        "odds_ratio_conditional",
        "hazard_ratio_conditional",
        "restricted_mean_ratio",
        "subdistribution_hazard_ratio",
        "subdistribution_odds_ratio",
        "odds_ratio_within_firm_year",
        "odds_ratio_within_strata",
        "frailty_variance",
        "frailty_sd",
        "mean_ratio",
        "mean_ratio_winsorised",
        "mean_ratio_yearly",
        "mean_ratio_yearly_winsorised",
        "mean_ratio_of_exporters",
    }
)
LEVEL_PREFIXES = (
    "risk_with", "yearly_exit_probability_", "exit_probability_", "survival_with", "restricted_mean_with",
    "mean_eur_with", "grower_share_with", "export_share_with", "frailty_",
)  # fmt: skip
"""Scales of one world (a risk, a survival): a level, for which no effect of zero is tested."""
PROBABILITY_PREFIXES = (
    "risk_with", "yearly_exit_probability_", "exit_probability_", "survival_with", "grower_share_with",
    "export_share_with",
)  # fmt: skip
"""Levels between zero and one: their interval is made on the logit scale, so that it stays there."""

MARGINAL_KEYS: dict[str, str] = {
    "odds_ratio": "or_marginal",
    "risk_ratio": "rr",
    "risk_difference": "rd",
    "hazard_ratio": "hr_marginal",
}
POPULATION_KEYS = {
    "treated": "att", "treated on support": "att_on_support", "all": "ate", "all on support": "ate_on_support",
    "overlap": "ato",
}  # fmt: skip
TIDY_COLUMNS = (
    "outcome", "group", "term", "scale", "estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high",
    "n_rows", "n_firms", "n_treated", "n_events", "design", "reason",
)  # fmt: skip


LARGEST_LOG = 709.0  # beyond it the exponential is infinite in double precision


def is_ratio(scale: str) -> bool:
    """Whether the interval of a scale is made on the log scale."""
    return scale.partition(":")[0] in RATIO_SCALES  # "mean_ratio:tariff" is that of a further treatment


def is_level(scale: str) -> bool:
    """Whether a scale describes one world, so that no null of zero is tested."""
    return scale.startswith(LEVEL_PREFIXES)


def is_probability(scale: str) -> bool:
    """Whether the interval of a scale is made on the logit scale."""
    return scale.startswith(PROBABILITY_PREFIXES)


def estimand_of(scale: str, population: str) -> str:
    """Name the estimand of a scale: ``or_marginal_att``, ``rd_ate``, ``survival_difference_3``, ``hr_conditional``.

    Parameters
    ----------
    scale : as in :meth:`Effect.tidy`
    population : "treated" (att), "all" (ate), "overlap" (ato), or the first two "on support" (att_on_support)
    """
    if scale in MARGINAL_KEYS:
        return f"{MARGINAL_KEYS[scale]}_{POPULATION_KEYS.get(population, 'ate')}"
    return {"odds_ratio_conditional": "or_conditional", "hazard_ratio_conditional": "hr_conditional"}.get(scale, scale)


@dataclass(frozen=True, slots=True)
class TermName:
    """A coefficient's variable and, for a factor, its level. Tables show it; nothing parses it back."""

    variable: str
    level: str = ""

    @property
    def label(self) -> str:
        """Name in a table: ``log_workers``, ``sector[C]``."""
        return f"{self.variable}[{self.level}]" if self.level else self.variable


@dataclass(frozen=True, slots=True)
class Counts:
    """What stands behind a group's numbers.

    Attributes
    ----------
    n_rows : rows in the likelihood, frequency weights counted
    n_firms : distinct firms in them; None where the table names no firm
    n_treated : treated units averaged over (firm-trials or pair-trials; rows where the table has no trials), with those
        whose outcome is certain
    n_events : rows with the event
    """

    n_rows: int = 0
    n_firms: int | None = None
    n_treated: int = 0
    n_events: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class GroupResult:
    """One group's estimates on all scales, under every error asked for.

    Attributes
    ----------
    group : "all", or variable and level such as ``size=sme (cbs_independent)``
    counts : what stands behind it
    scales : (s,) names
    values : (s,) estimates, each on its own scale
    covariances : per error, (s, s) joint covariance of the estimates, ratio scales in logs
    terms : (k,) coefficients by variable and level, those left out among them
    coef : (k,) coefficients, NaN where there is none
    term_reasons : (k,) why a coefficient is NaN, else empty
    coef_covariances : per error, (k, k) covariance of the coefficients
    degrees : per error, degrees of freedom of its intervals; inf is normal
    reason : why the group has no estimate, else empty
    notes : what a reader must know about these numbers
    log_likelihood : at the optimum
    draws : (B, s) estimates of a bootstrap by cluster, or None
    tests : p values by another test than that of estimate and error: per scale, where the table shows them; or under a
        name of their own, such as a wild bootstrap
    """

    group: str
    counts: Counts
    scales: tuple[str, ...]
    values: Floats
    covariances: Mapping[str, Floats] = field(default_factory=dict)
    terms: tuple[TermName, ...] = ()
    coef: Floats = field(default_factory=lambda: np.empty(0))
    term_reasons: tuple[str, ...] = ()
    coef_covariances: Mapping[str, Floats] = field(default_factory=dict)
    degrees: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    notes: tuple[str, ...] = ()
    log_likelihood: float = math.nan
    draws: Floats | None = None
    tests: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Estimate:
    """One number: its scale is always said.

    ``std_error`` and ``statistic`` of a ratio are those of its logarithm; ``statistic`` and ``p_value`` are NaN for
    levels (a risk, a survival), where zero is no hypothesis.

    Made by :meth:`Effect.effect`.
    """

    outcome: str
    group: str
    term: str
    scale: str
    estimate: float
    std_error: float
    statistic: float
    p_value: float
    conf_low: float
    conf_high: float
    n_rows: int
    n_firms: int | None
    n_treated: int
    n_events: int
    design: str
    reason: str


class Fit:
    """Rows behind an estimate, for further work in the same session. It cannot be saved: it holds microdata.

    Made by :func:`structural_transition` and others with ``keep_fit=True``.

    Attributes
    ----------
    model : the fit of the likelihood (coefficients, bread)
    scores : (n,) score of each row in its linear predictor
    rows : (n,) position of each row in the collected risk set
    """

    __slots__ = ("model", "rows", "scores")

    def __init__(self, model: Any, scores: Floats, rows: NDArray[np.intp]) -> None:
        self.model, self.scores, self.rows = model, scores, rows

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise MicrodataError(
            "a Fit holds rows of firms and is never saved or pickled; save `effect.without_fit()` instead."
        )

    def __repr__(self) -> str:
        return f"Fit({len(self.scores)} rows; holds microdata, cannot be saved)"


@dataclass(frozen=True, slots=True, eq=False)
class Effect:
    """An estimated effect on all its scales, by group. Frozen; aggregates only.

    Made by :func:`structural_transition` and the other estimators.

    Attributes
    ----------
    outcome : what happens to the unit, such as "becoming structural"
    term : name of the treatment
    design : how treated and others are compared
    model : likelihood that was fitted
    population : over whom marginal scales are standardised, "treated" or "all"
    groups : one result per group, "all" first
    vcov : the error in use; :meth:`with_vcov` selects another of ``vcovs``
    vcovs : names of all errors computed at fit
    conf_level : of every interval
    flow : who is lost on the way from the first file to the likelihood of "all"
    notes : definitions, controls left out, warnings
    simulated : whether the registers are simulated ones
    fits : rows behind it per group, only with ``keep_fit=True``
    across : per error, joint covariance of all groups and scales (groups outermost, ratios in logs), for
        :func:`missie_impact.effects.compare.compare_groups`
    """

    outcome: str
    term: str
    design: str
    model: str
    population: str
    groups: tuple[GroupResult, ...]
    vcov: str
    vcovs: tuple[str, ...]
    conf_level: float
    flow: Flow
    notes: tuple[str, ...] = ()
    simulated: bool = False
    fits: Mapping[str, Fit] | None = None
    across: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def scales(self) -> tuple[str, ...]:
        """Scales that :meth:`effect` knows."""
        return tuple(dict.fromkeys(scale for result in self.groups for scale in result.scales))

    def tidy(self) -> pd.DataFrame:
        """Return one row per group and scale, always with the same columns.

        ``std_error`` and ``statistic`` of ratio scales are those of the logarithm, their interval is made on the log
        scale. A group that cannot be estimated has NaN and says why in ``reason``.
        """
        table = pd.DataFrame(
            [[getattr(e, name) for name in TIDY_COLUMNS] for e in self._estimates()], columns=list(TIDY_COLUMNS)
        )
        for name in ("n_rows", "n_firms", "n_treated", "n_events"):
            table[name] = table[name].astype("Int64")
        return table

    def effect(self, scale: str, *, group: str = "all") -> Estimate:
        """Return the estimate on one scale for one group.

        Parameters
        ----------
        scale : one of ``scales``, such as "risk_ratio"
        group : "all", or a group's name; the name without the scheme in brackets will do

        Raises
        ------
        SettingsError
            If there is no such scale or group; the message lists those there are.
        """
        found = [e for e in self._estimates() if group in (e.group, e.group.split(" (")[0])]
        if not found:
            raise SettingsError(f"no group {group!r}: expected one of {[g.group for g in self.groups]}.")
        for estimate in found:
            if estimate.scale == scale:
                return estimate
        raise SettingsError(f"no scale {scale!r}: expected one of {list(self.scales)}.")

    def estimand(self, scale: str) -> str:
        """Return the name of the estimand on a scale, by which its truth is looked up."""
        return estimand_of(scale, self.population)

    @property
    def coefficients(self) -> pd.DataFrame:
        """Raw coefficients: index ``term`` (``group, term`` with several groups); estimate, std_error and more.

        Levels of a factor are compared with its first; a term that has no estimate is NaN with its reason.
        """
        table = pd.DataFrame(
            self._coefficient_rows(),
            columns=["group", "term", "variable", "level", "estimate", "std_error", "statistic", "p_value",
                     "conf_low", "conf_high", "reason"],
        )  # fmt: skip
        if len(self.groups) == 1:
            return table.drop(columns="group").set_index("term")
        return table.set_index(["group", "term"])

    @property
    def bootstrap(self) -> pd.DataFrame:
        """Bootstrap of each group and scale: std_error (ratios in logs), percentile interval, draws, failed draws."""
        return bootstrap_table(self.groups, self.conf_level, {scale: is_ratio(scale) for scale in self.scales})

    def covariance(self, group: str = "all") -> pd.DataFrame:
        """Return the joint covariance of a group's scales under the error in use, ratio scales in logs."""
        for result in self.groups:
            if group in (result.group, result.group.split(" (")[0]):
                empty = np.full((len(result.scales), len(result.scales)), np.nan)
                matrix = result.covariances.get(self.vcov, empty)
                return pd.DataFrame(matrix, index=list(result.scales), columns=list(result.scales))
        raise SettingsError(f"no group {group!r}: expected one of {[g.group for g in self.groups]}.")

    def with_vcov(self, name: str) -> Effect:
        """Return the same estimates with another of the errors computed at fit.

        Raises
        ------
        SettingsError
            If it was not asked for with ``also_cluster=`` at fit.
        """
        if name not in self.vcovs:
            raise SettingsError(
                f"no error {name!r}: expected one of {list(self.vcovs)}. Ask for others with also_cluster= at fit."
            )
        return replace(self, vcov=name)

    def without_fit(self) -> Effect:
        """Return the same result without rows of firms, so that it may be saved."""
        return replace(self, fits=None)

    def __repr__(self) -> str:
        first = self.groups[0].counts if self.groups else Counts()
        return (
            f"Effect({self.outcome}; {self.model}, {self.design}; {len(self.groups)} groups; {first.n_rows} rows, "
            f"{first.n_treated} treated, {first.n_events} events; errors: {self.vcov}"
            f"{'; simulated' if self.simulated else ''})"
        )

    def _repr_html_(self) -> str:
        shown = self.tidy().drop(columns=["outcome", "term", "design", "statistic"])
        notes = (
            f"{self.model}; {self.design}; marginal scales standardised over {_whom(self.population)}; "
            f"errors: {self.vcov}; {self.conf_level:.0%} intervals; std_error of a ratio is that of its logarithm",
            *self.notes,
        )
        return html_table(shown, title=f"Effect on {self.outcome}", notes=notes, simulated=self.simulated)

    def _estimates(self) -> Iterator[Estimate]:
        for result in self.groups:
            degrees = result.degrees.get(self.vcov, math.inf)
            covariance = result.covariances.get(self.vcov)
            for j, scale in enumerate(result.scales):
                error = math.nan if covariance is None else _root(covariance[j, j])
                value = float(result.values[j])
                numbers = inference(value, error, degrees, self.conf_level, scale=scale)
                if scale in result.tests:
                    numbers = (numbers[0], math.nan, result.tests[scale], *numbers[3:])
                yield Estimate(
                    self.outcome, result.group, self.term, scale, value, *numbers, *_counts(result.counts), self.design,
                    result.reason,
                )  # fmt: skip

    def _coefficient_rows(self) -> Iterator[list[object]]:
        for result in self.groups:
            degrees = result.degrees.get(self.vcov, math.inf)
            covariance = result.coef_covariances.get(self.vcov)
            for j, term in enumerate(result.terms):
                error = math.nan if covariance is None else _root(covariance[j, j])
                value = float(result.coef[j])
                numbers = inference(value, error, degrees, self.conf_level)
                yield [result.group, term.label, term.variable, term.level, value, *numbers, result.term_reasons[j]]


def inference(
    value: float, error: float, degrees: float, conf_level: float, *, scale: str = "coefficient"
) -> tuple[float, float, float, float, float]:
    """Return std_error, statistic, p_value, conf_low and conf_high of an estimate.

    Parameters
    ----------
    value : the estimate on its own scale
    error : its standard error; of the logarithm for ratio scales
    degrees : of the t distribution, inf for the normal one
    conf_level : of the interval
    scale : decides between the log scale, the logit scale, the scale itself, and whether there is a test
    """
    # An error of zero means no information, not certainty: no test, no interval.
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return (error, math.nan, math.nan, math.nan, math.nan)
    ratio = is_ratio(scale)
    if ratio and value <= 0:
        return (error, math.nan, math.nan, math.nan, math.nan)
    if is_probability(scale) and 0 < value < 1:
        spread = error / (value * (1 - value))
        ends = interval(math.log(value / (1 - value)), spread, level=conf_level, df=degrees)
        return (error, math.nan, math.nan, float(expit(ends[0])), float(expit(ends[1])))
    centre = math.log(value) if ratio else value
    low, high = (float(end) for end in interval(centre, error, level=conf_level, df=degrees))
    if ratio:
        low, high = (math.exp(end) if end < LARGEST_LOG else math.inf for end in (low, high))
    if is_level(scale):
        return (error, math.nan, math.nan, low, high)
    return (error, centre / error, float(two_sided_p(centre, error, df=degrees)), low, high)


def _counts(counts: Counts) -> tuple[int, int | None, int, int]:
    return counts.n_rows, counts.n_firms, counts.n_treated, counts.n_events


def _root(variance: float) -> float:
    return math.sqrt(variance) if variance >= 0 else math.nan


def _whom(population: str) -> str:
    words = {"treated": "the treated", "treated on support": "the treated with somebody to compare them with"}
    words |= {"all on support": "all rows with somebody to compare them with", "overlap": "the overlap of the arms"}
    return words.get(population, "all rows")
