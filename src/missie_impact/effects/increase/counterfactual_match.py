"""Supported pairs with their nearest pairs without support, and the indicator's own sums for both."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.definitions import Definitions
from missie_impact.design.mahalanobis import Points, nearest_points, whitened
from missie_impact.effects.increase.counterfactual_correction import Left, corrections, left_by_matching
from missie_impact.effects.increase.counterfactual_pool import Matching
from missie_impact.errors import NoParticipantError
from missie_impact.indicator.paths import year_column
from missie_impact.indicator.sums import add_increase, by_firm, measured_years
from missie_impact.numerics.covariance import clusters_of, crossed
from missie_impact.numerics.tails import winsorised

Floats = NDArray[np.float64]
COVARIATES = ("level", "last", "growth", "variability", "log_workers", "log_exports", "log_markets")
ACROSS_SECTORS = ("size", "market_key", "active")
EXACT = ("sector", *ACROSS_SECTORS)
PERCENT, EUR = "percentage points", "EUR per year"
FIGURES = {
    "share_growers": PERCENT,
    "share_growers_sum": PERCENT,
    "share_pairs": PERCENT,
    "gross_eur": EUR,
    "net_eur": EUR,
    "gross_winsorised_eur": EUR,
    "net_winsorised_eur": EUR,
}


@dataclass(frozen=True, slots=True)
class Matched:
    """Matched pairs, one row per supported pair and replicate. Holds rows of firms.

    Attributes
    ----------
    treated : supported pairs with their increase
    controls : their matches; ``firm`` is the supported firm, ``own_firm`` the firm of the match, ``replicate`` its turn
    balance : covariate, mean of supported, mean of matched, standardised difference before and after
    n_supported : supported pairs before matching
    n_across_sectors : supported pairs that found too few like them in their sector, matched over all sectors
    left : what matching leaves of differences in covariates
    """

    treated: pd.DataFrame
    controls: pd.DataFrame
    balance: pd.DataFrame
    n_supported: int
    n_across_sectors: int
    left: Left


def with_covariates(rows: pd.DataFrame, matching: Matching) -> pd.DataFrame:
    """Add what pairs are matched on: level, last year, growth, active years and variability of the path."""
    path = rows[[year_column(k) for k in matching.years]].to_numpy(dtype=np.float64) / 100
    mean = path.mean(axis=1)
    spread = path.std(axis=1) / np.where(mean > 0, mean, 1.0)
    growth = np.clip(np.log1p(path[:, -1]) - np.log1p(path[:, 0]), -3.0, 3.0)
    key = np.where(path.sum(axis=1) > 0, "group " + rows["market_group"], "market " + rows["market"])
    return rows.assign(
        level=np.log1p(mean),
        last=np.log1p(path[:, -1]),
        growth=growth,
        variability=spread,
        mean_eur=mean,
        market_key=key,
    )


def matched_pairs(
    rows: pd.DataFrame, matching: Matching, definitions: Definitions, *, ratio: int, caliper_sd: float | None, seed: int
) -> Matched:
    """Match each supported pair, exactly on size, sector, market group and active years, nearest on the path."""
    rows = with_covariates(rows, matching).reset_index(drop=True)
    if rows["treated"].all():
        raise NoParticipantError(
            "counterfactual indicator: no pair without support is like any of the supported pairs."
        )
    rows = rows.assign(chance=np.random.default_rng([seed, 2]).random(len(rows)))
    on = [name for name in COVARIATES if rows[name].nunique() > 1] or ["chance"]  # all alike: any of them will do
    if len(matching.years) == 1:
        on = ["level"] if "level" in on else on
    mine, theirs, n_across = _nearest(rows, on, ratio, caliper_sd, seed)
    if not len(mine):
        raise NoParticipantError("counterfactual indicator: no supported pair was matched.")
    treated = add_increase(rows.iloc[np.unique(mine)], definitions)
    controls = _replicates(rows, mine, theirs, ratio, definitions)
    return Matched(
        treated=treated,
        controls=controls,
        balance=_balance(rows, mine, theirs, COVARIATES),
        n_supported=int(rows["treated"].sum()),
        n_across_sectors=n_across,
        left=left_by_matching(
            rows[list(COVARIATES)],
            rows[[year_column(k) for k in matching.years]].to_numpy(),
            add_increase(rows, definitions)["increase"].to_numpy() > 0,
            rows["treated"].to_numpy() == 1,
            mine,
            theirs,
        ),
    )


def corrected(matched: dict[str, Matched]) -> dict[str, Matched]:
    """Add to supported pairs the correction for what matching leaves, from the candidates of all trials together."""
    added = corrections([trial.left for trial in matched.values()])
    return {
        name: replace(trial, treated=trial.treated.assign(correction=values))
        for (name, trial), values in zip(matched.items(), added, strict=True)
    }


def uncorrected(matched: dict[str, Matched]) -> dict[str, Matched]:
    """Leave what matching leaves."""
    return {n: replace(trial, treated=trial.treated.assign(correction=0.0)) for n, trial in matched.items()}


def _nearest(
    rows: pd.DataFrame, on: list[str], ratio: int, caliper_sd: float | None, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
    """Rows of supported pairs and of their matches, with replacement; equals by what is matched on, then by lot.

    Pairs for whom their sector has fewer candidates than they get matches look in all sectors; their number comes last.
    The distance of :func:`missie_impact.design.match`, without what a design holds beside its pairs.
    """
    values, treated = rows[on].to_numpy(dtype=np.float64), rows["treated"].to_numpy() == 1
    place = whitened(values, treated, np.ones(len(rows)))
    lot = np.random.default_rng(seed).random(len(rows))
    rank = np.empty(len(rows), dtype=np.intp)
    rank[np.lexsort((lot, *values.T[::-1]))] = np.arange(len(rows))
    own, other = np.flatnonzero(treated), np.flatnonzero(~treated)
    limit = np.inf if caliper_sd is None else caliper_sd
    free = (~treated).astype(np.int64)
    enough = pd.Series(free).groupby([rows[c] for c in EXACT]).transform("sum").to_numpy()[own] >= ratio
    parts = []
    for units, exact in ((own[enough], EXACT), (own[~enough], ACROSS_SECTORS)):
        stratum = rows.groupby(list(exact), sort=True).ngroup().to_numpy().astype(np.intp)
        every = Points(place, stratum, rank)
        found = nearest_points(every.take(units), every.take(other), caliper=limit, ratio=ratio)
        at, turn = np.nonzero(found >= 0)
        parts.append((units[at], other[found[at, turn]]))
    mine, theirs = (np.concatenate(side) for side in zip(*parts, strict=True))
    return mine, theirs, len(np.unique(parts[1][0]))


def _replicates(
    rows: pd.DataFrame, mine: NDArray[np.intp], theirs: NDArray[np.intp], ratio: int, definitions: Definitions
) -> pd.DataFrame:
    """Matches in ``ratio`` replicates (a pair with fewer matches repeats them), on the level of the supported pair."""
    order = np.argsort(mine, kind="stable")
    mine, theirs = mine[order], theirs[order]
    unit, begin, number = np.unique(mine, return_index=True, return_counts=True)
    turn = np.arange(ratio)
    picked = theirs[begin[:, None] + turn[None, :] % number[:, None]].reshape(-1)
    of = np.repeat(unit, ratio)
    controls = rows.iloc[picked].reset_index(drop=True)
    level, own = rows["mean_eur"].to_numpy()[of], controls["mean_eur"].to_numpy()
    factor = np.where((level > 0) & (own > 0), level / np.where(own > 0, own, 1.0), 1.0)
    names = [year_column(k) for k in measured_years(definitions)]
    scaled = {name: np.rint(controls[name].to_numpy() * factor).astype(np.int64) for name in names}
    named = controls.assign(own_firm=controls["firm"], firm=rows["firm"].to_numpy()[of], **scaled)
    return add_increase(named.assign(replicate=np.tile(turn, len(unit)), unit=of), definitions)


def _balance(
    rows: pd.DataFrame, mine: NDArray[np.intp], theirs: NDArray[np.intp], names: tuple[str, ...]
) -> pd.DataFrame:
    number = np.bincount(mine, minlength=len(rows))
    lines = []
    for name in names:
        values, treated = rows[name].to_numpy(dtype=np.float64), rows["treated"].to_numpy() == 1
        own, other = values[treated], values[~treated]
        spread = np.sqrt((own.var() + other.var()) / 2)
        weight = 1.0 / number[mine]
        after = np.average(values[mine], weights=weight), np.average(values[theirs], weights=weight)
        gap = (own.mean() - other.mean(), after[0] - after[1])
        lines.append((name, *after, *(g / spread if spread > 0 else np.nan for g in gap)))
    return pd.DataFrame(
        lines, columns=["covariate", "supported", "matched", "difference_before_sd", "difference_after_sd"]
    )


def amounts(
    matched: Matched, group: str, ratio: int, definitions: Definitions
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, int]:
    """Return per supported firm what it adds to each figure, observed and expected without support.

    Returns
    -------
    observed, expected : index firm, columns of ``FIGURES``; shares are numbers of firms (or pairs) here
    correction : the part of ``expected`` that corrects for what matching leaves; zero but for two shares
    n_pairs : supported pairs of the group
    """
    treated, controls = matched.treated, matched.controls
    if group != "all":
        treated = treated[treated["group"] == group]
        controls = controls[controls["unit"].isin(treated.index)]
    threshold = definitions.indicator_winsor_eur
    observed = _figures(treated, threshold)
    code, firms = pd.factorize(controls["firm"])
    once_each = controls.assign(firm=code * ratio + controls["replicate"].to_numpy())  # a firm in each replicate
    each = _figures(once_each, threshold)
    expected = each.groupby(firms[each.index.to_numpy() // ratio]).sum().reindex(observed.index) / ratio
    correction = _corrections(treated, once_each, observed)
    return observed, expected + correction, correction, len(treated)


def _corrections(treated: pd.DataFrame, controls: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """The corrections of a firm's pairs; of its chance that any of them grows, where no other does."""
    grown = (controls["increase"] > 0).astype(np.float64)
    alone = (grown.groupby(controls["firm"]).transform("sum") - grown == 0).groupby(controls["unit"]).mean()
    pairs = treated["correction"]
    found = pd.DataFrame(0.0, index=like.index, columns=like.columns)
    for name, values in (("share_pairs", pairs), ("share_growers", pairs * alone.reindex(pairs.index))):
        found[name] = values.groupby(treated["firm"]).sum().reindex(like.index)
    return found


