"""Export increase: sums by hand, recovery of a known ratio, and its properties."""

import math

import numpy as np
import pandas as pd
import pytest

from missie_impact.effects import IncreaseOptions, export_increase
from missie_impact.errors import NoParticipantError, SchemaError

BEFORE = tuple(f"exports_eur_before_{k}" for k in (4, 3, 2, 1))
AFTER = tuple(f"exports_eur_after_{k}" for k in (1, 2, 3))


def pairs(seed=1, n=3000, ratio=1.25):
    """Pairs of permanently different level that grow alike; the treated are larger and rise by ``ratio``."""
    rng = np.random.default_rng(seed)
    level = np.exp(rng.normal(3, 1, n))
    treated = (rng.random(n) < 1 / (1 + np.exp(2.5 - 0.4 * np.log(level)))).astype(int)
    market, year = rng.integers(0, 4, n), 2010 + rng.integers(0, 3, n)
    table = {"firm": np.arange(n), "market": market, "year": year, "treated": treated}
    for j, name in enumerate((*BEFORE, "exports_eur_in_t", *AFTER)):
        mean = level * (1 + 0.05 * j + 0.1 * market * (j > 4))
        if name in AFTER:
            mean = mean * np.where(treated == 1, ratio, 1.0)
        table[name] = mean * rng.gamma(4, 0.25, n) * (rng.random(n) < 0.9)
    frame = pd.DataFrame(table)
    frame["outcome"] = frame[list(AFTER)].mean(axis=1) - frame["exports_eur_in_t"]
    frame["log_level"] = np.log(level)
    frame["size"] = np.where(level > 40, "large", "sme")
    return frame


def risk_of(make, frame, **roles):
    return make.risk_set(frame, firm="firm", market="market", year="year", **roles)


def test_without_controls_by_hand(make):
    frame = pairs(n=400).assign(market=0, year=2010)
    found = export_increase(
        risk_of(make, frame), cluster="firm", controls=None, options=IncreaseOptions(winsorise_eur=50)
    )
    after, treated = frame[list(AFTER)].mean(axis=1), frame["treated"] == 1
    one, zero = after[treated], after[~treated]
    effect = found.effect("att_eur")
    assert effect.estimate == pytest.approx(one.mean() - zero.mean())
    variance = one.var(ddof=0) / len(one) + zero.var(ddof=0) / len(zero)
    assert effect.std_error == pytest.approx(math.sqrt(variance * 400 / 399))
    ratio = found.effect("mean_ratio")
    assert ratio.estimate == pytest.approx(one.mean() / zero.mean())
    assert ratio.conf_low * ratio.conf_high == pytest.approx(ratio.estimate**2)
    assert found.effect("att_eur_winsorised").estimate == pytest.approx(
        one.clip(upper=50).mean() - zero.clip(upper=50).mean()
    )
    grown = frame["outcome"] > 0
    assert found.effect("grower_share_difference").estimate == pytest.approx(
        grown[treated].mean() - grown[~treated].mean()
    )
    start = frame[BEFORE[-1]] == 0
    exports = after > 0
    assert found.effect("export_share_with").estimate == pytest.approx(exports[start & treated].mean())
    assert found.effect("export_share_without").estimate == pytest.approx(exports[start & ~treated].mean())


def test_yearly_ratio_without_effects_to_estimate_by_hand(make):
    """Two pairs of each kind with exact paths: the ratio of ratios."""
    rows = []
    for firm, (treated, before, after) in enumerate([(1, 10, 30), (1, 20, 60), (0, 10, 15), (0, 40, 60)]):
        path = {**dict.fromkeys(BEFORE, before), **dict.fromkeys(AFTER, after), "exports_eur_in_t": before}
        rows.append({"firm": firm, "market": 0, "year": 2010, "treated": treated, "outcome": after - before, **path})
    found = export_increase(risk_of(make, pd.DataFrame(rows)), cluster="firm", estimator="poisson")
    assert found.effect("mean_ratio_yearly").estimate == pytest.approx((30 / 10) / (15 / 10))
    assert any("only 2 clusters with treated rows" in note for note in found.notes)


def test_pairs_new_to_the_market_are_not_compared(make):
    """No untreated pair without a past is in the risk set, so the treated ones change no amount, and are counted."""
    frame = pairs(n=300).assign(market=0, year=2010)
    new = frame[frame["treated"] == 1].head(7).assign(**dict.fromkeys(BEFORE, 0.0))
    more = pd.concat([frame, new.assign(firm=new["firm"] + 5000)])
    options = IncreaseOptions(winsorise_eur=50)
    first, second = (
        export_increase(risk_of(make, f), cluster="firm", controls=None, options=options) for f in (frame, more)
    )
    pd.testing.assert_series_equal(first.tidy()["estimate"], second.tidy()["estimate"], rtol=1e-8)
    assert any(note.startswith("7 treated and 0 other pairs") for note in second.notes)


def test_a_known_ratio_is_found(make):
    """The treated are larger: both ratios find 1.25, a comparison of raw levels does not."""
    found = [export_increase(risk_of(make, pairs(seed=s, n=1500)), cluster="firm", controls=["log_level", "C(market)"])
             for s in range(12)]  # fmt: skip
    for scale in ("mean_ratio", "mean_ratio_yearly"):
        logs = np.array([math.log(e.effect(scale).estimate) for e in found])
        errors = np.array([e.effect(scale).std_error for e in found])
        assert logs.mean() == pytest.approx(math.log(1.25), abs=3 * logs.std() / math.sqrt(12))
        assert 0.6 < errors.mean() / logs.std(ddof=1) < 1.6
    raw = export_increase(risk_of(make, pairs(n=1500)), cluster="firm", controls=None)
    assert raw.effect("mean_ratio").estimate > 1.4


