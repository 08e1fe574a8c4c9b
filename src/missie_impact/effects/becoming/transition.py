"""Do incidental exporters become structural? A logit on stacked trials, standardised over the treated."""

from __future__ import annotations

from collections.abc import Sequence

from missie_impact.definitions import DEFAULT_CONTROLS
from missie_impact.effects.becoming.arms import Estimator, compare_arms
from missie_impact.effects.fitting.estimate import DEFAULT_OPTIONS, AlsoCluster, FitOptions
from missie_impact.effects.fitting.rows import ClusterChoice, Request, Source, parts
from missie_impact.effects.fitting.standardise import Population
from missie_impact.effects.result import Effect

OUTCOMES = {"transition": "becoming structural", "entry": "entering the market", "exit": "leaving the market"}


def structural_transition(
    risk: Source,
    *,
    cluster: ClusterChoice,
    controls: Sequence[str] | None = DEFAULT_CONTROLS,
    by: str | Sequence[str] | None = None,
    also_cluster: AlsoCluster = (),
    standardise: Population | None = None,
    estimator: Estimator = "regression",
    keep_fit: bool = False,
    options: FitOptions = DEFAULT_OPTIONS,
) -> Effect:
    """Estimate how a mission changes the odds that an incidental exporter becomes structural.

    Parameters
    ----------
    risk : risk set (firm or pair level, one row per trial), own table, or a design made on one
    cluster : "firm", "market", "mission", a column, a list of two for two-way errors; a tuple of columns inside the
        list means their combinations. None: model-based errors, rows on their own. No default: it must be said
    controls : columns; text is a factor, numbers are linear, ``C(name)`` makes a number a factor; None for none.
        Controls of the default list that the table lacks are left out by name
    by : columns; each level is fitted on its own, beside "all"
    also_cluster : further choices, for :meth:`Effect.with_vcov`
    standardise : over the "treated" (effect on the treated), "all" rows, or their "overlap" (weighting only); None is
        the population a design was made for, else the treated
    estimator : "regression" (logit, standardised), "weighting" (weighted means of the arms), "doubly_robust" (both
        arms' risks modelled and corrected by weighted residuals, cross-fitted) or "matching" (means of matched sets as
        they are, for a design by ``match``). On a design its weights are used; on a risk set weighting and doubly
        robust fit their own propensity score on the controls
    keep_fit : keep rows for further work; such a result cannot be saved
    options : level of the intervals and other settings that are rarely changed

    Notes
    -----
    Errors stack all steps: the model of a design's weights, the outcome model, the means. On matched sets
    ``cluster="firm"`` means firm and matched set (two-way), ``cluster="matched_set"`` sets alone, ``cluster="mission"``
    the mission of the set's treated row. With replacement ``estimator="matching"`` takes the errors of Abadie and
    Imbens, the propensity's estimation included (``vcov="fixed_weights"``: as known).

    Returns
    -------
    Effect
        Scales ``odds_ratio``, ``risk_ratio``, ``risk_difference`` (marginal), ``risk_with``, ``risk_without``,
        ``odds_ratio_conditional`` and ``log_odds`` (given the controls; regression only). Trial years enter as factors.

    Raises
    ------
    NoParticipantError, NoEventError, SeparationError, CollinearityError
        Where the whole call has no estimate. A subgroup without one is NaN with its reason.
    PositivityError
        If rows have no chance of the other arm (weighting and doubly robust).

    References
    ----------
    Abadie and Imbens (2006), Econometrica 74, 235-267; (2016), Econometrica 84, 781-807 for matched means.
    Hernan and Robins (2020), Causal Inference: What If, chapters 13 and 22; R's ``sandwich::vcovCL`` for the errors.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0] * 10 + [1] * 10, "structural": [1] * 2 + [0] * 8 + [1] * 5 + [0] * 5})
    >>> risk = mi.RiskSet.from_frame(table, outcome="structural", treatment="went")
    >>> found = mi.structural_transition(risk, cluster=None, controls=None)
    >>> round(found.effect("odds_ratio").estimate, 2)
    4.0
    >>> round(found.effect("risk_difference").estimate, 2)
    0.3
    """
    source, _ = parts(risk)
    always = tuple(c for c in (source.roles.year,) if c is not None and source.design == "trials")
    request = Request(controls, always, None, by, (cluster, *also_cluster), None, options.correction)
    outcome = OUTCOMES.get(source.question, source.roles.outcome)
    return compare_arms(risk, request, outcome, estimator, standardise, options, keep_fit)
