"""Matched sets with replacement: R's error, brute force on small tables, the seed of the noise, and what is refused."""

import re

import numpy as np
import pandas as pd
import pytest

from missie_impact.design import match, weight
from missie_impact.effects import Bootstrap, FitOptions, market_entry, structural_transition
from missie_impact.errors import NoParticipantError, SettingsError
from missie_impact.numerics.covariance import clusters_of
from missie_impact.numerics.matched import MatchedErrors, matched_means, spread_of_controls

KNOWN = FitOptions(vcov="fixed_weights", correction="cr0")


def sampled(seed=5, n=320, firms=160):
    """Rows of firms with a part in common, participation by x and z."""
    r = np.random.default_rng(seed)
    firm, x, z = r.integers(0, firms, n), r.normal(size=n), r.normal(size=n)
    treated = (r.random(n) < 1 / (1 + np.exp(1.2 - 0.6 * x - 0.4 * z))).astype(int)
    noise = r.normal(size=firms)[firm]
    outcome = (r.random(n) < 1 / (1 + np.exp(0.3 - 0.6 * treated - 0.8 * x + 0.8 * z - noise))).astype(int)
    year = np.arange(n) % 2
    return pd.DataFrame({"firm": firm, "year": year, "x": x, "z": z, "treated": treated, "outcome": outcome})


def free(table):
    """Rows that may serve as controls of other firms."""
    return np.flatnonzero(table["treated"] == 0)


@pytest.fixture(scope="module")
def table(make):
    drawn = sampled()
    return make.risk_set(drawn, firm="firm", year="year").collect(list(drawn.columns))  # in the order of positions


def test_error_of_r_on_lalonde_with_equals_averaged(make):
    # R: Matching::Match(Y, Tr, X = propensity, M = 1, ties = TRUE), one variance of all outcomes
    table, reference = make.load("lalonde_matching")
    risk = make.risk_set(table.assign(y=0, z=table["re78"] == 0), outcome="y", treatment="treat")
    design = match(risk, on=["age", "educ", "race", "married", "nodegree", "re74", "re75"], replace=True)
    on, score = table["treat"].to_numpy() == 1, design.score
    treated, control = np.flatnonzero(on), np.flatnonzero(~on)
    distance = np.abs(score[treated][:, None] - score[control])
    i, j = np.nonzero(distance <= distance.min(axis=1, keepdims=True) + 1e-10)
    y, expected = table["re78"].to_numpy(dtype=float), reference["abadie_imbens_ps_1nn"]
    means = matched_means(y, np.column_stack([treated[i], control[j]]), np.ones(len(y)))
    assert len(i) == expected["n_matched_pairs_incl_ties"]
    difference = means.risks[0] - means.risks[1]
    assert difference == pytest.approx(expected["att"], rel=1e-8)
    gap = y[treated[i]] - y[control[j]] - difference
    scatter = np.sqrt(0.5 * (means.share @ gap**2))
    errors = MatchedErrors(means, np.where(means.use > 0, scatter, 0.0), np.ones(len(y)))
    matrix = errors.covariance([], "cr0").matrix
    assert np.sqrt([1, -1] @ matrix @ [1, -1]) == pytest.approx(expected["se"], rel=1e-8)


def brute_force(table, design, cluster):
    """Risks, and their covariance with the propensity taken as known, by loops over pairs, neighbours and clusters."""
    y, on, score = table["outcome"].to_numpy(), table["treated"].to_numpy() == 1, design.score
    firm, year, treated = table["firm"].to_numpy(), table["year"].to_numpy(), np.flatnonzero(on)
    mates = {t: [c for s, c in design.pairs if s == t] for t in treated}
    with_, without = y[treated].mean(), np.mean([np.mean(y[mates[t]]) for t in treated])
    use, residual, scale = np.zeros(len(y)), np.zeros(len(y)), np.sqrt(4 / 5)
    for t in treated:
        for c in mates[t]:
            use[c] += 1 / len(mates[t]) / len(treated)
    for c in np.flatnonzero(use):
        others = [o for o in free(table) if firm[o] != firm[c] and year[o] == year[c]]
        near = sorted(others, key=lambda o: abs(score[o] - score[c]))[:4]
        residual[c] = y[c] - y[near].mean()
    total = np.zeros((2, 2))
    for g in np.unique(cluster):
        added, b = np.zeros(2), 0.0
        for i in np.flatnonzero(cluster == g):
            if on[i]:
                added += np.array([y[i] - with_, np.mean(y[mates[i]]) - without]) / len(treated)
            b += use[i] * residual[i] * scale
        added[1] += b
        total += np.outer(added, added)
        noise = {}
        for t in treated[cluster[treated] == g]:
            for c in mates[t]:
                part = residual[c] * scale / len(mates[t]) / len(treated)
                noise[cluster[c]] = noise.get(cluster[c], 0.0) + part
        total[1, 1] -= sum(v**2 for v in noise.values()) + 2 * noise.get(g, 0.0) * b
    return with_, without, total, use, residual


