"""Each link against numerical derivatives and in its tails."""

import numpy as np
import pytest
from scipy import stats

from missie_impact.errors import SettingsError
from missie_impact.numerics.links import LINKS, get_link

ETA = np.array([-6.0, -2.5, -0.7, 0.0, 0.4, 1.1, 1.9])
NAMES = sorted(LINKS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("y", [0.0, 1.0, 0.3])
def test_score_and_observed_information_are_derivatives(name, y):
    link, share, step = get_link(name), np.full(len(ETA), y), 1e-5
    up, here, down = (link.terms(share, ETA + d) for d in (step, 0.0, -step))
    np.testing.assert_allclose(here.score, (up.log_likelihood - down.log_likelihood) / (2 * step), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(here.observed, -(up.score - down.score) / (2 * step), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_expected_information_is_the_mean_of_the_observed_one(name):
    link = get_link(name)
    p = link.probability(ETA)
    one, zero = link.terms(np.ones(len(ETA)), ETA), link.terms(np.zeros(len(ETA)), ETA)
    np.testing.assert_allclose(one.expected, p * one.observed + (1 - p) * zero.observed, rtol=1e-9)
    np.testing.assert_allclose(one.expected, p * one.score**2 + (1 - p) * zero.score**2, rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_probability_density_and_survival_agree(name):
    link, step = get_link(name), 1e-6
    p = link.probability(ETA)
    np.testing.assert_allclose(link.eta(p), ETA, rtol=1e-9, atol=1e-12)
    slope = (link.probability(ETA + step) - link.probability(ETA - step)) / (2 * step)
    np.testing.assert_allclose(link.density(ETA), slope, rtol=1e-6)
    np.testing.assert_allclose(link.log_survival(ETA), np.log1p(-p), rtol=1e-9)
    np.testing.assert_allclose(link.log_survival_slope(ETA), -link.density(ETA) / (1 - p), rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_quick_terms_are_the_terms(name):
    link, y = get_link(name), np.array([0, 1, 0, 1, 1, 0, 0.5])
    terms = link.terms(y, ETA)
    for quick, full in zip(link.quick(y, ETA), (terms.log_likelihood, terms.score, terms.expected), strict=True):
        np.testing.assert_allclose(quick, full, rtol=1e-14)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("y", [0.0, 1.0])
def test_far_tails_stay_finite_and_information_positive(name, y):
    eta = np.array([-2000.0, -800.0, -600.0, -40.0, 10.0, 40.0, 600.0, 800.0])
    terms = get_link(name).terms(np.full(len(eta), y), eta)
    for values in (terms.log_likelihood, terms.score, terms.expected, terms.observed):
        assert np.isfinite(values).all()
    assert (terms.expected >= 0).all() and (terms.observed >= 0).all()
    assert (terms.log_likelihood <= 0).all()


def test_tails_have_their_known_limits():
    one = np.ones(1)
    # a cloglog event at a tiny rate: log p = eta; a logit event far left: the same
    assert get_link("cloglog").terms(one, np.array([-800.0])).log_likelihood[0] == pytest.approx(-800.0)
    assert get_link("logit").terms(one, np.array([-800.0])).log_likelihood[0] == pytest.approx(-800.0)
    probit = get_link("probit").terms(one, np.array([-30.0, -600.0])[:1])
    assert probit.log_likelihood[0] == pytest.approx(stats.norm.logcdf(-30.0), rel=1e-12)
    # Mills ratio at -t is t + 1/t - 2/t^3 + ..., and the information tends to one
    assert get_link("probit").terms(one, np.array([-600.0])).observed[0] == pytest.approx(1.0, abs=1e-5)


def test_unknown_link_is_named():
    with pytest.raises(SettingsError, match="expected a link among"):
        get_link("cauchit")
