"""Links of a binary outcome: log likelihood, score, expected and observed information of a row, safe in the tails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy import special

from missie_impact.errors import SettingsError
from missie_impact.numerics.cells import Floats

LinkName = Literal["logit", "cloglog", "probit"]

LARGEST_ETA = 700.0  # exp() of it is still finite
_LOG_SQRT_2_PI = 0.5 * np.log(2 * np.pi)


@dataclass(frozen=True, slots=True)
class RowTerms:
    """What a row adds, per unit of weight. Each (n,).

    Attributes
    ----------
    log_likelihood : of the row
    score : its derivative in the linear predictor
    expected : expected information (R's ``glm`` and ``sandwich``)
    observed : minus the second derivative
    """

    log_likelihood: Floats
    score: Floats
    expected: Floats
    observed: Floats


@dataclass(frozen=True, slots=True)
class Link:
    """One link.

    Attributes
    ----------
    name : its name in R
    terms : (y, eta) to `RowTerms`; y is 0 or 1, or the share of events among equal rows
    quick : (y, eta) to log likelihood, score and expected information only, for the passes over the data
    probability : eta to P(y = 1)
    density : eta to its derivative
    log_survival : eta to log P(y = 0)
    log_survival_slope : eta to its derivative
    eta : P(y = 1) to the linear predictor
    """

    name: LinkName
    terms: Callable[[Floats, Floats], RowTerms]
    quick: Callable[[Floats, Floats], tuple[Floats, Floats, Floats]]
    probability: Callable[[Floats], Floats]
    density: Callable[[Floats], Floats]
    log_survival: Callable[[Floats], Floats]
    log_survival_slope: Callable[[Floats], Floats]
    eta: Callable[[Floats], Floats]


def get_link(name: LinkName) -> Link:
    """Return the link of that name."""
    if name not in LINKS:
        raise SettingsError(f"expected a link among {list(get_args(LinkName))}, found {name!r}.")
    return LINKS[name]


# ---- logit -----------------------------------------------------------------------------------------------------


def _logit_quick(y: Floats, eta: Floats) -> tuple[Floats, Floats, Floats]:
    small = np.exp(-np.abs(eta))
    p = np.where(eta >= 0, 1.0, small) / (1.0 + small)
    # log(1 - p) = min(0, -eta) - log1p(exp(-|eta|)); an event adds eta
    log_likelihood = y * eta + np.minimum(-eta, 0.0) - np.log1p(small)
    return log_likelihood, y - p, small / (1.0 + small) ** 2


def _logit_terms(y: Floats, eta: Floats) -> RowTerms:
    log_likelihood, score, information = _logit_quick(y, eta)
    return RowTerms(log_likelihood, score, information, information)


def _logit_density(eta: Floats) -> Floats:
    small = np.exp(-np.abs(eta))
    density: Floats = small / (1.0 + small) ** 2
    return density


# ---- complementary log-log ------------------------------------------------------------------------------------


def _rate(eta: Floats) -> Floats:
    rate: Floats = np.exp(np.minimum(eta, LARGEST_ETA))
    return rate


def _event_score(rate: Floats) -> Floats:
    """Score of an event: rate / (exp(rate) - 1), one at zero."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        score: Floats = rate / np.expm1(rate)
    return np.where(rate < np.finfo(float).tiny, 1.0, score)


def _log_event(rate: Floats, eta: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        exact = np.log(-np.expm1(-rate))
    return np.where(rate < 1e-12, eta, exact)


def _cloglog_quick(y: Floats, eta: Floats) -> tuple[Floats, Floats, Floats]:
    rate = _rate(eta)
    event_score = _event_score(rate)
    log_likelihood = (y - 1.0) * rate
    events = np.flatnonzero(y > 0)  # the logarithm is dear and most rows have no event
    log_likelihood[events] += y[events] * _log_event(rate[events], eta[events])
    return log_likelihood, y * (event_score + rate) - rate, rate * event_score


def _cloglog_terms(y: Floats, eta: Floats) -> RowTerms:
    log_likelihood, score, expected = _cloglog_quick(y, eta)
    rate = _rate(eta)
    event_score = _event_score(rate)
    # derivative of the event's score; below 1e-4 the difference would lose digits
    excess = np.where(rate < 1e-4, rate / 2 + np.minimum(rate, 1.0) ** 2 / 12, rate + event_score - 1.0)
    observed = y * event_score * excess + (1.0 - y) * rate
    return RowTerms(log_likelihood, score, expected, observed)


def _cloglog_density(eta: Floats) -> Floats:
    rate = _rate(eta)
    density: Floats = rate * np.exp(-rate)
    return density


def _cloglog_probability(eta: Floats) -> Floats:
    probability: Floats = -np.expm1(-_rate(eta))
    return probability


def _cloglog_eta(p: Floats) -> Floats:
    eta: Floats = np.log(-np.log1p(-p))
    return eta


# ---- probit ----------------------------------------------------------------------------------------------------


def _mills(eta: Floats) -> Floats:
    """Density over distribution function, phi(eta) / Phi(eta)."""
    with np.errstate(over="ignore"):
        mills: Floats = np.sqrt(2 / np.pi) / special.erfcx(-eta / np.sqrt(2))
    return mills


def _mills_plus(eta: Floats) -> Floats:
    """phi(eta) / Phi(eta) + eta, by its series where the difference would lose digits."""
    far = np.minimum(eta, -500.0)
    return np.where(eta < -500.0, -1 / far + 2 / far**3, _mills(eta) + eta)


def _probit_terms(y: Floats, eta: Floats) -> RowTerms:
    event, other = _mills(eta), _mills(-eta)
    log_likelihood = y * special.log_ndtr(eta) + (1.0 - y) * special.log_ndtr(-eta)
    observed = y * event * _mills_plus(eta) + (1.0 - y) * other * _mills_plus(-eta)
    return RowTerms(log_likelihood, y * event - (1.0 - y) * other, event * other, observed)


def _probit_quick(y: Floats, eta: Floats) -> tuple[Floats, Floats, Floats]:
    event, other = _mills(eta), _mills(-eta)
    log_likelihood = y * special.log_ndtr(eta) + (1.0 - y) * special.log_ndtr(-eta)
    return log_likelihood, y * event - (1.0 - y) * other, event * other


def _probit_density(eta: Floats) -> Floats:
    density: Floats = np.exp(-0.5 * eta**2 - _LOG_SQRT_2_PI)
    return density


LINKS: Mapping[str, Link] = {
    "logit": Link(
        "logit",
        _logit_terms,
        _logit_quick,
        lambda eta: np.asarray(special.expit(eta)),
        _logit_density,
        lambda eta: np.asarray(special.log_expit(-eta)),
        lambda eta: np.asarray(-special.expit(eta)),
        lambda p: np.asarray(special.logit(p)),
    ),
    "cloglog": Link(
        "cloglog",
        _cloglog_terms,
        _cloglog_quick,
        _cloglog_probability,
        _cloglog_density,
        lambda eta: -_rate(eta),
        lambda eta: -_rate(eta),
        _cloglog_eta,
    ),
    "probit": Link(
        "probit",
        _probit_terms,
        _probit_quick,
        lambda eta: np.asarray(special.ndtr(eta)),
        _probit_density,
        lambda eta: np.asarray(special.log_ndtr(-eta)),
        lambda eta: -_mills(-eta),
        lambda p: np.asarray(special.ndtri(p)),
    ),
}
