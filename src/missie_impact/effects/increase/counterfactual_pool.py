"""Pairs with support in a year, and pairs without it that they can be compared with. No outcome is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.errors import NoParticipantError
from missie_impact.flow import FlowStep
from missie_impact.indicator.paths import all_paths, year_column
from missie_impact.panel import Panel
from missie_impact.panel.size import size_class
from missie_impact.registers.engine import Lazy, distinct
from missie_impact.risksets.covariates import EXPORTS_FROM_EUR, add_country_group
from missie_impact.risksets.sampling import keyed_uniform
from missie_impact.risksets.trials import with_life

PATH_YEARS = 4
LEVELS_FROM_EUR = tuple(4**k for k in range(2, 16))  # classes of the mean yearly exports of a pair
CONTROLS_PER_PAIR = 30  # candidates drawn for each supported pair, where there are more
WITHIN_STRATUM = 10_000  # numbers of cells in a stratum
PAIR = ["firm", "market"]
LAST_YEARS = (1, 2)  # before the base year: the last that matchings know
TOTALS = {"firm_cents": "exports_cents", "firm_markets": "export_markets"}
T = TypeVar("T", nw.Expr, "pd.Series[int]")


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
class Tables:
    """What all matchings of a trial share; stored tables are let go of by :meth:`forget`.

    Attributes
    ----------
    trial : support year and base year
    paths : exports of all pairs in t-4..t+horizon
    firms : who can be in the trial, with what is known of them before the base year; exports and markets by year
    groups : market, its group, and numbers of both
    supported : pairs in the comparison, with their exports
    washed : pairs with support in the years before
    candidates, markets : firms without support, and markets, by number, in the engine
    steps : who is lost so far
    """

    trial: Trial
    paths: Lazy
    firms: pd.DataFrame
    groups: pd.DataFrame
    supported: pd.DataFrame
    washed: pd.DataFrame
    candidates: Lazy
    markets: Lazy
    steps: tuple[FlowStep, ...]

    def forget(self, panel: Panel) -> None:
        """Let go of the stored tables."""
        panel.engine.forget(self.paths, self.candidates, self.markets)


def supported_pairs(panel: Panel, instruments: Sequence[str] | None) -> pd.DataFrame:
    """Return firm, market, year of all support that counts."""
    wanted = panel.supports
    if instruments is not None:
        wanted = wanted.filter(nw.col("instrument").is_in(list(instruments)))
    return panel.collect(distinct(wanted.select(*PAIR, "year")), sort_by=[*PAIR, "year"])


def trial_tables(panel: Panel, trial: Trial, supports: pd.DataFrame) -> Tables:
    """Return the supported pairs of a trial and the firms without support that they can be compared with.

    Both arms: the firm is in the register in the year before the support (and before the base year) and exists in the
    year of the support, the pair had no support in the years of the wash-out. Candidates are firms without any support
    in the support year.
    """
    year = supports["year"]
    treated = supports.loc[year == trial.support, PAIR].drop_duplicates()
    if treated.empty:
        raise NoParticipantError(f"counterfactual indicator: no linked supported firm in {trial.support}.")
    since = trial.base - panel.definitions.washout
    washed = supports.loc[(year >= since) & (year < trial.support), PAIR].drop_duplicates().assign(washed=True)
    firms = _firms(panel, trial)
    known = treated.merge(firms[["firm"]], on="firm")
    kept = _without(known, washed)
    if kept.empty:
        raise NoParticipantError(
            f"counterfactual indicator, {trial.support}: every supported pair had support in the years before, or "
            "belongs to a firm that was not in the register."
        )
    firms = _numbered(firms.assign(busy=firms["firm"].isin(set(treated["firm"]))))
    if firms["busy"].all():
        raise NoParticipantError(
            f"counterfactual indicator, {trial.support}: expected firms without support to compare with, found none."
        )
    groups = _groups(panel, trial.base)
    paths = all_paths(panel, trial.base, range(-PATH_YEARS, panel.definitions.indicator_horizon + 1))
    steps = (
        _step(f"{trial.support}: supported pairs", treated, ""),
        _step(f"{trial.support}: in the register", known, "firm not in the register the year before, or ceased"),
        _step(f"{trial.support}: no support in the years before", kept, "pair supported in the years before"),
    )
    return Tables(
        trial=trial,
        paths=paths,
        firms=firms,
        groups=groups,
        supported=_exports(panel, paths, kept),
        washed=washed,
        candidates=panel.engine.take(firms.loc[~firms["busy"], ["firm", "stratum", "firm_code"]]),
        markets=panel.engine.take(groups[["market", "group_code", "market_code"]]),
        steps=steps,
    )


def make_pool(panel: Panel, tables: Tables, matching: Matching, seed: int) -> pd.DataFrame:
    """Return the supported pairs of a trial and candidates without support, with what is known before the base year.

    Pairs with exports in the years of the matching are drawn per cell (size, sector, market group, active years,
    level); for supported pairs without any, firms of the same size, sector and class of exports are drawn for the same
    market. Where a sector has too few, other sectors are drawn on too.

    Returns
    -------
    firm, market, cohort (the base year), treated, covariates, exports t-4..t+horizon in cents
    """
    firms = _known_by(tables.firms, matching)
    described = tables.groups[["market", "market_group", "group_code"]]
    kept = _with_level(tables.supported, matching).merge(firms, on="firm").merge(described, on="market")
    active = _active_candidates(panel, tables, matching, kept, seed)
    idle = _idle_candidates(firms[~firms["busy"]], kept[kept["active"] == 0], seed)
    others = pd.concat([active, _exports(panel, tables.paths, idle.drop_duplicates(PAIR))], ignore_index=True)
    others = _with_level(_without(others, tables.washed), matching)
    # a firm drawn for a market where it exports after all comes a second time, or does not belong to the idle
    others = others[others["idle"] == (others["active"] == 0)].drop(columns="idle")
    others = others.merge(firms, on="firm").merge(described, on="market")
    rows = pd.concat([kept.assign(treated=1), others.assign(treated=0)], ignore_index=True)
    return rows.assign(cohort=np.int64(tables.trial.base)).sort_values(PAIR, ignore_index=True)


def _step(name: str, pairs: pd.DataFrame, reason: str) -> FlowStep:
    n = pairs["firm"].nunique()
    return FlowStep(name, len(pairs), n, n, reason)


def _without(pairs: pd.DataFrame, washed: pd.DataFrame) -> pd.DataFrame:
    flagged = pairs.merge(washed, on=PAIR, how="left")
    return flagged[flagged["washed"].isna()].drop(columns="washed")


def _firms(panel: Panel, trial: Trial) -> pd.DataFrame:
    """Firms that can be in the trial, with what is known of them before the base year; totals by years before it."""
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
    for k in LAST_YEARS:
        totals = panel.firm_trade.filter(nw.col("year") == trial.base - k)
        renamed = (nw.col(of).cast(nw.Float64).alias(f"{name}_{k}") for name, of in TOTALS.items())
        seen = seen.join(totals.select("firm", *renamed), on="firm", how="left")
    names = [f"{name}_{k}" for name in TOTALS for k in LAST_YEARS]
    return panel.collect(seen.with_columns(nw.col(*names).fill_null(0.0)), sort_by=["firm"])


def _numbered(firms: pd.DataFrame) -> pd.DataFrame:
    """Number firms, sizes, and strata of size and sector."""
    size_code, _ = pd.factorize(firms["size"], sort=True)
    stratum = firms.groupby(["size", "sector"], sort=True).ngroup()
    return firms.assign(firm_code=np.arange(len(firms)), size_code=size_code, stratum=stratum)


def _known_by(firms: pd.DataFrame, matching: Matching) -> pd.DataFrame:
    """Firms with the totals of the last year that a matching knows."""
    last = -min(matching.years[-1], -1)
    eur = firms[f"firm_cents_{last}"].to_numpy() / 100
    names = [f"{name}_{k}" for name in TOTALS for k in LAST_YEARS]
    return firms.drop(columns=names).assign(
        log_exports=np.log1p(eur),
        log_markets=np.log1p(firms[f"firm_markets_{last}"].to_numpy()),
        exports_class=np.searchsorted(EXPORTS_FROM_EUR, eur, side="right"),
    )


def _groups(panel: Panel, year: int) -> pd.DataFrame:
    """Market, market_group, and a number of each."""
    markets = panel.registers.markets.select("market").with_columns(year=nw.lit(year).cast(nw.Int64))
    named = panel.collect(add_country_group(markets, panel), sort_by=["market"])
    code, _ = pd.factorize(named["country_group"], sort=True)
    return pd.DataFrame({"market": named["market"], "market_group": named["country_group"], "group_code": code}).assign(
        market_code=np.arange(len(named))
    )


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


def _active_candidates(panel: Panel, tables: Tables, matching: Matching, kept: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Draw pairs with exports in the years of the matching, some for each supported pair of their cell."""
    stored = panel.engine.store(_celled(tables, matching), "counterfactual_candidates")
    have = panel.collect(stored.group_by("cell").agg(nw.len().cast(nw.Int64).alias("n")), sort_by=["cell"])
    size_of = tables.firms.drop_duplicates("stratum").set_index("stratum")["size_code"].sort_index().to_numpy()
    shares = panel.engine.take(_shares(kept[kept["active"] > 0], have, size_of))
    drawn = stored.join(shares, on="cell", how="inner").filter(
        keyed_uniform(nw.col("firm_code"), nw.col("market_code"), seed) < nw.col("share")
    )
    found = panel.collect(drawn.drop("firm_code", "market_code", "cell", "share"), sort_by=PAIR)
    panel.engine.forget(stored, shares)
    return found.assign(idle=False)