@pytest.mark.parametrize("ratio", [1, 3])
@pytest.mark.parametrize("by", ["firm", None])
def test_means_and_errors_by_brute_force(make, table, ratio, by):
    risk = make.risk_set(table, firm="firm", year="year")
    design = match(risk, on=["x", "z"], ratio=ratio, replace=True)
    effect = structural_transition(design, controls=None, cluster=by, estimator="matching", options=KNOWN)
    cluster = table["firm"].to_numpy() if by else np.arange(len(table))
    with_, without, total, _, _ = brute_force(table, design, cluster)
    assert effect.effect("risk_with").estimate == pytest.approx(with_, rel=1e-12)
    assert effect.effect("risk_without").estimate == pytest.approx(without, rel=1e-12)
    assert effect.effect("risk_difference").std_error == pytest.approx(np.sqrt([1, -1] @ total @ [1, -1]), rel=1e-10)
    slopes = np.array([1 / (with_ * (1 - with_)), -1 / (without * (1 - without))])
    assert effect.effect("odds_ratio").std_error == pytest.approx(np.sqrt(slopes @ total @ slopes), rel=1e-10)
    ratios = np.array([1 / with_, -1 / without])
    assert effect.effect("risk_ratio").std_error == pytest.approx(np.sqrt(ratios @ total @ ratios), rel=1e-10)


def test_estimated_propensity_by_brute_force(make, table):
    """The terms of Abadie and Imbens (2016) for a logit, every sum written out over rows and firms."""
    design = match(make.risk_set(table, firm="firm", year="year"), on=["x", "z"], replace=True)
    options = FitOptions(correction="cr0")
    effect = structural_transition(design, controls=None, cluster="firm", estimator="matching", options=options)
    _, without, total, use, residual = brute_force(table, design, table["firm"].to_numpy())
    on, y = table["treated"].to_numpy() == 1, table["outcome"].to_numpy()
    x = np.column_stack([np.ones(len(table)), table["x"], table["z"]])
    information = (x * (design.score * (1 - design.score))[:, None]).T @ x
    slope = np.linalg.solve(information, x.T @ (use * residual))
    mate = dict(design.pairs.tolist())
    second = np.array([(y[mate[i]] - without) / on.sum() if on[i] else use[i] * residual[i] for i in range(len(on))])
    first = np.where(on, (y - y[on].mean()) / on.sum(), 0.0)
    moved = ((on - design.score)[:, None] * x) @ slope
    sums = pd.DataFrame({"a": first, "b": second, "m": moved}).groupby(table["firm"].to_numpy()).sum()
    total = total.copy()
    total[0, 1] += sums["a"] @ sums["m"]
    total[1, 0] += sums["a"] @ sums["m"]
    total[1, 1] += 2 * (sums["b"] @ sums["m"]) + sums["m"] @ sums["m"]
    found = effect.effect("risk_difference").std_error
    assert found == pytest.approx(np.sqrt([1, -1] @ total @ [1, -1]), rel=1e-6)
    assert found != effect.with_vcov("firm, fixed weights").effect("risk_difference").std_error
    assert any("estimation of the propensity" in note for note in effect.notes)


def test_errors_are_the_spread_of_estimates(make):
    """Forty tables: the spread of log odds ratios over them is what the error says, within Monte-Carlo error."""
    found = []
    for seed in range(40):
        design = match(make.risk_set(sampled(seed, 250, 10_000), firm="firm"), on=["x", "z"], replace=True)
        effect = structural_transition(design, controls=None, cluster="firm", estimator="matching")
        found.append([effect.effect("risk_difference").estimate, effect.effect("risk_difference").std_error])
    estimate, error = np.array(found).T
    spread = estimate.std(ddof=1)
    assert np.sqrt((error**2).mean()) == pytest.approx(spread, rel=2.6 / np.sqrt(2 * 39))


