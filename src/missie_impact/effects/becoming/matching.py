"""Matched sets compared as they are: mean of the treated less mean of their matches, no model of the outcome."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from missie_impact.effects.becoming.doubly_robust import on_risk_scales, risk_values
from missie_impact.effects.becoming.weighting import MARGINAL_SCALES
from missie_impact.effects.fitting.compared import WeightScores
from missie_impact.effects.fitting.groups import FIXED_WEIGHTS, cluster_notes
from missie_impact.effects.fitting.model import counted
from missie_impact.effects.fitting.rows import Group, Rows
from missie_impact.effects.result import GroupResult
from missie_impact.errors import NoEventError, NoParticipantError, SettingsError
from missie_impact.numerics.covariance import Covariance
from missie_impact.numerics.matched import MatchedErrors, matched_means, spread_of_controls

Floats = NDArray[np.float64]

NOTE = (
    "errors of Abadie and Imbens: scatter of controls from their nearest other controls; matches that are not exact "
    "leave a bias that these do not hold"
)


@dataclass(frozen=True, slots=True)
class MatchedSets:
    """A matching with replacement on n rows.

    Attributes
    ----------
    pair : (m, 2) rows of a treated unit and a control
    alike : (c, 1 + q) controls in use, each with its nearest other controls
    weight : (n,) sampling weight of each row
    propensity : equations of the propensity that was matched on, or None
    """

    pair: NDArray[np.intp]
    alike: NDArray[np.intp]
    weight: Floats
    propensity: WeightScores | None


def sets_of(rows: Rows) -> MatchedSets:
    """Return the matching with replacement that the rows come with.

    Raises
    ------
    SettingsError
        If there is no such design, or it does not say which controls are alike.
    """
    compared = rows.compared
    if compared is None or compared.pairs is None or compared.alike is None:
        raise SettingsError(
            "estimator='matching' compares the sets of a matching: expected a design by match(...). For weights use "
            "estimator='weighting'."
        )
    if rows.frequency is not None and (rows.frequency != 1.0).any():
        raise SettingsError("frequency weights other than one: a row that stands for several units cannot be matched.")
    own = np.ones(rows.n) if rows.probability is None else rows.probability / _positive(compared.weight)
    return MatchedSets(compared.pairs, compared.alike, own, compared.score_model)


def matched_group(rows: Rows, group: Group, sets: MatchedSets) -> GroupResult:
    """Compare the treated of one group with their matches, wherever these are.

    Raises
    ------
    NoParticipantError
        If the group has no matched treated row.
    NoEventError
        If nobody, or everybody, has the outcome, so that no scale has an error.
    """
    pair = sets.pair[group.rows[sets.pair[:, 0]]]
    if not len(pair):
        raise NoParticipantError(f"no treated rows with a match: expected some among {int(group.rows.sum())} rows.")
    means = matched_means(rows.y, pair, sets.weight)
    used = means.rows
    events = float(rows.y[used].sum())
    if events in (0.0, float(len(used))):
        raise NoEventError(f"{events:g} of {len(used)} matched rows have the outcome: expected some with and without.")
    alike = sets.alike[np.isin(sets.alike[:, 0], pair[:, 1])]
    residual, scale = spread_of_controls(rows.y, alike)
    alone = int(np.isnan(residual).sum())
    if alone:
        raise NoParticipantError(
            f"{alone} controls have no other control of another firm in their stratum, so their scatter is not known. "
            "Ask for coarser strata, or match without replacement."
        )
    covariances, fixed = _covariances(rows, MatchedErrors(means, residual, scale), sets.propensity)
    made = {name: on_risk_scales(means.risks, cov.matrix) for name, cov in covariances.items()}
    made |= {name + FIXED_WEIGHTS: on_risk_scales(means.risks, cov.matrix) for name, cov in fixed.items()}
    degrees = {name: cov.df if len(cov.n_clusters) == 2 else np.inf for name, cov in covariances.items()}
    degrees |= {name + FIXED_WEIGHTS: df for name, df in degrees.items() if name in fixed}
    firms = None if rows.firm is None else len(np.unique(rows.firm[used]))
    ones = np.ones(len(used))
    return GroupResult(
        group.name,
        counted(ones, rows.y[used], ones[rows.treated[used]], firms),
        MARGINAL_SCALES,
        risk_values(means.risks),
        made,
        degrees=degrees,
        notes=(*_use_notes(means.use), *_score_notes(sets), NOTE, *cluster_notes(rows, used, covariances)),
    )


def _covariances(
    rows: Rows, errors: MatchedErrors, model: WeightScores | None
) -> tuple[dict[str, Covariance], dict[str, Covariance]]:
    """Covariance of the two means per choice of clusters, and with the propensity taken as known where it is not."""
    whole = errors
    if model is not None:
        whole = MatchedErrors(errors.means, errors.residual, errors.scale, model.scores, model.positions)
    found, fixed = {}, {}
    for choice in rows.clusterings:
        if choice.correction == "cr3":
            raise SettingsError('"cr3" bends the fit of a regression; for estimator="matching" use another.')
        found[choice.name] = whole.covariance(choice.dimensions, choice.correction)
        if model is not None:
            fixed[choice.name] = errors.covariance(choice.dimensions, choice.correction)
    return found, fixed


def _use_notes(use: Floats) -> tuple[str, ...]:
    """Say how few controls carry the comparison."""
    there = use[use > 0]
    effective = 1.0 / float(there @ there)
    return (f"{len(there)} controls in use count as {effective:.0f}; the largest has {there.max():.1%} of the weight",)


def _score_notes(sets: MatchedSets) -> tuple[str, ...]:
    return () if sets.propensity is None else ("errors include the estimation of the propensity",)


def _positive(weight: Floats) -> Floats:
    """Weights of a design to divide by; rows it leaves out play no part."""
    return np.where(weight > 0, weight, 1.0)
