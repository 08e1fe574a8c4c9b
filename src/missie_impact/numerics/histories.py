"""Survival of the treated with and without treatment, year by year, from a discrete-time hazard model.

Each treated unit is followed over years 1 .. K in both worlds by its predicted hazards. Averaged over the units this
gives two expected histories: who is at risk in a year and who exits. Everything reported is a function of them, among
it the marginal hazard ratio: the coefficient of a complementary log-log model with a dummy per year, fitted to both
expected histories. Errors come from the stacked equations of model and means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from missie_impact.errors import SettingsError
from missie_impact.numerics.binomial import BinomialFit, fit_binomial
from missie_impact.numerics.cells import Design, Factor, Floats
from missie_impact.numerics.contrasts import Estimates, Means, stack_means, weight_share
from missie_impact.numerics.covariance import Clusters, Correction, Scores
from missie_impact.numerics.design import build_design
from missie_impact.numerics.links import LinkName, get_link


@dataclass(frozen=True, slots=True)
class Histories:
    """Follow-up years 1 .. K of U treated units in the two worlds.

    Attributes
    ----------
    treated, untreated : designs of K * U rows, year by year: row k * U + u is year k + 1 of unit u, whether or not the
        unit was still there; columns as in the fit
    n_years : K
    weight : (U,) weight of each unit; frequency times probability
    clusters : of the units, numbered as those of the fit, one per dimension
    followed : (K, U) whether the year lies within the data window of the unit; None for always. A matter of the
        calendar only, never of what the unit did
    """

    treated: Design
    untreated: Design
    n_years: int
    weight: Floats
    clusters: tuple[Clusters, ...] = ()
    followed: NDArray[np.bool_] | None = None


def standardised_survival(
    fit: BinomialFit,
    scores: Scores,
    histories: Histories,
    clusters: Sequence[Clusters],
    *,
    correction: Correction = "g_over_gm1",
    difference_years: Sequence[int] = (1, 3, 5),
) -> Estimates:
    """Estimate expected survival of the treated with and without treatment, and their contrasts.

    Parameters
    ----------
    fit, scores : the hazard model of whatever link, and its score equations
    histories : the treated units in both worlds
    clusters : of the rows of the fit, one or two dimensions
    difference_years : years after which survival is compared; those beyond K are left out

    Returns
    -------
    Estimates
        For k = 1 .. K ``hazard_1_year_k``, ``hazard_0_year_k`` (exit in year k given at risk), ``survival_1_year_k``,
        ``survival_0_year_k``; ``survival_difference_k``; and ``log_hazard_ratio``, whose exponential is the marginal
        hazard ratio of the treated (``hr_marginal_att``), not the coefficient of the model.

    Raises
    ------
    SettingsError
        If the designs do not hold K rows per unit, a year has nobody followed, or no cluster is given.
    """
    if not clusters or not histories.clusters:
        raise SettingsError("survival of units needs clusters, at least the unit itself: its years hang together.")
    means = expected_histories(fit.coef, fit.link, histories)
    stacked = stack_means(means, scores, clusters, correction)
    return stacked.transform(*history_contrasts(means.value, histories.n_years, difference_years))


def history_contrasts(
    value: Floats, n_years: int, difference_years: Sequence[int] = (1, 3, 5)
) -> tuple[list[str], Floats, Floats]:
    """Return what :func:`standardised_survival` reports as functions of the means of `expected_histories`.

    Parameters
    ----------
    value : (4 K,) the means, whatever model predicted them

    Returns
    -------
    names, values (r,) and derivative (r, 4 K)
    """
    k = n_years
    parts = [_hazards(value, k), _hazard_ratio(value, k)]
    found, gradient = np.concatenate([p[0] for p in parts]), np.vstack([p[1] for p in parts])
    names = [f"{what}_{arm}_year_{j}" for what in ("hazard", "survival") for arm in (1, 0) for j in range(1, k + 1)]
    years = [j for j in difference_years if 1 <= j <= k]
    start = 2 * k
    treated, untreated = ([start + arm * k + j - 1 for j in years] for arm in (0, 1))
    found = np.concatenate([found, found[treated] - found[untreated]])
    gradient = np.vstack([gradient, gradient[treated] - gradient[untreated]])
    return [*names, "log_hazard_ratio", *(f"survival_difference_{j}" for j in years)], found, gradient


def expected_histories(coef: Floats, link: LinkName, histories: Histories) -> Means:
    """Average the units' histories: share at risk and share exiting per year and world.

    Returns
    -------
    Means
        4 K means: at risk in years 1 .. K and exits in years 1 .. K with treatment, then the same without.
    """
    share, k, u = weight_share(histories.weight), histories.n_years, len(histories.weight)
    followed = np.ones((k, u)) if histories.followed is None else histories.followed.astype(np.float64)
    if followed.shape != (k, u) or any(d.n_rows != k * u for d in (histories.treated, histories.untreated)):
        raise SettingsError(f"expected {k} years of {u} units in the designs and in followed, found other shapes.")
    if not ((followed @ share) > 0).all():
        raise SettingsError(f"nobody is followed in some of the {k} years; ask for fewer years.")
    value, gradient, moment = [], [], []
    for design in (histories.treated, histories.untreated):
        of_unit, slopes = _unit_histories(coef, link, design, followed)
        mean = of_unit @ share
        value.append(mean)
        moment.append(share * (of_unit - mean[:, None]))
        gradient += [design.sums((share * part).reshape(-1)) for part in slopes]
    names = tuple(f"{what}_{arm}_{j}" for arm in (1, 0) for what in ("at_risk", "exit") for j in range(1, k + 1))
    return Means(names, np.concatenate(value), np.array(gradient), np.vstack(moment).T, histories.clusters)


def _unit_histories(coef: Floats, link: LinkName, design: Design, followed: Floats) -> tuple[Floats, list[Floats]]:
    """At risk and exit of each unit, (2 K, U), and for each of the 2 K its derivative in the K predictors, (K, U)."""
    k, u = followed.shape
    functions, eta = get_link(link), design.predict(coef)
    survival = np.exp(np.cumsum(functions.log_survival(eta).reshape(k, u), axis=0))
    slope = functions.log_survival_slope(eta).reshape(k, u)
    before = np.vstack([np.ones(u), survival[:-1]])
    at_risk, staying, at_risk_slopes, exit_slopes = followed * before, followed * survival, [], []
    for j in range(k):
        earlier = (np.arange(k) < j)[:, None]
        to_date = (np.arange(k) <= j)[:, None]
        at_risk_slopes.append(earlier * slope * at_risk[j])
        exit_slopes.append(at_risk_slopes[j] - to_date * slope * staying[j])
    return np.vstack([at_risk, at_risk - staying]), at_risk_slopes + exit_slopes


def _hazards(value: Floats, k: int) -> tuple[Floats, Floats]:
    """Hazards and survival of both worlds, (4 K,), and their derivative in the means, (4 K, 4 K)."""
    hazard, survival = np.zeros((2, k)), np.zeros((2, k))
    d_hazard, d_survival = np.zeros((2, k, 4 * k)), np.zeros((2, k, 4 * k))
    for arm in range(2):
        first = 2 * k * arm
        at_risk, exits = value[first : first + k], value[first + k : first + 2 * k]
        hazard[arm] = exits / at_risk
        survival[arm] = np.cumprod(1.0 - hazard[arm])
        for j in range(k):
            d_hazard[arm, j, first + k + j] = 1.0 / at_risk[j]
            d_hazard[arm, j, first + j] = -hazard[arm, j] / at_risk[j]
        with np.errstate(divide="ignore", invalid="ignore"):  # where everybody leaves nothing more can be said
            slopes = -d_hazard[arm] / (1.0 - hazard[arm])[:, None]
            d_survival[arm] = survival[arm][:, None] * np.cumsum(slopes, axis=0)
    levels = np.concatenate([hazard.reshape(-1), survival.reshape(-1)])
    return levels, np.vstack([d_hazard.reshape(2 * k, -1), d_survival.reshape(2 * k, -1)])


def _hazard_ratio(value: Floats, k: int) -> tuple[Floats, Floats]:
    """Coefficient of a cloglog with year dummies on the 2 K cells, (1,), and its derivative in the means, (1, 4 K)."""
    at_risk = np.concatenate([value[:k], value[2 * k : 3 * k]])
    exits = np.concatenate([value[k : 2 * k], value[3 * k :]])
    world = Factor("treated", np.repeat([1, 0], k), ("0", "1"))
    year = Factor("year", np.tile(np.arange(k), 2), tuple(str(j + 1) for j in range(k)))
    design = build_design([world, year], [])
    share = exits / at_risk
    fit = fit_binomial(share, design, link="cloglog", frequency=at_risk, tolerance=1e-12)
    x = design.written_out()
    link, eta = get_link("cloglog"), x @ fit.coef
    one, zero = link.terms(np.ones(2 * k), eta), link.terms(np.zeros(2 * k), eta)
    observed = exits * one.observed + (at_risk - exits) * zero.observed
    # The score equations hold at the optimum, so the coefficients move with the cells as the implicit function says.
    row = linalg.solve(x.T @ (x * observed[:, None]), x.T, assume_a="pos")[1]
    d_at_risk, d_exits = row * zero.score, row * (one.score - zero.score)
    gradient = np.concatenate([d_at_risk[:k], d_exits[:k], d_at_risk[k:], d_exits[k:]])
    return fit.coef[1:2], gradient[None, :]
