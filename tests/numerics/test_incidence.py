"""Competing exits by hand and against R: incidence, its errors, delayed entry, clusters."""

import numpy as np
import pytest

from missie_impact.errors import EmptyTableError, SettingsError
from missie_impact.numerics.covariance import clusters_of
from missie_impact.numerics.incidence import cumulative_incidence, exit_rows, incidence_std_error
from missie_impact.numerics.survival import kaplan_meier


def test_six_pairs_by_hand():
    # year 1: one exit, one death of six; year 2: one exit of three (one censored at 1); year 3: one death of two
    rows = exit_rows([1, 1, 1, 2, 3, 3], [1, 2, 0, 1, 2, 0])
    curves = cumulative_incidence(rows)
    np.testing.assert_allclose(curves.at_risk, [6, 3, 2])
    survival = [4 / 6, 4 / 6 * 2 / 3, 4 / 6 * 2 / 3 * 1 / 2]
    np.testing.assert_allclose(curves.survival, survival)
    np.testing.assert_allclose(curves.incidence[:, 0], [1 / 6, 1 / 6 + 4 / 6 / 3, 1 / 6 + 4 / 6 / 3])
    np.testing.assert_allclose(curves.incidence.sum(axis=1) + curves.survival, 1)
    np.testing.assert_allclose(curves.at([0.5, 2]), [[0, 0], curves.incidence[1]])


def test_progression_and_death(cases):
    table, reference = cases.load("mgus2_competing_risks")
    progressed = table["pstat"] == 1
    time = np.where(progressed, table["ptime"], table["futime"])
    cause = np.where(progressed, 1, 2 * table["death"])
    expected = reference["aalen_johansen"]
    for sex, name in (("F", "female"), ("M", "male")):
        chosen = (table["sex"] == sex).to_numpy()
        rows = exit_rows(time[chosen], cause[chosen])
        found = cumulative_incidence(rows).at(expected["months"])
        np.testing.assert_allclose(found[:, 0], expected[name]["progression"], rtol=1e-10)
        np.testing.assert_allclose(found[:, 1], expected[name]["death"], rtol=1e-10)
        errors = incidence_std_error(rows, expected["months"])
        np.testing.assert_allclose(errors[:, 0], expected[name]["se_progression"], rtol=1e-6)
        wrong = 1 - kaplan_meier(time[chosen], cause[chosen] == 1).survival_at(expected["months"])
        np.testing.assert_allclose(wrong, reference["one_minus_km_progression"][name], rtol=1e-10)
        assert (wrong > found[:, 0]).all()  # treating death as censoring overstates


def test_three_kinds_of_exit_with_heavy_ties(cases):
    table, reference = cases.load("unempdur_discrete_hazard")
    cause = np.select([table["censor1"] == 1, table["censor2"] == 1, table["censor3"] == 1], [1, 2, 3], 0)
    expected = reference["cumulative_incidence"]
    for label, values in zip(expected["rows"], expected["values"], strict=True):
        ui, kind = label.split()
        chosen = ((table["ui"] == "yes") == (ui == "1")).to_numpy()
        curves = cumulative_incidence(exit_rows(table["spell"][chosen], cause[chosen]))
        np.testing.assert_allclose(curves.at(expected["periods"])[:, int(kind) - 1], values, rtol=1e-10)


def late(seed=0, n=120):
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 3, n)
    return start, start + rng.integers(1, 6, n), rng.integers(0, 3, n), rng.integers(0, 25, n)


def test_errors_are_the_derivative_in_the_weights():
    start, stop, cause, _ = late()
    rows, step, times = exit_rows(stop, cause, start=start), 1e-5, [2, 4, 6]
    errors = incidence_std_error(rows, times)
    squares = np.zeros((3, 3))
    for i in range(len(stop)):
        moved = []
        for sign in (1, -1):
            weight = np.ones(len(stop))
            weight[i] += sign * step
            curves = cumulative_incidence(exit_rows(stop, cause, start=start, frequency=weight))
            incidence = curves.at(times)
            moved.append(np.column_stack([incidence, 1 - incidence.sum(axis=1)]))
        squares += ((moved[0] - moved[1]) / (2 * step)) ** 2
    np.testing.assert_allclose(errors, np.sqrt(squares), rtol=1e-5)


def test_rows_cut_in_years_need_their_clusters_and_then_agree():
    start, stop, cause, _ = late()
    whole = incidence_std_error(exit_rows(stop, cause, start=start), [3, 5], clusters_of(np.arange(len(stop))))
    years = [
        (i, k, k + 1, c if k == e - 1 else 0)
        for i, (s, e, c) in enumerate(zip(start, stop, cause, strict=True))
        for k in range(s, e)
    ]
    unit, begin, end, kind = np.array(years).T
    cut = exit_rows(end, kind, start=begin)
    np.testing.assert_allclose(incidence_std_error(cut, [3, 5], clusters_of(unit)), whole, rtol=1e-9)


def test_without_censoring_the_error_is_that_of_a_share():
    # 40 pairs, all seen for a year: 10 exits, 6 deaths
    rows = exit_rows(np.ones(40), np.repeat([1, 2, 0], [10, 6, 24]))
    np.testing.assert_allclose(
        incidence_std_error(rows, [1])[0], [np.sqrt(p * (1 - p) / 40) for p in (0.25, 0.15, 0.6)], rtol=1e-12
    )


def test_frequency_counts_rows():
    start, stop, cause, firm = late()
    twice = [np.concatenate([v, v]) for v in (start, stop, cause, firm)]
    doubled = exit_rows(stop, cause, start=start, frequency=np.full(len(stop), 2))
    repeated = exit_rows(twice[1], twice[2], start=twice[0])
    for a, b in ((None, None), (clusters_of(firm), clusters_of(twice[3]))):
        np.testing.assert_allclose(incidence_std_error(doubled, [4], a), incidence_std_error(repeated, [4], b))


def test_bad_rows():
    with pytest.raises(EmptyTableError):
        exit_rows([], [])
    with pytest.raises(SettingsError, match="1 of 2 rows do not end after they begin and 1 have a cause"):
        exit_rows([1, 0], [0.5, 1])