def test_two_way_errors_add_and_subtract(make, table):
    table = table.assign(region=np.arange(len(table)) % 11)
    design = match(make.risk_set(table, firm="firm", year="year"), on=["x", "z"], replace=True)
    both = ("firm", "region")
    effect = structural_transition(
        design, controls=None, cluster=["firm", "region"], also_cluster=["firm", "region", [both]],
        estimator="matching", options=KNOWN,
    )  # fmt: skip
    square = {v: effect.with_vcov(f"{v}, fixed weights").effect("risk_difference").std_error ** 2
              for v in ("firm", "region", "firm x region", "firm + region")}  # fmt: skip
    expected = square["firm"] + square["region"] - square["firm x region"]
    assert square["firm + region"] == pytest.approx(expected, rel=1e-8)


def test_without_replacement_means_of_sets_and_errors_by_set(make, table):
    design = match(make.risk_set(table, firm="firm", year="year"), on=["x", "z"])
    effect = structural_transition(design, controls=None, cluster="matched_set", estimator="matching")
    y = table["outcome"].to_numpy(dtype=float)
    gap = y[design.pairs[:, 0]] - y[design.pairs[:, 1]]
    assert effect.effect("risk_difference").estimate == pytest.approx(gap.mean(), rel=1e-10)
    paired = gap.std(ddof=1) / np.sqrt(len(gap))  # the paired error, written out
    assert effect.effect("risk_difference").std_error == pytest.approx(paired, rel=1e-8)
    assert "matched sets" in effect.design


def test_sampling_weights_are_those_of_the_treated(make, table):
    table = table.assign(p=np.where(table["x"] > 0, 2.0, 1.0))
    design = match(make.risk_set(table, firm="firm", year="year", probability="p"), on=["x", "z"], replace=True)
    effect = structural_transition(design, controls=None, cluster="firm", estimator="matching")
    treated, control = design.pairs.T
    y, p = table["outcome"].to_numpy(), table["p"].to_numpy()[treated]
    assert effect.effect("risk_without").estimate == pytest.approx(np.average(y[control], weights=p), rel=1e-12)
    weighted = structural_transition(design, controls=None, cluster="firm", estimator="weighting")
    assert effect.effect("odds_ratio").estimate == pytest.approx(weighted.effect("odds_ratio").estimate, rel=1e-8)


def test_subgroups_are_their_treated_with_their_matches(make, table):
    table = table.assign(big=np.where(table["x"] > 0, "yes", "no"))
    design = match(make.risk_set(table, firm="firm", year="year"), on=["x", "z"], method="mahalanobis", replace=True)
    effect = market_entry(design, controls=None, cluster="firm", estimator="matching", by="big")
    there = table["big"].to_numpy()[design.pairs[:, 0]] == "yes"
    y = table["outcome"].to_numpy()
    found = effect.effect("risk_difference", group="big=yes").estimate
    assert found == pytest.approx((y[design.pairs[there, 0]] - y[design.pairs[there, 1]]).mean(), rel=1e-12)
    assert not [name for name in effect.vcovs if "fixed" in name]  # no propensity was estimated


def test_neighbours_are_the_nearest_controls_of_other_firms(make, table):
    design = match(make.risk_set(table, firm="firm", year="year"), on=["x", "z"], replace=True)
    firm, year, rows = table["firm"].to_numpy(), table["year"].to_numpy(), free(table)
    assert sorted(design.alike[:, 0]) == sorted(set(design.pairs[:, 1]))
    for used, *near in design.alike[:20]:
        other = rows[(firm[rows] != firm[used]) & (year[rows] == year[used])]
        distance = np.abs(design.score[other] - design.score[used])
        assert sorted(np.abs(design.score[near] - design.score[used])) == pytest.approx(sorted(distance)[:4])


