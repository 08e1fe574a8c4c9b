"""Pairs with support in a year, and pairs without it that they can be compared with. No outcome is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import narwhals as nw
import numpy as np
import pandas as pd

from missie_impact.errors import NoParticipantError
from missie_impact.flow import FlowStep
from missie_impact.indicator.paths import all_paths, year_column
from missie_impact.panel import Panel
from missie_impact.panel.size import size_class
from missie_impact.registers.engine import Lazy
from missie_impact.risksets.covariates import EXPORTS_FROM_EUR, add_country_group
from missie_impact.risksets.sampling import keyed_uniform
from missie_impact.risksets.trials import with_life

PATH_YEARS = 4
LEVELS_FROM_EUR = tuple(4**k for k in range(2, 16))  # classes of the mean yearly exports of a pair
CONTROLS_PER_PAIR = 15  # candidates drawn for each supported pair, where there are more
CELL = ["size", "sector", "market_group", "active", "level_class"]
PAIR = ["firm", "market"]


@dataclass(frozen=True, slots=True)
class Matching:
    """On which years of the path pairs are matched.

    Attributes
    ----------
    name : as in the table of results
    years : relative to the support year; -1 is the year before
    words : for a reader
    """

    name: str
    years: tuple[int, ...]
    words: str


MATCHINGS = {
    "with_last_year": Matching("with_last_year", (-4, -3, -2, -1), "path t-4..t-1"),
    "without_last_year": Matching("without_last_year", (-4, -3, -2), "path t-4..t-2"),
    "base_year": Matching("base_year", (0,), "the base year t itself (biased: its chance deviation is taken for real)"),
}


@dataclass(frozen=True, slots=True)
class Trial:
    """A support year and the year its path and increase are counted from.

    Attributes
    ----------
    support : year in which the treated pairs were supported
    base : year t of path and increase; the support year, or earlier for a placebo
    """

    support: int
    base: int

    @property
    def is_placebo(self) -> bool:
        """Whether everything measured lies before the support."""
        return self.base < self.support


@dataclass(frozen=True, slots=True)
class Pool:
    """Rows of a trial: firm, market, cohort (the base year), treated, covariates, exports t-4..t+horizon in cents."""

    rows: pd.DataFrame
    steps: tuple[FlowStep, ...]


def trial_paths(panel: Panel, trial: Trial) -> Lazy:
    """Store the exports of all pairs in t-4..t+horizon, for every matching of a trial."""
    return all_paths(panel, trial.base, range(-PATH_YEARS, panel.definitions.indicator_horizon + 1))


def make_pool(
    panel: Panel, paths: Lazy, trial: Trial, matching: Matching, instruments: Sequence[str] | None, seed: int
) -> Pool:
    """Return the supported pairs of a trial and candidates without support.

    Both arms: the firm is in the register in the year before the support (and before the base year) and exists in the
    year of the support, the pair had no support in the years of the wash-out. Candidates belong to firms without any
    support in the support year. Pairs with exports in the years of the matching are drawn per cell (size, sector,
    market group, active years, level); for supported pairs without any, firms of the same size, sector and class of
    exports are drawn for the same market. ``paths`` as of :func:`trial_paths`.
    """
    supports = _supports(panel, trial, instruments)
    treated = supports.loc[supports["year"] == trial.support, PAIR].drop_duplicates()
    if treated.empty:
        raise NoParticipantError(f"counterfactual indicator: no linked supported firm in {trial.support}.")
    washed = supports.loc[supports["year"] < trial.support, PAIR].drop_duplicates().assign(washed=True)
    firms = _firms(panel, trial, matching)
    known = treated.merge(firms[["firm"]], on="firm")
    kept = _without(known, washed)
    if kept.empty:
        raise NoParticipantError(
            f"counterfactual indicator, {trial.support}: every supported pair had support in the years before, or "
            "belongs to a firm that was not in the register."
        )
    busy = firms["firm"].isin(set(treated["firm"]))
    if busy.all():
        raise NoParticipantError(
            f"counterfactual indicator, {trial.support}: expected firms without support to compare with, found none."
        )
    kept = kept.merge(firms, on="firm").merge(_groups(panel, trial.base), on="market")
    own = _with_level(_exports(panel, paths, kept[PAIR]), matching)
    kept = kept.merge(own[[*PAIR, "active", "level_class"]], on=PAIR)
    active = _active_candidates(panel, paths, trial, matching, firms[~busy], kept, seed)
    idle = _idle_candidates(firms[~busy], kept[kept["active"] == 0], seed)
    drawn = pd.concat([active.assign(idle=False), idle.assign(idle=True)], ignore_index=True).drop_duplicates(PAIR)
    others = _without(drawn, washed).assign(treated=0)
    both = pd.concat([kept[PAIR].assign(treated=1, idle=kept["active"] == 0), others], ignore_index=True)
    rows = _with_level(_exports(panel, paths, both).assign(cohort=np.int64(trial.base)), matching)
    rows = rows[rows["idle"] == (rows["active"] == 0)]  # a firm drawn for a market where it exports after all
    rows = rows.merge(firms, on="firm").merge(_groups(panel, trial.base), on="market")
    steps = (
        _step(f"{trial.support}: supported pairs", treated, ""),
        _step(f"{trial.support}: in the register", known, "firm not in the register the year before, or ceased"),
        _step(f"{trial.support}: no support in the years before", kept, "pair supported in the years before"),
    )
    return Pool(rows.sort_values(PAIR, ignore_index=True), steps)


def _step(name: str, pairs: pd.DataFrame, reason: str) -> FlowStep:
    n = pairs["firm"].nunique()
    return FlowStep(name, len(pairs), n, n, reason)


def _supports(panel: Panel, trial: Trial, instruments: Sequence[str] | None) -> pd.DataFrame:
    year = nw.col("year")
    wanted = panel.supports.filter((year >= trial.base - panel.definitions.washout) & (year <= trial.support))
    if instruments is not None:
        wanted = wanted.filter(nw.col("instrument").is_in(list(instruments)))
    return panel.collect(wanted.select(*PAIR, "year").unique(), sort_by=[*PAIR, "year"])


def _without(pairs: pd.DataFrame, washed: pd.DataFrame) -> pd.DataFrame:
    flagged = pairs.merge(washed, on=PAIR, how="left")
    return flagged[flagged["washed"].isna()].drop(columns="washed")


def _firms(panel: Panel, trial: Trial, matching: Matching) -> pd.DataFrame:
    """Firms that can be in the trial, with what is known of them before the base year."""
    before = trial.base - 1
    seen = panel.firm_years.filter(nw.col("year") == before).select(
        "firm",
        size_class(panel.definitions.size_indicator, panel.definitions).alias("size"),
        nw.col("sector").fill_null("unknown").str.slice(0, 2).alias("sector"),
        nw.col("workers").fill_null(0.0).clip(1.0).log().alias("log_workers"),
    )
    if trial.is_placebo:
        later = panel.firm_years.filter(nw.col("year") == trial.support - 1).select("firm")
        seen = seen.join(later, on="firm", how="semi")
    # Who got support existed in the year of it; a firm that ceased before it could not have got it.
    seen = with_life(seen.with_columns(year=nw.lit(trial.support).cast(nw.Int64)), panel)
    seen = seen.filter(nw.col("in_register") == 1).select("firm", "size", "sector", "log_workers")
    year = trial.base + min(matching.years[-1], -1)
    totals = panel.firm_trade.filter(nw.col("year") == year).select("firm", "exports_cents", "export_markets")
    rows = panel.collect(seen.join(totals, on="firm", how="left"), sort_by=["firm"])
    eur = rows["exports_cents"].fillna(0).to_numpy(dtype=np.float64) / 100
    return rows.drop(columns=["exports_cents", "export_markets"]).assign(
        log_exports=np.log1p(eur),
        log_markets=np.log1p(rows["export_markets"].fillna(0).to_numpy(dtype=np.float64)),
        exports_class=np.searchsorted(EXPORTS_FROM_EUR, eur, side="right"),
    )


def _groups(panel: Panel, year: int) -> pd.DataFrame:
    markets = panel.registers.markets.select("market").with_columns(year=nw.lit(year).cast(nw.Int64))
    named = panel.collect(add_country_group(markets, panel), sort_by=["market"])
    return named[["market", "country_group"]].rename(columns={"country_group": "market_group"})


def _exports(panel: Panel, paths: Lazy, pairs: pd.DataFrame) -> pd.DataFrame:
    """Add the paths of some pairs, zero where they never exported."""
    taken = panel.engine.take(pairs)
    names = [name for name in paths.collect_schema().names() if name not in PAIR]
    found = taken.join(paths, on=PAIR, how="left").with_columns(nw.col(*names).fill_null(0))
    rows = panel.collect(found, sort_by=PAIR)
    panel.engine.forget(taken)
    return rows


def _with_level(rows: pd.DataFrame, matching: Matching) -> pd.DataFrame:
    path = rows[[year_column(k) for k in matching.years]].to_numpy()
    mean_eur = path.sum(axis=1) / 100 / len(matching.years)
    return rows.assign(
        active=(path > 0).sum(axis=1), level_class=np.searchsorted(LEVELS_FROM_EUR, mean_eur, side="right")
    )


def _active_candidates(
    panel: Panel,
    paths: Lazy,
    trial: Trial,
    matching: Matching,
    firms: pd.DataFrame,
    kept: pd.DataFrame,
    seed: int,
) -> pd.DataFrame:
    """Draw pairs with exports in the years of the matching, some for each supported pair of their cell."""
    strata = firms[["size", "sector"]].drop_duplicates().sort_values(["size", "sector"], ignore_index=True)
    strata = strata.assign(stratum=np.arange(len(strata)))
    numbered = firms[["firm", "size", "sector"]].merge(strata, on=["size", "sector"])[["firm", "stratum"]]
    numbered = numbered.sort_values("firm", ignore_index=True).assign(firm_code=lambda f: np.arange(len(f)))
    groups = _groups(panel, trial.base)
    names = sorted(groups["market_group"].unique())
    groups = groups.assign(group_code=groups["market_group"].map(names.index), market_code=np.arange(len(groups)))
    of_firms = panel.engine.take(numbered)
    of_markets = panel.engine.take(groups[["market", "group_code", "market_code"]])
    stored = panel.engine.store(_celled(paths, matching, of_firms, of_markets), "counterfactual_candidates")
    have = panel.collect(stored.group_by("cell").agg(nw.len().cast(nw.Int64).alias("n")), sort_by=["cell"])
    wanted = _wanted(kept, strata, names)
    share = have.merge(wanted, on="cell")
    share = share.assign(share=(CONTROLS_PER_PAIR * share["wanted"] / share["n"]).clip(upper=1.0))
    shares = panel.engine.take(share[["cell", "share"]])
    drawn = stored.join(shares, on="cell", how="inner").filter(
        keyed_uniform(nw.col("firm_code"), nw.col("market_code"), seed) < nw.col("share")
    )
    found = panel.collect(drawn.select(*PAIR), sort_by=PAIR)
    panel.engine.forget(of_firms, of_markets, stored, shares)
    return found


def _celled(paths: Lazy, matching: Matching, firms: Lazy, markets: Lazy) -> Lazy:
    """Pairs of these firms with exports in the years of the matching, with the number of their cell."""
    years = [nw.col(year_column(k)) for k in matching.years]
    summed = paths.select(
        *PAIR,
        total=sum(years, start=nw.lit(0).cast(nw.Int64)),
        active=sum((nw.when(x > 0).then(1).otherwise(0).cast(nw.Int64) for x in years), start=nw.lit(0).cast(nw.Int64)),
    ).filter(nw.col("active") > 0)
    mean_eur = nw.col("total").cast(nw.Float64) / (100.0 * len(years))
    level: nw.Expr = nw.lit(0).cast(nw.Int64)
    for bound in LEVELS_FROM_EUR:
        level = level + nw.when(mean_eur >= float(bound)).then(1).otherwise(0).cast(nw.Int64)
    joined = summed.join(firms, on="firm", how="inner").join(markets, on="market", how="inner")
    return joined.with_columns(level=level).select(
        *PAIR, "firm_code", "market_code", _number("stratum", "group_code", "active", "level").alias("cell")
    )


def _number(stratum: str, group: str, active: str, level: str) -> nw.Expr:
    return ((nw.col(stratum).cast(nw.Int64) * 10 + nw.col(group)) * 10 + nw.col(active)) * 100 + nw.col(level)


def _wanted(kept: pd.DataFrame, strata: pd.DataFrame, groups: list[str]) -> pd.DataFrame:
    """Number of supported pairs per cell, also counted in the neighbouring classes of level."""
    rows = kept[kept["active"] > 0].merge(strata, on=["size", "sector"])
    code = (rows["stratum"] * 10 + rows["market_group"].map(groups.index)) * 10 + rows["active"]
    spread = pd.concat([code * 100 + (rows["level_class"] + d).clip(0, len(LEVELS_FROM_EUR)) for d in (-1, 0, 1)])
    counted = spread.astype("int64").value_counts()
    return pd.DataFrame({"cell": counted.index.to_numpy(), "wanted": counted.to_numpy()})


def _idle_candidates(firms: pd.DataFrame, idle: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Draw firms like those of supported pairs without exports, for the same market."""
    like = ["size", "sector", "exports_class"]
    ordered = firms.sort_values([*like, "firm"], ignore_index=True)
    cells = ordered.groupby(like, sort=False).size().rename("n").reset_index()
    cells = cells.assign(begin=cells["n"].cumsum() - cells["n"])
    asked = idle.sort_values(PAIR).merge(cells, on=like)
    random = np.random.default_rng([seed, 1])
    place = asked["begin"].to_numpy()[:, None] + np.floor(
        random.random((len(asked), CONTROLS_PER_PAIR)) * asked["n"].to_numpy()[:, None]
    ).astype(np.int64)
    return pd.DataFrame(
        {
            "firm": ordered["firm"].to_numpy()[place.reshape(-1)],
            "market": np.repeat(asked["market"].to_numpy(), CONTROLS_PER_PAIR),
        }
    )
