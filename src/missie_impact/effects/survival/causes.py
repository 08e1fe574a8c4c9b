"""Cause-specific hazards: the exit model once for each way of leaving, the others staying in the risk set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from typing import Any

import narwhals as nw
import numpy as np

from missie_impact.definitions import DEFAULT_CONTROLS
from missie_impact.effects.fitting.estimate import DEFAULT_OPTIONS, AlsoCluster, FitOptions
from missie_impact.effects.fitting.rows import ClusterChoice, Source, parts
from missie_impact.effects.leaving.exit import market_exit
from missie_impact.effects.result import Effect, GroupResult
from missie_impact.effects.survival.followed import FIRST_CAUSES, cause_labels
from missie_impact.errors import (
    CollinearityError,
    ConvergenceError,
    NoEventError,
    NoParticipantError,
    SeparationError,
    SettingsError,
)
from missie_impact.numerics.links import LinkName
from missie_impact.risksets.riskset import RiskSet

CAUSE_OUTCOME = "outcome_of_cause"


def cause_specific_hazards(
    risk: Source,
    *,
    cluster: ClusterChoice,
    model: LinkName = "cloglog",
    controls: Sequence[str] | None = DEFAULT_CONTROLS,
    by: str | Sequence[str] | None = None,
    also_cluster: AlsoCluster = (),
    options: FitOptions = DEFAULT_OPTIONS,
) -> Effect:
    """Fit :func:`market_exit` once for each cause: leaving the market, death of the firm, lost identity.

    A hazard ratio of one cause says nothing about the share that leaves by it, which depends on all of them: that is
    :func:`standardised_incidence`. Switching treatments are allowed, as associations.

    Parameters
    ----------
    risk : risk set with a cause, or a design made on one
    others : see :func:`market_exit`

    Returns
    -------
    Effect
        One group per cause, ``exit``, ``death``, ``lost`` (``size=sme: exit`` with ``by=``), with all scales of
        :func:`market_exit`. A cause too rare for a model is NaN and says why.

    Raises
    ------
    SettingsError
        If the risk set has no cause.
    NoEventError
        If no cause has a model.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> risk = mi.exit_risk_set(panel)
    >>> found = mi.cause_specific_hazards(risk, cluster="firm", controls=["log_exports"])
    >>> [group.group for group in found.groups]
    ['exit', 'death', 'lost']
    """
    source, _ = parts(risk)
    if source.roles.cause is None:
        raise SettingsError(
            "the risk set has no cause: name the column with cause= when you make it, or take market_exit."
        )
    groups: list[GroupResult] = []
    made: Effect | None = None
    failed: list[tuple[str, str]] = []
    notes: list[str] = []
    for name, outcome_risk in by_cause(source):
        try:
            found = market_exit(
                with_risk(risk, outcome_risk), cluster=cluster, model=model, controls=controls, by=by,
                also_cluster=also_cluster, options=options,
            )  # fmt: skip
        except (NoParticipantError, NoEventError, SeparationError, CollinearityError, ConvergenceError) as error:
            failed.append((name, str(error).split(",")[0].split(". ")[0]))
            continue
        made = made or found
        notes += [f"{name}: {note}" for note in found.groups[0].notes]
        groups += [replace(g, group=name if g.group == "all" else f"{g.group}: {name}") for g in found.groups]
    if made is None:
        raise NoEventError(f"no cause has a model: {'; '.join(f'{name}: {reason}' for name, reason in failed)}.")
    first = made.groups[0]
    for name, reason in failed:
        groups.append(
            GroupResult(name, replace(first.counts, n_events=0), first.scales, np.full(len(first.scales), np.nan),
                        reason=reason)
        )  # fmt: skip
    return replace(
        made,
        outcome="leaving, by cause",
        groups=tuple(groups),
        notes=(*(note for note in made.notes if note not in first.notes), *notes),
    )


def by_cause(risk: RiskSet) -> list[tuple[str, RiskSet]]:
    """Return the risk set once for each cause, which is then the outcome; the event of interest first."""
    column = str(risk.roles.cause)
    frame = risk.collect([risk.roles.outcome, column])
    raw, labels = frame[column], cause_labels(frame[column])
    own = set(labels[frame[risk.roles.outcome].to_numpy(dtype=float) == 1.0].tolist())
    names = sorted(set(labels.tolist()) - {""})
    rank = {name: i for i, name in enumerate(FIRST_CAUSES)}
    names.sort(key=lambda name: (name not in own, rank.get(name, len(rank))))
    found = []
    for name in names:
        value: Any = raw[labels == name].iloc[0]
        value = value.item() if isinstance(value, np.generic) else value
        here = nw.when((nw.col(column) == value).fill_null(False)).then(1).otherwise(0).cast(nw.Int64)
        rows = risk.rows.with_columns(here.alias(CAUSE_OUTCOME))
        found.append((name, replace(risk, rows=rows, roles=replace(risk.roles, outcome=CAUSE_OUTCOME))))
    return found


def with_risk(source: Source, risk: RiskSet) -> Source:
    """Return a source with its risk set exchanged for one of the same rows."""
    if isinstance(source, RiskSet):
        return risk
    if not is_dataclass(source) or isinstance(source, type):
        raise SettingsError("expected a risk set, or a design of this library made on one.")
    exchanged: Source = replace(source, risk=risk)
    return exchanged
