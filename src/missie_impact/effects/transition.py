"""Do incidental exporters become structural? A logit on stacked trials, standardised over the treated."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from missie_impact.definitions import DEFAULT_CONTROLS
from missie_impact.effects.estimate import DEFAULT_OPTIONS, AlsoCluster, FitOptions, Task, effect
from missie_impact.effects.result import Effect
from missie_impact.effects.rows import ClusterChoice, Request, Source, parts
from missie_impact.effects.standardise import Population, risk_scales

OUTCOMES = {"transition": "becoming structural", "entry": "entering the market", "exit": "leaving the market"}


def structural_transition(
    risk: Source,
    *,
    cluster: ClusterChoice,
    controls: Sequence[str] | None = DEFAULT_CONTROLS,
    by: str | Sequence[str] | None = None,
    also_cluster: AlsoCluster = (),
    standardise: Population = "treated",
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
    standardise : over the treated (effect on the treated) or over all rows
    keep_fit : keep rows for further work; such a result cannot be saved
    options : level of the intervals and other settings that are rarely changed

    Returns
    -------
    Effect
        Scales ``odds_ratio``, ``risk_ratio``, ``risk_difference`` (marginal), ``risk_with``, ``risk_without``,
        ``odds_ratio_conditional`` and ``log_odds`` (given the controls). Trial years enter as factors.

    Raises
    ------
    NoParticipantError, NoEventError, SeparationError, CollinearityError
        Where the whole call has no estimate. A subgroup without one is NaN with its reason.

    References
    ----------
    Hernan and Robins (2020), Causal Inference: What If, chapters 13 and 22; R's ``sandwich::vcovCL`` for the errors.
    """
    source, _ = parts(risk)
    always = tuple(c for c in (source.roles.year,) if c is not None and source.design == "trials")
    request = Request(controls, always, None, by, (cluster, *also_cluster), None, options.correction)
    outcome = OUTCOMES.get(source.question, source.roles.outcome)
    task = Task(outcome, "logit", "logit", standardise, partial(risk_scales, population=standardise))
    return effect(risk, request, task, options, keep_fit)
