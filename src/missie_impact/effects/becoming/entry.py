"""Do firms enter the market a mission went to? A weighted logit on sampled pairs, standardised over the treated."""

from __future__ import annotations

from collections.abc import Sequence

from missie_impact.definitions import DEFAULT_CONTROLS
from missie_impact.effects.becoming.arms import Estimator
from missie_impact.effects.becoming.transition import structural_transition
from missie_impact.effects.fitting.estimate import DEFAULT_OPTIONS, AlsoCluster, FitOptions
from missie_impact.effects.fitting.rows import ClusterChoice, Source
from missie_impact.effects.fitting.standardise import Population
from missie_impact.effects.result import Effect


def market_entry(
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
    """Estimate how a mission changes the risk that a firm enters the market within the horizon of the definitions.

    The likelihood, the errors and the scales are those of :func:`structural_transition`; the headline here is
    ``risk_difference``. Pairs that were sampled carry their probability weights: these enter scores and means, never
    the number of rows, and the errors are robust ones.

    Parameters
    ----------
    risk : risk set of firm x market pairs without trade (or without an affiliate), own table, or a design
    by : several columns give each its own groups, not their crossing
    cluster, controls, also_cluster, standardise, estimator, keep_fit, options : see :func:`structural_transition`

    Returns
    -------
    Effect
        Scales as in :func:`structural_transition`.

    Raises
    ------
    NoParticipantError, NoEventError, SeparationError, CollinearityError
        Where the whole call has no estimate.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0] * 10 + [1] * 10, "entered": [1] * 2 + [0] * 8 + [1] * 5 + [0] * 5})
    >>> risk = mi.RiskSet.from_frame(table, outcome="entered", treatment="went")
    >>> found = mi.market_entry(risk, cluster=None, controls=None)
    >>> round(found.effect("risk_difference").estimate, 2)
    0.3
    """
    return structural_transition(
        risk,
        cluster=cluster,
        controls=controls,
        by=by,
        also_cluster=also_cluster,
        standardise=standardise,
        estimator=estimator,
        keep_fit=keep_fit,
        options=options,
    )