@pytest.mark.parametrize("method", ["propensity", "mahalanobis"])
def test_matches_are_the_nearest_rows_of_other_firms(make, table, method):
    """A firm lends its untreated rows to others in a year in which it is treated, and never to itself."""
    crowded = table.assign(firm=table["firm"] % 40).sort_values(["firm", "year"], ignore_index=True, kind="stable")
    risk = make.risk_set(crowded, firm="firm", year="year")
    design = match(risk, on=["x", "z"], method=method, ratio=2, replace=True)
    rows = risk.collect(["firm", "year", "treated", "x", "z"])
    firm, year, on = rows["firm"].to_numpy(), rows["year"].to_numpy(), rows["treated"].to_numpy() == 1
    place = design.score[:, None] if method == "propensity" else rows[["x", "z"]].to_numpy()
    arms = [place[on], place[~on]]
    within = sum((len(a) - 1) * np.cov(a.T, ddof=1) for a in arms) / (len(place) - 2)
    inverse = np.linalg.inv(np.atleast_2d(within))
    lent = 0
    for t in np.flatnonzero(on):
        other = np.flatnonzero(~on & (year == year[t]) & (firm != firm[t]))
        distance = np.einsum("ij,jk,ik->i", place[other] - place[t], inverse, place[other] - place[t])
        mates = design.pairs[design.pairs[:, 0] == t, 1]
        assert set(mates) <= set(other)
        assert sorted(distance[np.isin(other, mates)]) == pytest.approx(sorted(distance)[:2], abs=1e-8)
        lent += sum((on & (firm == firm[c]) & (year == year[c])).any() for c in mates)
    assert lent > 10


def test_residuals_by_hand():
    y = np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    residual, scale = spread_of_controls(y, np.array([[0, 1, 4], [2, 3, -1], [4, -1, -1]]))
    assert residual[[0, 1, 2, 3]].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert np.isnan(residual[4])
    assert scale[[0, 2, 4]] == pytest.approx([np.sqrt(2 / 3), np.sqrt(1 / 2), 0.0])


def test_one_control_for_all_gives_its_scatter_in_full():
    y = np.array([1.0, 0.0, 1.0, 0.0])  # three treated share one control whose scatter is known
    means = matched_means(y, np.array([[0, 3], [1, 3], [2, 3]]), np.ones(4))
    errors = MatchedErrors(means, np.array([0, 0, 0, 0.5]), np.ones(4))
    matrix = errors.covariance([clusters_of([0, 1, 2, 3])], "cr0").matrix
    # the mean without is the control itself: K(K - 1) / 3^2 of its variance, three doubled parts taken off
    assert matrix[1, 1] == pytest.approx(0.25 - 3 * (0.5 / 3) ** 2)
    assert matrix[0, 0] == pytest.approx(np.var([1, 0, 1]) / 3)


def test_what_is_refused(make, table):
    risk = make.risk_set(table, firm="firm", year="year")
    with pytest.raises(SettingsError, match="expected a design by match"):
        structural_transition(risk, controls=None, cluster="firm", estimator="matching")
    with pytest.raises(SettingsError, match="expected a design by match"):
        structural_transition(weight(risk, on=["x"]), controls=None, cluster="firm", estimator="matching")
    design = match(risk, on=["x", "z"], replace=True)
    with pytest.raises(SettingsError, match="no bootstrap"):
        structural_transition(design, controls=None, cluster="firm", estimator="matching",
                              options=FitOptions(bootstrap=Bootstrap(draws=60)))  # fmt: skip
    with pytest.raises(SettingsError, match="cr3"):
        structural_transition(design, controls=None, cluster="firm", estimator="matching",
                              options=FitOptions(correction="cr3"))  # fmt: skip
    alone = table.loc[[*np.flatnonzero(table["treated"] == 1), free(table)[0]]]
    tiny = match(make.risk_set(alone, firm="firm", year="year"), on=["x"], method="mahalanobis", replace=True)
    with pytest.raises(NoParticipantError, match="1 controls have no other control"):
        structural_transition(tiny, controls=None, cluster="firm", estimator="matching")


def test_few_rows_per_coefficient_are_said_and_cr1_counts_them(make, table):
    """R's vcovCL(type="HC1") differs from the default by (N - 1) / (N - K) alone; the note asks for it."""
    few = table.assign(group=np.arange(len(table)) % 45)
    risk = make.risk_set(few, firm="firm", year="year")
    plain, counted = (
        structural_transition(risk, controls=["x", "C(group)"], cluster="firm", options=FitOptions(correction=name))
        for name in ("g_over_gm1", "cr1")
    )
    said = [note for note in plain.notes if 'FitOptions(correction="cr1")' in note]
    n, k = (int(number) for number in re.findall(r"\d+", said[0])[:2])
    ratio = counted.coefficients["std_error"] / plain.coefficients["std_error"]
    assert ratio.dropna().to_numpy() == pytest.approx(np.sqrt((n - 1) / (n - k)))
    assert not any("cr1" in note for note in counted.notes)
    roomy = structural_transition(risk, controls=["x"], cluster="firm")
    assert not any("cr1" in note for note in roomy.notes)