def _celled(tables: Tables, matching: Matching) -> Lazy:
    """Pairs of candidates with exports in the years of the matching: their paths, and the number of their cell."""
    years = [nw.col(year_column(k)) for k in matching.years]
    nothing = nw.lit(0).cast(nw.Int64)
    active = sum((nw.when(x > 0).then(1).otherwise(0).cast(nw.Int64) for x in years), start=nothing)
    mean_eur = sum(years, start=nothing).cast(nw.Float64) / (100.0 * len(years))
    level: nw.Expr = nothing
    for bound in LEVELS_FROM_EUR:
        level = level + nw.when(mean_eur >= float(bound)).then(1).otherwise(0).cast(nw.Int64)
    rows = tables.paths.with_columns(active=active, level=level).filter(nw.col("active") > 0)
    joined = rows.join(tables.candidates, on="firm", how="inner").join(tables.markets, on="market", how="inner")
    cell = _number(nw.col("stratum").cast(nw.Int64), nw.col("group_code"), nw.col("active"), nw.col("level"))
    return joined.with_columns(cell=cell).drop("stratum", "group_code", "active", "level")


def _number(stratum: T, group: T, active: T, level: T) -> T:
    return stratum * WITHIN_STRATUM + (group * 10 + active) * 100 + level


def _shares(kept: pd.DataFrame, have: pd.DataFrame, size_of: NDArray[np.intp]) -> pd.DataFrame:
    """Share of each cell to draw: so many for each supported pair of the cell and of the neighbouring levels.

    Pairs that find too few there draw on the same cells of all sectors.

    Parameters
    ----------
    kept : supported pairs with exports in the years of the matching
    have : cell and n, its number of candidates
    size_of : number of the size of each stratum
    """
    levels = [(kept["level_class"] + d).clip(0, len(LEVELS_FROM_EUR)) for d in (-1, 0, 1)]
    cells = pd.concat(
        [_number(kept["stratum"], kept["group_code"], kept["active"], level) for level in levels], axis=1
    ).to_numpy(dtype=np.int64)
    number = have.set_index("cell")["n"]
    found = number.reindex(cells.reshape(-1)).fillna(0).to_numpy().reshape(cells.shape)
    short = cells[found.sum(axis=1) < CONTROLS_PER_PAIR]

    def of_all_sectors(cell: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(size_of[cell // WITHIN_STRATUM] * WITHIN_STRATUM + cell % WITHIN_STRATUM, dtype=np.int64)

    wide = of_all_sectors(have["cell"].to_numpy())
    asked = _times(cells, have["cell"].to_numpy()) / have["n"].to_numpy()
    asked_widely = _times(of_all_sectors(short), wide) / have["n"].groupby(wide).transform("sum").to_numpy()
    share = np.minimum(CONTROLS_PER_PAIR * np.maximum(asked, asked_widely), 1.0)
    return pd.DataFrame({"cell": have["cell"].to_numpy(), "share": share}).query("share > 0")


def _times(cells: NDArray[np.int64], of: NDArray[np.int64]) -> NDArray[np.float64]:
    """How often each number stands in ``cells``."""
    found, times = np.unique(cells, return_counts=True)
    place = np.searchsorted(found, of)
    there = np.append(found, -1)[place] == of
    return np.where(there, np.append(times, 0)[place], 0).astype(np.float64)


def _idle_candidates(firms: pd.DataFrame, idle: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Draw firms like those of supported pairs without exports, for the same market.

    Like: size, sector and class of exports; where that leaves too few firms, size and class of exports.
    """
    random = np.random.default_rng([seed, 1])
    like = ["size", "sector", "exports_class"]
    number = firms.groupby(like).size().rename("n").reset_index()
    asked = idle[[*PAIR, *like]].sort_values(PAIR).merge(number, on=like, how="left")
    enough = asked["n"] >= CONTROLS_PER_PAIR
    parts = [(asked[enough], like), (asked[~enough], ["size", "exports_class"])]
    return pd.concat([_drawn(firms, pairs, of, random) for pairs, of in parts], ignore_index=True)


def _drawn(firms: pd.DataFrame, pairs: pd.DataFrame, like: list[str], random: np.random.Generator) -> pd.DataFrame:
    ordered = firms.sort_values([*like, "firm"], ignore_index=True)
    cells = ordered.groupby(like, sort=False).size().rename("number").reset_index()
    cells = cells.assign(begin=cells["number"].cumsum() - cells["number"])
    asked = pairs.merge(cells, on=like)
    turn = np.floor(random.random((len(asked), CONTROLS_PER_PAIR)) * asked["number"].to_numpy()[:, None])
    place = asked["begin"].to_numpy()[:, None] + turn.astype(np.int64)
    return pd.DataFrame(
        {
            "firm": ordered["firm"].to_numpy()[place.reshape(-1)],
            "market": np.repeat(asked["market"].to_numpy(), CONTROLS_PER_PAIR),
            "idle": True,
        }
    )
