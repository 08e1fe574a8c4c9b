"""Hazards with a random effect per firm or pair: effects given it, its variance, survival with it integrated out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.effects.becoming.transition import OUTCOMES
from missie_impact.effects.fitting.estimate import DEFAULT_OPTIONS, FitOptions, Task, put_together
from missie_impact.effects.fitting.groups import each_group, estimate_group, flow_of, spread
from missie_impact.effects.fitting.model import Fitted
from missie_impact.effects.fitting.rows import Group, Request, Source, parts
from missie_impact.effects.fitting.standardise import conditional_scales
from missie_impact.effects.leaving.frailty_rows import EffectRows, Frailty, nearest_followed, read_effect_rows
from missie_impact.effects.leaving.frailty_scales import Integrated, frailty_covariances, frailty_scales
from missie_impact.effects.result import Effect, Fit, GroupResult
from missie_impact.effects.survival.followed import weights_note
from missie_impact.errors import SettingsError
from missie_impact.numerics.covariance import clusters_of
from missie_impact.numerics.frailty import (
    FrailtyFit,
    fit_gaussian_frailty,
    frailty_loglik_at,
    frailty_scores,
    predicted_effects,
)
from missie_impact.numerics.frailty_data import FrailtyData, frailty_data
from missie_impact.numerics.gamma_frailty import (
    GammaFrailtyFit,
    fit_gamma_frailty,
    gamma_loglik_at,
    gamma_predicted_effects,
    gamma_scores,
)
from missie_impact.numerics.links import LinkName

__all__ = ["Frailty", "FrailtyKept", "frailty_effect"]

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]

ASSUMED = {
    "gaussian": "assumed: the effect is normal at the origin of the spells and independent of the covariates, the "
    "treatment among them",
    "gamma": "assumed: the effect multiplies the hazard, is gamma with mean one at the origin of the spells and "
    "independent of the covariates, the treatment among them",
}
AT_ZERO = (
    "a variance of zero rests on the hazard assumed for the years before entry, in which nobody was followed: read the "
    "fit as one without an effect, take a coarser level such as 'firm', or trials, whose clock starts at time zero"
)
IN_TRIALS = (
    "the clock is time since eligibility: the effect's distribution is that among units eligible at time zero; each "
    "trial of a unit enters as a draw of its own, errors are clustered"
)


class FrailtyKept(Fit):
    """Rows behind a fit with a random effect. It cannot be saved: it holds microdata.

    Attributes
    ----------
    model : the fit; coefficients in the order of ``Effect.coefficients``
    scores : (G, k + 1) score of each unit
    rows : positions of the rows in the collected risk set, those before entry last
    data, keys, frailty, link : what it was fitted on
    """

    __slots__ = ("data", "frailty", "keys", "link")

    def __init__(self, integrated: Integrated, scores: Floats, rows: Positions, keys: pd.DataFrame) -> None:
        super().__init__(integrated.fit, scores, rows)
        self.data: FrailtyData = integrated.data
        self.keys, self.frailty, self.link = keys, integrated.frailty, integrated.link

    def loglik_at(self, coef: Floats, variance: float) -> float:
        """Log likelihood at given coefficients and variance of the effect."""
        if self.frailty.distribution == "gamma" and variance > 0:
            return gamma_loglik_at(np.asarray(coef, dtype=np.float64), variance, self.data)
        return frailty_loglik_at(
            np.asarray(coef, dtype=np.float64), float(np.sqrt(variance)), self.data, link=self.link,
            points=self.frailty.points,
        )  # fmt: skip

    def predicted_effects(self) -> pd.DataFrame:
        """Return the empirical Bayes prediction of each unit's effect: its keys, ``effect`` and ``std_dev``.

        On the linear predictor (gaussian), or as multiplier of the hazard (gamma), given all rows of the unit.
        """
        fit = self.model
        if self.frailty.distribution == "gamma" and fit.variance > 0:
            mean, spread_ = gamma_predicted_effects(fit.coef, fit.variance, self.data)
        elif self.frailty.distribution == "gamma":
            mean, spread_ = np.ones(len(self.data.starts)), np.zeros(len(self.data.starts))
        else:
            mean, spread_ = predicted_effects(
                fit.coef, fit.sd, self.data, link=self.link, points=self.frailty.points
            )  # fmt: skip
        return self.keys.assign(effect=mean, std_dev=spread_)

    def __repr__(self) -> str:
        return f"FrailtyKept({len(self.data.starts)} units; holds microdata, cannot be saved)"


@dataclass(frozen=True, slots=True)
class _Settings:
    frailty: Frailty
    link: LinkName
    request: Request
    horizon: int


def frailty_effect(
    source: Source,
    request: Request,
    frailty: Frailty,
    link: LinkName,
    options: FitOptions = DEFAULT_OPTIONS,
    *,
    keep_fit: bool = False,
    horizon: int = 5,
) -> Effect:
    """Estimate the effect of the treatment on a yearly hazard whose rows share a random effect per firm or pair.

    The likelihood of a unit is the product of its rows' likelihoods, integrated over the effect. Spells that enter late
    are conditioned on having survived: rows before entry, from the origin on, must be there.

    Parameters
    ----------
    source : risk set, own table, or design made on one; probability weights must be the same in all rows of a unit
    request : controls, baseline, subgroups and clusters, as an exit model reads them
    frailty : whose effect, its distribution, firm means
    link : "cloglog" or "logit"; gamma takes "cloglog" only
    options : level of the intervals, errors and other settings that are rarely changed
    keep_fit : keep `FrailtyKept` per group: log likelihood at other parameters, predicted effects
    horizon : years of standardised survival where rows are no trials

    Returns
    -------
    Effect
        ``hazard_ratio_conditional`` and ``log_hazard`` (logit: ``odds_ratio_conditional``, ``log_odds``), given the
        effect; ``frailty_variance`` (gaussian also ``frailty_sd``), whose p value is that of the 50:50 mixture; and,
        over the treated, with the effect integrated out given survival to their first treated row: ``hazard_ratio``
        (marginal), ``survival_difference_1/3/5``, ``yearly_exit_probability_with`` and ``_without``,
        ``survival_with_1/3/5``, ``survival_without_1/3/5``. The log likelihood stands in each group's result.

    Raises
    ------
    SettingsError
        If spells enter late without rows before entry, began before the data, weights vary within a unit, or a unit
        lies in several clusters of the errors.

    References
    ----------
    van den Berg and Drepper (2016), Econometric Reviews 35, 1075-1098; Self and Liang (1987), JASA 82, 605-610;
    Mundlak (1978), Econometrica 46, 69-85.
    """
    if link not in ("cloglog", "logit"):
        raise SettingsError(f"frailty: expected the link 'cloglog' or 'logit', found {link!r}.")
    if frailty.distribution == "gamma" and link != "cloglog":
        raise SettingsError("a gamma effect multiplies a hazard: expected the link 'cloglog'; use 'gaussian' instead.")
    risk, _ = parts(source)
    rows = read_effect_rows(source, request, frailty)
    settings = _Settings(frailty, link, request, horizon)
    fits: dict[str, Fit] = {}
    whole: list[Fitted] = []

    def one(group: Group) -> GroupResult:
        result, fitted, kept = _estimate(rows, group, settings)
        whole[:] = whole or [fitted]
        fits[group.name] = kept
        return result

    results = each_group(rows.rows, one)
    outcome = OUTCOMES.get(risk.question, risk.roles.outcome)
    words = f"{link} hazard with a {'normal' if frailty.distribution == 'gaussian' else 'gamma'} effect per "
    words += frailty.level if isinstance(frailty.level, str) else " x ".join(frailty.level)
    task = Task(outcome, link, words, "treated", conditional_scales)
    made = put_together(source, rows.rows, results, task, options, flow_of(risk.flow, whole[0]))
    said = [ASSUMED[frailty.distribution], *rows.notes, *([IN_TRIALS] if risk.design == "trials" else [])]
    said += [weights_note(rows.rows, included=False)] if rows.rows.probability is not None else []
    return replace(made, notes=(*made.notes, *said), fits=fits if keep_fit else None)


def _estimate(rows: EffectRows, group: Group, settings: _Settings) -> tuple[GroupResult, Fitted, Fit]:
    inside = group.rows & rows.everyone
    merged, maps, notes = nearest_followed(rows, np.flatnonzero(inside))
    pooled, fitted, _ = estimate_group(merged, Group(group.name, inside), settings.link, conditional_scales)
    integrated, keys, positions = _fit(rows, fitted, settings)
    made = frailty_scales(integrated, rows, maps, settings.request, settings.horizon)
    covariances = frailty_covariances(integrated, made, rows)
    k, size = len(integrated.fit.coef), len(pooled.terms)
    fit = integrated.fit
    ratio = 2 * max(fit.log_likelihood - fit.log_likelihood_pooled, 0.0)
    if integrated.variance == 0 and not rows.everyone.all():
        notes = [*notes, AT_ZERO]
    tested = f"no effect at all: likelihood ratio {ratio:.4g}, p {fit.p_value:.3g} by the 50:50 mixture"
    result = replace(
        pooled,
        scales=made.names,
        values=made.values,
        covariances=covariances.scales,
        coef=np.concatenate([fit.coef, pooled.coef[k:]]),
        coef_covariances={name: spread(v, list(range(k)), size) for name, v in covariances.coefficients.items()},
        degrees=covariances.degrees,
        notes=(*pooled.notes, *notes, tested, *fit.notes, *made.notes),
        log_likelihood=fit.log_likelihood,
        tests={name: fit.p_value for name in made.names if name.startswith("frailty_")},
    )
    return result, fitted, FrailtyKept(integrated, covariances.scores, positions, keys)


def _fit(rows: EffectRows, fitted: Fitted, settings: _Settings) -> tuple[Integrated, pd.DataFrame, Positions]:
    """Fit with the effect, on the rows of the pooled fit and the rows before entry of their spells."""
    frailty, all_rows = settings.frailty, fitted.rows
    alive = np.zeros(rows.spell.count, dtype=bool)
    alive[rows.spell.codes[fitted.used]] = True
    early = np.flatnonzero(~rows.everyone & alive[rows.spell.codes])
    positions = np.concatenate([fitted.used, early])
    design = fitted.world(positions, all_rows.treated[positions].astype(np.intp))
    if design.offset is not None:  # survived, whatever the level's later rows say
        design = replace(design, offset=np.minimum(design.offset, 0.0))
    found, compact = np.unique(rows.effect.codes[positions], return_inverse=True)
    cluster = clusters_of(compact.reshape(-1))
    weight = _unit_weights(all_rows.probability, positions, cluster.codes, frailty)
    data = frailty_data(
        all_rows.y[positions],
        design,
        cluster.codes,
        frequency=None if all_rows.frequency is None else all_rows.frequency[positions],
        cluster_weight=weight,
        before_entry=~rows.everyone[positions],
    )
    model: FrailtyFit | GammaFrailtyFit
    if frailty.distribution == "gamma":
        model = fit_gamma_frailty(data)
    else:
        most = max(frailty.points, frailty.most_points)
        model = fit_gaussian_frailty(data, link=settings.link, points=frailty.points, most_points=most)
        frailty = replace(frailty, points=model.points)
    sorted_positions = positions[np.argsort(cluster.codes, kind="stable")]
    integrated = Integrated(
        model, data, fitted, sorted_positions, frailty, settings.link, _scores(model, data, frailty)
    )
    return integrated, rows.keys.iloc[found].reset_index(drop=True), positions


def _scores(fit: FrailtyFit | GammaFrailtyFit, data: FrailtyData, frailty: Frailty) -> Floats:
    """Score of each unit in the coefficients and, unless it is zero, the variance's parameter."""
    if isinstance(fit, GammaFrailtyFit):
        if fit.variance > 0:
            return gamma_scores(fit.coef, fit.variance, data)
        return frailty_scores(fit.coef, 0.0, data, points=frailty.points)[:, :-1]
    scores = frailty_scores(fit.coef, fit.sd, data, link=fit.link, points=frailty.points)
    return scores if fit.sd > 0 else scores[:, :-1]


def _unit_weights(
    probability: Floats | None, positions: Positions, cluster: Positions, frailty: Frailty
) -> Floats | None:
    if probability is None:
        return None
    weight, count = probability[positions], int(cluster.max()) + 1
    low, high = np.full(count, np.inf), np.zeros(count)
    np.minimum.at(low, cluster, weight)
    np.maximum.at(high, cluster, weight)
    varying = int(np.count_nonzero(high - low > 1e-9 * high))
    if varying:
        raise SettingsError(
            f"probability weights differ between the rows of {varying} of {count} units of level {frailty.level!r}: a "
            "unit is drawn, matched or weighted as a whole. Use a finer level such as 'pair', or no weights."
        )
    return high