def test_properties(make):
    frame = pairs(n=500)
    settings = {"cluster": "firm", "controls": ["log_level"]}
    first = export_increase(risk_of(make, frame), **settings).tidy()
    renamed = frame.assign(firm="f" + (9000 - frame["firm"]).astype(str)).sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(first, export_increase(risk_of(make, renamed), **settings).tidy(), rtol=1e-7)
    options = IncreaseOptions(winsorise_eur=60.0)
    twice = pd.concat([frame, frame[frame["firm"] < 100]])
    weighted = frame.assign(times=np.where(frame["firm"] < 100, 2, 1))
    one = export_increase(risk_of(make, twice), options=options, **settings).tidy()
    other = export_increase(risk_of(make, weighted, frequency="times"), options=options, **settings).tidy()
    columns = ["estimate", "std_error", "n_treated", "n_events"]
    pd.testing.assert_frame_equal(one[columns], other[columns], rtol=1e-7)


def test_subgroups_and_what_must_be_said(make):
    found = export_increase(risk_of(make, pairs(n=800)), cluster="firm", controls=["log_level"], by="size")
    assert [g.group for g in found.groups] == ["all", "size=large", "size=sme"]
    assert any("heavy tail" in note and "largest 1, 5 and 10 firms" in note for note in found.notes)
    assert any("a comparison, not an effect" in note for note in found.notes)
    alone = pairs(n=800).query("size == 'sme'")
    threshold = IncreaseOptions(winsorise_eur=60.0)
    ours = export_increase(
        risk_of(make, pairs(n=800)), cluster="firm", controls=["log_level"], by="size", options=threshold
    )
    theirs = export_increase(risk_of(make, alone), cluster="firm", controls=["log_level"], options=threshold)
    assert ours.effect("att_eur", group="size=sme").estimate == pytest.approx(theirs.effect("att_eur").estimate)


def test_bad_tables(make):
    frame = pairs(n=200)
    with pytest.raises(SchemaError, match="IncreaseOptions"):
        export_increase(risk_of(make, frame.drop(columns=list(AFTER))), cluster="firm", controls=None)
    with pytest.raises(SchemaError, match="at least 0"):
        export_increase(risk_of(make, frame.assign(exports_eur_after_1=-1.0)), cluster="firm", controls=None)
    with pytest.raises(NoParticipantError):
        export_increase(risk_of(make, frame.assign(treated=0)), cluster="firm", controls=None)


def test_trends_of_classes_are_taken_out_of_the_yearly_ratio(make):
    # young pairs double whoever they are, old ones stay; the treated are mostly old: no effect
    counts = {("young", 0): 30, ("young", 1): 5, ("old", 0): 30, ("old", 1): 25}
    rows = [
        dict.fromkeys(BEFORE, 10.0) | dict.fromkeys(AFTER, 20.0 if age == "young" else 10.0) | {
            "treated": treated, "age": age, "outcome": 0.0, "exports_eur_in_t": 10.0, "market": 0, "year": 2010
        }
        for (age, treated), n in counts.items()
        for _ in range(n)
    ]  # fmt: skip
    risk = risk_of(make, pd.DataFrame(rows).assign(firm=range(len(rows))))
    plain, own = (
        export_increase(
            risk, cluster="firm", estimator="poisson", options=IncreaseOptions(winsorise_eur=15, trends=trends)
        )
        for trends in (None, ("age",))
    )
    expected = (5 * 20 + 25 * 10) / 30 / (30 * 20 + 30 * 10) * 60
    assert plain.effect("mean_ratio_yearly").estimate == pytest.approx(expected)
    assert own.effect("mean_ratio_yearly").estimate == pytest.approx(1.0)
    cut = (5 * 15 + 25 * 10) / 30 / (30 * 15 + 30 * 10) * 60
    assert plain.effect("mean_ratio_yearly_winsorised").estimate == pytest.approx(cut)
    with pytest.raises(SchemaError, match="trends"):
        export_increase(risk, cluster="firm", options=IncreaseOptions(trends=("sector",)))


def test_with_controls_the_models_of_amounts_hold_the_path(make):
    # the control says nothing of the level; treated pairs are larger and do not rise by more
    frame = pairs(n=3000, ratio=1.0)
    frame["noise"] = np.random.default_rng(5).normal(size=len(frame))
    raw = export_increase(risk_of(make, frame), cluster="firm", controls=None).effect("mean_ratio")
    with_path = export_increase(risk_of(make, frame), cluster="firm", controls=["noise"]).effect("mean_ratio")
    assert raw.conf_low > 1.1
    # four noisy years do not say all of a permanent level, but most
    assert abs(math.log(with_path.estimate)) < math.log(raw.estimate) / 3
    assert with_path.std_error < raw.std_error


def test_where_all_treated_export_no_error_is_given(make):
    frame = pairs(n=800)
    start = (frame[BEFORE[-1]] == 0) & (frame["treated"] == 1)
    frame.loc[start, AFTER[0]] = 5.0
    frame.loc[(frame["treated"] == 0) & (frame["firm"] % 3 == 0), list(AFTER)] = 0.0
    found = export_increase(risk_of(make, frame), cluster="firm", controls=["log_level"])
    share = found.effect("export_share_difference")
    assert found.effect("export_share_with").estimate == 1.0
    assert share.estimate > 0
    assert math.isnan(share.std_error)
    assert math.isnan(share.conf_low)
    assert any("all of the treated" in note for note in found.notes)
    assert found.effect("grower_share_difference").std_error > 0
