"""Parameters of the simulated registers, each with its meaning.

None is estimated from microdata: all are assumed, tuned to published aggregates (see
:mod:`missie_impact.simulation.targets`).

`z` is a firm's size draw, `k` its commitment to exporting; "logit" and "log" say on which scale a number adds up.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Literal

from missie_impact.errors import SettingsError

Truth = Literal["cbs_2024", "none"]
Selection = Literal["observed_history", "fixed_level", "unobserved"]
Attendance = Literal["status_last_year", "still_trading"]
TRUTHS: tuple[str, ...] = ("cbs_2024", "none")
SELECTIONS: tuple[str, ...] = ("observed_history", "fixed_level", "unobserved")
ATTENDANCES: tuple[str, ...] = ("status_last_year", "still_trading")

FIRST_SIMULATED_YEAR = 1992  # twelve years of history before the register opens
FIRMS_NATIONAL = 490_000  # firms that ever trade, or might, over 1992-2024
SME_WORKERS = 250.0


@dataclass(frozen=True, slots=True)
class FirmParameters:
    """Firms: size, commitment, life.

    Attributes
    ----------
    size_mean, size_sd : log workers are ``size_mean + size_sd z``
    size_stretch : right tail of ``z``, heavier than normal: ``z + size_stretch (z^2 - 1)`` for positive draws
    growth_sd : standard deviation of a firm's permanent yearly growth of log workers
    walk_sd : yearly shock to log workers
    productivity_sd, productivity_size : log turnover per worker is ``productivity_sd N + productivity_size z``
    commitment_size : commitment ``k = commitment_size z + N``
    engaged_from, committed_from : ``k`` above which a firm is engaged (class 1), committed (class 2); else sporadic (0)
    project_share : share of firms that export by project (class 3): seldom, and then large orders
    death, death_size : yearly probability of leaving the register, ``death exp(death_size z)``
    independent, independent_size : logit of being Dutch-controlled outside any group, and its change per log worker
    trader_share : share of trading houses: small firms with large flows
    """

    size_mean: float = 0.56
    size_sd: float = 1.345
    size_stretch: float = 0.12
    growth_sd: float = 0.03
    walk_sd: float = 0.06
    productivity_sd: float = 0.6
    productivity_size: float = 0.1
    commitment_size: float = 1.11
    engaged_from: float = 0.2158
    committed_from: float = 1.32
    project_share: float = 0.1246
    death: float = 0.04443
    death_size: float = -0.1
    independent: float = 2.6
    independent_size: float = -0.75
    trader_share: float = 0.12


@dataclass(frozen=True, slots=True)
class MarketParameters:
    """Popularity of markets and how many of them a firm can trade with untreated (its candidates).

    Attributes
    ----------
    first, second : weights of the two most popular markets
    rest : joint weight of all others, spread as ``(rank + shift)^-power exp(-rank / scale)``
    power, shift, scale : the shape of that spread
    rank_13 : factor on the thirteenth market
    many, many_commitment, many_size : logit of having more than one candidate: constant, per ``k``, per ``z``
    n_mean, n_commitment, n_sd : log number of candidates of such a firm: constant, per ``k``, standard deviation
    n_max : most candidates a firm can have
    """

    first: float = 1.05
    second: float = 0.83
    rest: float = 0.36
    power: float = 1.667
    shift: float = 4.157
    scale: float = 60.0
    rank_13: float = 1.803
    many: float = -3.29
    many_commitment: float = 1.178
    many_size: float = 0.3508
    n_mean: float = 1.523
    n_commitment: float = 0.358
    n_sd: float = 0.6396
    n_max: int = 120


@dataclass(frozen=True, slots=True)
class ActivityParameters:
    """Whether a candidate pair trades in a year (logit scale). Classes: sporadic, engaged, committed, project.

    Attributes
    ----------
    stay, enter : constants by class, for pairs that traded the year before and for those that did not
    stay_age : per year since the spell began, at most ``stay_age_max`` years
    stay_quality, stay_size, stay_side : per quality of the pair, per ``z``, for markets other than the core one
    enter_quality, enter_side : the same for entering
    enter_markets : per log(1 + markets of the firm last year), markets other than the core one
    enter_young : for firms of at most two years
    """

    stay: tuple[float, float, float, float] = (0.2984, 0.6264, 3.85, -2.2)
    enter: tuple[float, float, float, float] = (-2.473, -3.144, -0.1425, 0.5064)
    stay_age: float = 0.05
    stay_age_max: float = 5.0
    stay_quality: float = 0.1
    stay_size: float = 0.27
    stay_side: float = -2.02
    enter_quality: float = 0.02633
    enter_side: float = -1.565
    enter_markets: float = 0.4872
    enter_young: float = 1.887


@dataclass(frozen=True, slots=True)
class ValueParameters:
    """Log EUR of a pair that trades in a year.

    Attributes
    ----------
    constant, size, size_squared : constant, per log workers at the start, per its square above zero
    commitment, productivity, project, quality : per ``k`` (cut at -2.5 and 3.5), per log productivity, for class 3,
        per pair quality
    trader : trading houses, the more the smaller they are
    firm, firm_size : spread between firms, and how it grows with log workers
    popularity : per log weight of the market
    growth : per unit of the firm's permanent growth
    age, age_max : per year of the spell beyond the third, and the most years that count
    walk_sd, walk_memory : random walk of the pair that slowly returns
    noise, noise_tail : yearly noise ``noise N (1 + noise_tail |N|)``
    cap : largest log EUR of a pair in a year
    """

    constant: float = 7.671
    size: float = 0.1608
    size_squared: float = 0.03226
    commitment: float = 1.28
    productivity: float = 0.5
    project: float = 2.126
    quality: float = 0.115
    trader: float = 3.5
    firm: float = 1.426
    firm_size: float = 0.06021
    popularity: float = 0.35
    growth: float = 8.0
    age: float = 0.1105
    age_max: float = 5.0
    walk_sd: float = 0.2
    walk_memory: float = 0.97
    noise: float = 0.5195
    noise_tail: float = 0.15
    cap: float = 22.0


@dataclass(frozen=True, slots=True)
class MissionParameters:
    """Who goes on a mission (logit scale), from what the registers show at the end of the year before.

    Attributes
    ----------
    workers, productivity, exports : per log workers (cut at 0 and 7), log turnover per worker, log(1 + EUR exports)
    growth : per growth of log(1 + exports) over two years, cut at -3 and 3
    years, markets : per active year of the last four, per log(1 + markets)
    before : been on a mission before
    here, here_incidental : trades with the host; the same for incidental exporters, on top
    near : trades with a neighbour of the host
    independent, independent_trend : independent SME, and its change per year since 2010
    level : regime `fixed_level`: per unit of the firm's permanent log export level
    candidate : regime `fixed_level`: the host is one of the firm's permanent candidate markets
    settled_years : regime `fixed_level`: only firms at least this old go, so that levels no longer drift with age
    hidden : regime `unobserved`: per unit of the part of commitment that size does not explain
    """

    workers: float = 0.45
    productivity: float = 0.3
    exports: float = 0.08
    growth: float = 0.15
    years: float = 0.15
    markets: float = 0.35
    before: float = 2.2
    here: float = 1.0
    here_incidental: float = 2.0
    near: float = 0.4
    independent: float = 1.1
    independent_trend: float = 0.055
    level: float = 0.25
    candidate: float = 1.5
    settled_years: int = 10
    hidden: float = 0.6


@dataclass(frozen=True, slots=True)
class AffiliateParameters:
    """Affiliates abroad without missions.

    Attributes
    ----------
    constant, workers, trading : logit of opening one in a market in a year: constant, per log workers, trading there
    closing : yearly probability that an affiliate ends
    closing_mission : factor on it for affiliates opened within two years of a mission to the market (they last longer)
    """

    constant: float = -10.2
    workers: float = 0.65
    trading: float = 1.0
    closing: float = 0.08
    closing_mission: float = 0.5


@dataclass(frozen=True, slots=True)
class EffectParameters:
    """What a mission does on its market, from the year after it; which kind is frozen at the end of the year before.

    Entry hazards are by size (independent SME, other) and country group (OECD, BRICS, developing, other).

    Attributes
    ----------
    stay : logit of trading (staying and entering), firms that were incidental, for ``stay_years`` years
    exit : logit of staying, pairs that were structural, for ``stay_years`` years
    entry : extra yearly probability of entering, pairs without trade in the two years before, for ``entry_years`` years
    affiliate : extra yearly probability of opening an affiliate, for ``entry_years`` years
    growth : log value of the pair's exports, for ``growth_years`` years
    """

    stay: float = 3.37
    exit: float = 0.743
    entry: tuple[tuple[float, ...], tuple[float, ...]] = (
        (0.06887, 0.09243, 0.0, 0.08935),
        (0.05511, 0.06731, 0.0, 0.067),
    )
    affiliate: tuple[tuple[float, ...], tuple[float, ...]] = (
        (0.01502, 0.02421, 0.0, 0.00974),
        (0.0174, 0.0262, 0.0, 0.01095),
    )
    growth: float = 0.05
    stay_years: int = 6
    entry_years: int = 2
    growth_years: int = 3

    @classmethod
    def none(cls) -> EffectParameters:
        """Return effects that are all zero."""
        zero = ((0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0))
        return cls(stay=0.0, exit=0.0, entry=zero, affiliate=zero, growth=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationSettings:
    """Everything that fixes simulated registers, the seed included.

    Attributes
    ----------
    seed : start of the keyed random numbers, 0 or more
    firms : number of firms drawn; 490,000 is the national scale, missions shrink in proportion
    first_year, last_year : years of the trade register
    truth : ``cbs_2024`` plants the tuned effects, ``none`` plants none
    selection : what participation depends on: ``observed_history``, ``fixed_level`` or ``unobserved``
    attendance : ``status_last_year``, or ``still_trading``: of the firms that traded with the host in the year before,
        only those that still do attend
    spillover : share of the continuation, exit and growth effects that also reaches the firm's other markets
    """

    seed: int = 2026
    firms: int = FIRMS_NATIONAL
    first_year: int = 2004
    last_year: int = 2024
    truth: Truth = "cbs_2024"
    selection: Selection = "observed_history"
    attendance: Attendance = "status_last_year"
    spillover: float = 0.0
    firm: FirmParameters = field(default_factory=FirmParameters)
    market: MarketParameters = field(default_factory=MarketParameters)
    activity: ActivityParameters = field(default_factory=ActivityParameters)
    value: ValueParameters = field(default_factory=ValueParameters)
    mission: MissionParameters = field(default_factory=MissionParameters)
    affiliate: AffiliateParameters = field(default_factory=AffiliateParameters)
    planted: EffectParameters = field(default_factory=EffectParameters)

    def __post_init__(self) -> None:
        for name, options in (("truth", TRUTHS), ("selection", SELECTIONS), ("attendance", ATTENDANCES)):
            if getattr(self, name) not in options:
                raise SettingsError(f"`{name}`: expected one of {list(options)}, found {getattr(self, name)!r}.")
        if self.seed < 0 or self.firms < 1:
            raise SettingsError("`seed` must be 0 or more and `firms` 1 or more.")
        if not FIRST_SIMULATED_YEAR <= self.first_year <= self.last_year:
            raise SettingsError(
                f"expected {FIRST_SIMULATED_YEAR} <= first_year <= last_year, found {self.first_year}-{self.last_year}."
            )
        if not 0.0 <= self.spillover <= 1.0:
            raise SettingsError("`spillover` is a share: expected a number from 0 to 1.")

    @property
    def effects(self) -> EffectParameters:
        """The effects of this world: those planted, or none."""
        return self.planted if self.truth == "cbs_2024" else EffectParameters.none()

    def as_dict(self) -> dict[str, object]:
        """Return all settings as plain values, for a file."""
        return dataclasses.asdict(self)

    def truth_key(self) -> str:
        """Return a short hash of all that moves the truth: every setting but the seed and the number of firms."""
        plain = dataclasses.replace(self, planted=self.effects).as_dict()
        del plain["seed"], plain["firms"]
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]
