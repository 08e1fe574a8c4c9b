# ruff: noqa: RUF009 - each rule is a field with its metadata
"""Every rule, threshold and size scheme by name, each with where it comes from.

Status of a rule: ``documented`` (published for the question at hand), ``carried over`` (published elsewhere by CBS
and applied here), ``assumed`` (not documented by CBS). Rules of the statistical design are ``design``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

import pandas as pd

from missie_impact.errors import SettingsError

Status = Literal["documented", "carried over", "assumed", "design"]
Flow = Literal["export", "import", "either"]
SizeScheme = Literal["cbs_independent", "letter", "eu", "cbs_size"]

SIZE_SCHEMES: dict[str, str] = {
    "cbs_independent": "Dutch control and fewer than 250 persons in the group: sme; otherwise not_sme (documented)",
    "letter": "more than 250 persons and more than EUR 50m turnover: large; otherwise sme (thresholds documented)",
    "eu": "fewer than 250 persons and (turnover at most EUR 50m or balance at most EUR 43m): sme; otherwise large",
    "cbs_size": "fewer than 250 persons: sme; otherwise large (carried over)",
}
SIZE_LEVELS: dict[str, tuple[str, str]] = {
    "cbs_independent": ("sme", "not_sme"),
    "letter": ("sme", "large"),
    "eu": ("sme", "large"),
    "cbs_size": ("sme", "large"),
}
COUNTRY_GROUPS = ("OECD", "BRICS", "developing", "other")

INSTRUMENTS: tuple[str, ...] = (
    "mission",
    "business_development_mission",
    "startup_mission",
    "trade_fair",
    "knowledge_voucher",
    "coaching",
    "embassy",
    "trade_innovate_nl",
)
PRIOR_SUPPORT: tuple[str, ...] = (*(f"prior_{name}" for name in INSTRUMENTS), "prior_other_support")

FIRM_CONTROLS: tuple[str, ...] = (
    "log_workers",
    "workers_class",
    "log_productivity",
    "log_age",
    "log_exports",
    "exports_class",
    "export_growth",
    "activity_pattern",
    "log_markets",
    "markets_class",
    "log_imports",
    *PRIOR_SUPPORT,
    "foreign_controlled",
    "independent",
    "sector",
    "region",
)
TRANSITION_CONTROLS: tuple[str, ...] = (*FIRM_CONTROLS, "young", "host_trade", "host_neighbour_trade")
PAIR_CONTROLS: tuple[str, ...] = (
    *FIRM_CONTROLS,
    "log_pair_exports",
    "pair_growth",
    "pair_pattern",
    "neighbour_trade",
    "market_year",
)
DEFAULT_CONTROLS: tuple[str, ...] = tuple(dict.fromkeys((*TRANSITION_CONTROLS, *PAIR_CONTROLS)))


def _rule(default: Any, status: Status, rule: str, *options: Any, source: str = "") -> Any:
    return field(default=default, metadata={"status": status, "rule": rule, "options": options, "source": source})


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """The rules of a study. Change one with :meth:`replace`; read them with :meth:`describe`.

    Examples
    --------
    >>> import missie_impact as mi
    >>> rules = mi.CBS_2024.replace(min_years=2)
    >>> rules.window, rules.min_years
    (4, 2)
    >>> rules.describe().columns.tolist()
    ['name', 'value', 'rule', 'options', 'status', 'source']
    """

    window: int = _rule(
        4, "carried over", "years in the status window", source="CBS Internationalisation Monitor 2020-III"
    )
    min_years: int = _rule(
        3, "carried over", "active years in the window that make a structural trader (services; assumed for goods)"
    )
    require_active: bool = _rule(True, "assumed", "an incidental trader must be active in the last year of the window")
    min_value_eur: float = _rule(0.0, "assumed", "active: yearly value of the flow above this many euro")
    kinds: tuple[str, ...] = _rule(("goods", "services"), "documented", "kinds of trade that count")
    include_estimated: bool = _rule(
        True, "assumed", "values estimated by the statistical office count as observed ones"
    )
    transition_flow: Flow = _rule(
        "export", "documented", "flow of the transition question", "export", "import", "either"
    )
    transition_level: Literal["firm", "market"] = _rule(
        "firm", "assumed", "unit that becomes structural", "firm", "market"
    )
    count_from: Literal["t+1", "t"] = _rule(
        "t+1", "design", "first year of the outcome window, t being the mission year", "t+1", "t"
    )
    outcome_years: int = _rule(4, "carried over", "years in the outcome window")
    exit_flow: Flow = _rule("either", "documented", "flow of the exit question (trader)", "export", "import", "either")
    gap_years: int = _rule(2, "carried over", "years without trade that end a spell (published at firm level)", 1, 2, 3)
    row_year: Literal["first_inactive", "last_active"] = _rule(
        "first_inactive", "carried over", "year an exit is dated", "first_inactive", "last_active"
    )
    exit_horizon: int = _rule(5, "design", "years of follow-up after the mission year in exit trials")
    origin_zeros: int = _rule(2, "design", "years without trade to be seen before a spell to call its origin seen")
    death: Literal["competing", "censor", "exit"] = _rule(
        "competing", "design", "how a firm's death counts in market exit", "competing", "censor", "exit"
    )
    entry_flow: Flow = _rule("either", "documented", "flow of the entry question", "export", "import", "either")
    entry_horizon: int = _rule(
        2, "documented", "years after the mission year in which entry counts", source="CBS 2024/17"
    )
    entry_lookback: int = _rule(2, "assumed", "years without trade before the mission year")
    entry_count_mission_year: bool = _rule(False, "assumed", "trade in the mission year counts as entry")
    washout: int = _rule(3, "design", "years before t without a listed mission, both arms")
    pool: Literal["not_yet", "never"] = _rule(
        "not_yet", "design", "controls: nobody treated in t, or (biased) firms never treated", "not_yet", "never"
    )
    instruments: tuple[str, ...] = _rule(("mission",), "documented", "instruments that are the treatment")
    minister_led_only: bool = _rule(True, "documented", "only missions led by a minister or state secretary are listed")
    size_transition: SizeScheme = _rule("cbs_independent", "assumed", "size scheme of the transition", *SIZE_SCHEMES)
    size_exit: SizeScheme = _rule("cbs_independent", "assumed", "size scheme of market exit", *SIZE_SCHEMES)
    size_entry: SizeScheme = _rule("cbs_independent", "documented", "size scheme of market entry", *SIZE_SCHEMES)
    size_indicator: SizeScheme = _rule("letter", "documented", "size scheme of the budget indicator", *SIZE_SCHEMES)
    letter_connective: Literal["and", "or"] = _rule(
        "and", "assumed", "how the two thresholds of the letter's size scheme combine", "and", "or"
    )
    indicator_base: Literal["t", "mean_t-2_t-1"] = _rule(
        "t", "documented", "base year of the budget indicator", "t", "mean_t-2_t-1"
    )
    indicator_horizon: int = _rule(3, "documented", "years of the budget indicator after the support year")
    indicator_aggregate: Literal["gross", "net", "gross_firm"] = _rule(
        "gross",
        "assumed",
        "sum of the positive increases of pairs, of all increases, or of firms' increases where positive",
        "gross",
        "net",
        "gross_firm",
    )
    indicator_grower: Literal["any_pair", "firm_sum", "any_year"] = _rule(
        "any_pair",
        "assumed",
        "a firm with an increase: the mean increase of any supported pair, or of all together, is positive; or a pair "
        "is above its base in any year",
        "any_pair",
        "firm_sum",
        "any_year",
    )
    indicator_winsor_eur: float = _rule(
        1_000_000.0, "assumed", "winsorised sums cut the yearly increase of a firm at this many euro, on both sides"
    )
    identity: Literal["successor", "none"] = _rule(
        "successor", "carried over", "a changed firm identity is followed to its successor", "successor", "none"
    )
    brics: tuple[str, ...] = _rule(("BR", "RU", "IN", "CN", "ZA"), "assumed", "markets of the group BRICS")

    def __post_init__(self) -> None:
        for f in fields(self):
            value, options = getattr(self, f.name), f.metadata["options"]
            if options and value not in options:
                raise SettingsError(f"definition `{f.name}`: expected one of {list(options)}, found {value!r}.")
        for name in ("window", "min_years", "outcome_years", "gap_years", "exit_horizon", "entry_horizon"):
            if getattr(self, name) < 1:
                raise SettingsError(
                    f"definition `{name}`: expected a whole number of at least 1, found {getattr(self, name)}."
                )
        if self.min_years > self.window:
            raise SettingsError(
                f"definition `min_years` ({self.min_years}) exceeds `window` ({self.window}): nobody is structural."
            )

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some rules changed; an unknown rule is an error that lists the known ones."""
        return self.with_changes(changes)

    def with_changes(self, changes: Mapping[str, Any]) -> Self:
        """Return a copy with the rules of a mapping, as read from ``study.toml``."""
        known = {f.name for f in fields(self)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise SettingsError(f"unknown definitions {unknown}: expected some of {sorted(known)}.")
        tidy: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in changes.items()}
        return dataclasses.replace(self, **tidy)

    def describe(self) -> pd.DataFrame:
        """Return one row per rule: name, value, rule, options, status, source."""
        rows = [
            {
                "name": f.name,
                "value": getattr(self, f.name),
                "rule": f.metadata["rule"],
                "options": ", ".join(str(o) for o in f.metadata["options"]),
                "status": f.metadata["status"],
                "source": f.metadata["source"],
            }
            for f in fields(self)
        ]
        return pd.DataFrame(rows)

    def _repr_html_(self) -> str:
        return str(self.describe().to_html(index=False, border=0))


CBS_2024 = Definitions()
