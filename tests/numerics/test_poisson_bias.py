"""Poisson with sender x year, receiver x year and pair effects: bias, and errors that the effects make too small."""

import numpy as np
import pandas as pd
import pytest

from missie_impact.effects import PoissonOptions, poisson_effect
from missie_impact.errors import SettingsError
from missie_impact.numerics.covariance import clusters_of, covariance
from missie_impact.numerics.poisson import fit_poisson, poisson_scores
from missie_impact.numerics.poisson_bias import three_way_bias, three_way_covariance

TRUTH = 0.5


def gravity(rng, n=16, years=3):
    """Trade of all pairs of n countries; a covariate that goes with the effects, variance equal to the mean."""
    grid = np.meshgrid(np.arange(n), np.arange(n), np.arange(years), indexing="ij")
    sender, receiver, year = (a[grid[0] != grid[1]] for a in grid)
    of_sender, of_receiver = rng.normal(0, 0.25, (n, years)), rng.normal(0, 0.25, (n, years))
    x = rng.normal(0, 0.7, (n, n, years)) + of_sender[:, None] + of_receiver[None]
    x = x[sender, receiver, year]
    effect = of_sender[sender, year] + of_receiver[receiver, year] + rng.normal(0, 0.25, (n, n))[sender, receiver]
    mean = np.exp(TRUTH * x + effect)
    spread = np.log1p(1 / mean)
    y = mean * np.exp(np.sqrt(spread) * rng.normal(size=len(mean)) - spread / 2)
    return y, x, sender, receiver, year


def fitted(y, x, sender, receiver, year):
    return fit_poisson(y, x[:, None], [sender * 9 + year, receiver * 9 + year, sender * 99 + receiver])


def test_the_correction_moves_the_estimate_to_the_truth_and_the_error_to_the_spread():
    rng, found = np.random.default_rng(2), []
    for _ in range(250):
        y, x, *codes = gravity(rng)
        fit = fitted(y, x, *codes)
        pairs = clusters_of(codes[0], codes[1])
        plain = covariance(poisson_scores(fit), [pairs], correction="g_over_gm1").matrix[0, 0]
        moved = fit.coef[0] - three_way_bias(fit, *codes)[0]
        found.append((fit.coef[0], moved, np.sqrt(plain), np.sqrt(three_way_covariance(fit, *codes, pairs)[0, 0])))
    raw, moved, plain, corrected = np.array(found).T
    assert abs(moved.mean() - TRUTH) < abs(raw.mean() - TRUTH)
    before, after = plain.mean() / raw.std(ddof=1), corrected.mean() / moved.std(ddof=1)
    assert before < 0.92
    assert abs(1 - after) < 0.65 * (1 - before)  # what is left are products of sender and receiver effects


def test_the_errors_of_the_effect_are_the_corrected_ones_where_clusters_hold_pairs():
    y, x, sender, receiver, year = gravity(np.random.default_rng(4))
    table = pd.DataFrame({"y": y, "x": x, "from": sender, "to": receiver, "year": year})
    settings = {
        "effects": ["from^year", "to^year", "from^to"],
        "options": PoissonOptions(three_way=("from", "to", "year")),
    }
    found = poisson_effect(table, "y", "x", cluster=("from", "to"), **settings)
    fit = fitted(y, x, sender, receiver, year)
    expected = three_way_covariance(fit, sender, receiver, year, clusters_of(sender, receiver))
    assert found.coefficients["std_error"].iloc[0] == pytest.approx(np.sqrt(expected[0, 0]))
    by_year = poisson_effect(table, "y", "x", cluster="year", **settings)
    assert any("do not hold whole pairs" in note for note in by_year.notes)
    with pytest.raises(SettingsError, match="whole pairs"):
        three_way_covariance(fit, sender, receiver, year, clusters_of(year))