def _figures(pairs: pd.DataFrame, threshold: float) -> pd.DataFrame:
    firms = by_firm(pairs).sort_index()
    to_eur = 100.0 * int(pairs["scale"].iloc[0])
    gross, net = firms["gross"] / to_eur, firms["net"] / to_eur
    growing = (pairs["increase"] > 0).groupby(pairs["firm"]).sum().reindex(firms.index)
    return pd.DataFrame(
        {
            "share_growers": (gross > 0).astype(float),
            "share_growers_sum": (net > 0).astype(float),
            "share_pairs": growing.astype(float),
            "gross_eur": gross,
            "net_eur": net,
            "gross_winsorised_eur": winsorised(gross, threshold),
            "net_winsorised_eur": winsorised(net, threshold),
        }
    )


def widening(matched: Matched, group: str, difference: pd.DataFrame) -> dict[str, float]:
    """Return by how much reuse of firms among the matches widens an error that clusters by supported firm alone.

    The square root of (V_supported + V_match - V_both) / V_supported, at least one; per kind of figure.
    """
    controls = matched.controls
    if group != "all":
        controls = controls[controls["group_of_unit"] == group]
    supported, other = clusters_of(controls["firm"].to_numpy()), clusters_of(controls["own_firm"].to_numpy())
    both = crossed(supported, other)
    ratio = int(controls["replicate"].max()) + 1
    to_eur = 100.0 * int(controls["scale"].iloc[0])
    measures = {
        "share": (controls["increase"] > 0).to_numpy(dtype=np.float64),
        "gross": controls["increase"].clip(lower=0).to_numpy(dtype=np.float64) / to_eur,
        "net": controls["increase"].to_numpy(dtype=np.float64) / to_eur,
    }
    found = {}
    for name, values in measures.items():
        h = (values - values.mean()) / ratio
        extra = sum(
            sign * float((np.bincount(c.codes, h, minlength=c.count) ** 2).sum())
            for c, sign in ((other, 1), (both, -1))
        )
        column = {"share": "share_growers", "gross": "gross_eur", "net": "net_eur"}[name]
        own = float(difference[column].var(ddof=0) * len(difference))
        found[name] = float(np.sqrt(max(1.0, 1.0 + extra / own))) if own > 0 else 1.0
    return found
