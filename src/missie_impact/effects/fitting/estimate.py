"""What the three estimators share: options checked, rows read, groups fitted, the result put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from missie_impact.effects.becoming.doubly_robust import CrossFit
from missie_impact.effects.fitting.bootstrap import Bootstrap, WildBootstrap
from missie_impact.effects.fitting.groups import FIXED, FIXED_WEIGHTS, ScalesOf, estimate_all, flow_of
from missie_impact.effects.fitting.rows import ClusterName, Request, Rows, Source, parts, read_rows
from missie_impact.effects.result import Effect, GroupResult
from missie_impact.errors import SettingsError
from missie_impact.flow import Flow
from missie_impact.numerics.covariance import Correction
from missie_impact.numerics.links import LinkName
from missie_impact.risksets.riskset import RiskSet

Vcov = Literal["stacked", "fixed_covariates", "fixed_weights"]
AlsoCluster = Sequence[ClusterName | Sequence[ClusterName] | None]

ENDED_OTHERWISE = {
    True: "rows whose firm died before the outcome was complete",
    False: "years at risk that end in the death of the firm or a lost identity",
}
DESIGN_TEXT = {
    "trials": "regression on stacked trials",
    "spells": "regression on whole spells, an association",
    "frame": "regression on an own table",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """Settings that are rarely changed.

    Attributes
    ----------
    conf_level : of every interval; normal, or t with min(G) - 1 degrees of freedom for two-way errors
    vcov : "stacked" (weights were estimated and the rows averaged over are a sample too), "fixed_covariates" (delta
        method given these rows, as in R) or "fixed_weights" (given these rows and the weights, as R's ``vcovCL`` of a
        weighted ``glm``)
    correction : small-sample factor of clustered errors: "g_over_gm1" is G / (G - 1), "cr0" none, "cr1" the first
        times (N - 1) / (N - K), "cr3" close to leaving one cluster out at a time, for few or uneven clusters
    cross_fit : folds, seed and trimming of the doubly robust estimator
    bootstrap : draw whole clusters (matched sets) again beside the analytic errors: :attr:`Effect.bootstrap`, and
        ``with_vcov("firm, bootstrap")``
    wild : p value of a score wild bootstrap that imposes no effect, for few treated clusters: ``GroupResult.tests``
    duration_classes : lower bounds of the duration classes of whole spells and own tables, the last one open. None
        leaves the duration out, for a baseline that stands among the controls

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0] * 10 + [1] * 10, "structural": [1] * 2 + [0] * 8 + [1] * 5 + [0] * 5})
    >>> risk = mi.RiskSet.from_frame(table, outcome="structural", treatment="went")
    >>> options = mi.FitOptions(conf_level=0.9)
    >>> mi.structural_transition(risk, cluster=None, controls=None, options=options).conf_level
    0.9
    """

    conf_level: float = 0.95
    vcov: Vcov = "stacked"
    correction: Correction = "g_over_gm1"
    duration_classes: tuple[int, ...] | None = tuple(range(1, 11))
    cross_fit: CrossFit = field(default_factory=CrossFit)
    bootstrap: Bootstrap | None = None
    wild: WildBootstrap | None = None

    def __post_init__(self) -> None:
        if not 0.5 < self.conf_level < 1:
            raise SettingsError(f"conf_level: expected a number between 0.5 and 1, found {self.conf_level}.")
        if self.vcov not in get_args(Vcov):
            raise SettingsError(f"vcov: expected one of {list(get_args(Vcov))}, found {self.vcov!r}.")
        if self.correction not in get_args(Correction):
            raise SettingsError(f"correction: expected one of {list(get_args(Correction))}, found {self.correction!r}.")
        if not isinstance(self.cross_fit, CrossFit):
            raise SettingsError(
                f"cross_fit: expected CrossFit(...), found {type(self.cross_fit).__name__}; CrossFit(folds=1) fits and "
                "predicts on all rows."
            )
        bounds = self.duration_classes
        if bounds is not None and (not bounds or list(bounds) != sorted(set(bounds))):
            raise SettingsError(f"duration_classes: expected rising lower bounds, found {list(bounds)}.")


DEFAULT_OPTIONS = FitOptions()


@dataclass(frozen=True, slots=True)
class Task:
    """What is estimated and how.

    Attributes
    ----------
    outcome : what happens to the unit
    link : of the likelihood
    model : the likelihood in words
    population : over whom marginal scales are standardised
    scales : puts a fit on its scales
    """

    outcome: str
    link: LinkName
    model: str
    population: str
    scales: ScalesOf


def effect(
    source: Source, request: Request, task: Task, options: FitOptions, keep_fit: bool, rows: Rows | None = None
) -> Effect:
    """Read the rows unless they are given, fit all groups and put the result together."""
    rows = read_rows(source, request) if rows is None else rows
    results, whole, fits, across = estimate_all(rows, task.link, task.scales, keep_fit)
    flow = flow_of(parts(source)[0].flow, whole)
    return replace(put_together(source, rows, results, task, options, flow), fits=fits, across=across)


def put_together(
    source: Source, rows: Rows, results: tuple[GroupResult, ...], task: Task, options: FitOptions, flow: Flow
) -> Effect:
    """Make an effect from the results of its groups, whatever estimated them; ``task.link`` plays no part."""
    risk, weight = parts(source)
    main = rows.clusterings[0].name
    design = DESIGN_TEXT[risk.design] + (", weighted" if weight is not None or rows.probability is not None else "")
    return Effect(
        outcome=task.outcome,
        term=rows.treatment,
        design=design,
        model=task.model,
        population=task.population,
        groups=results,
        vcov=_vcov_name(main, options.vcov, results[0]),
        vcovs=tuple(results[0].covariances),
        conf_level=options.conf_level,
        flow=flow,
        notes=(*_notes(rows), *_pool(risk), *_ended_otherwise(risk), *results[0].notes),
        simulated=risk.simulated,
    )


def _vcov_name(main: str, vcov: Vcov, result: GroupResult) -> str:
    """Return the name of the error in use; without weights, those taken as known are those of fixed covariates."""
    wanted = {"stacked": [], "fixed_covariates": [FIXED], "fixed_weights": [FIXED_WEIGHTS, FIXED]}[vcov]
    found = [main + suffix for suffix in wanted if main + suffix in result.covariances]
    return found[0] if found else main


def _notes(rows: Rows) -> list[str]:
    notes = []
    if rows.left_out:
        notes.append(f"controls left out, no such column: {', '.join(rows.left_out)}")
    if not rows.variables:
        notes.append("no controls: groups that differ are compared as they are")
    if any(len(c.dimensions) == 2 for c in rows.clusterings):
        notes.append("two-way errors: t intervals with the smaller number of clusters less one degrees of freedom")
    return notes


def _pool(risk: RiskSet) -> list[str]:
    if risk.definitions is None or risk.definitions.pool != "never":
        return []
    return [
        "controls are never treated, which is known only after t: those who go later, often because they do well, are "
        "taken out of one arm. Biased upwards (without any effect odds ratios of 1.34 to 1.49), for comparison only"
    ]


def _ended_otherwise(risk: RiskSet) -> list[str]:
    """Say by arm how many rows of a built risk set end with the firm, not with the outcome."""
    column = "died" if "died" in risk.columns else risk.roles.cause
    if risk.design != "trials" or column is None:
        return []
    frame = risk.collect([risk.roles.treatment, column])
    treated = frame[risk.roles.treatment].to_numpy(dtype=float) == 1.0
    ended = frame[column].isin([1, True] if column == "died" else ["death", "lost"]).to_numpy(dtype=bool)
    if treated.all() or not treated.any():
        return []
    what = ENDED_OTHERWISE[column == "died"]
    return [f"{what}: {ended[treated].mean():.2%} of the treated, {ended[~treated].mean():.2%} of the others"]
