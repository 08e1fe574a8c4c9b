"""The counterfactual indicator: what the budget indicator would have shown for comparable pairs without support."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from missie_impact.effects.increase.counterfactual_match import (
    FIGURES,
    PERCENT,
    Matched,
    amounts,
    corrected,
    matched_pairs,
    uncorrected,
    widening,
)
from missie_impact.effects.increase.counterfactual_pool import (
    MATCHINGS,
    PATH_YEARS,
    Matching,
    Tables,
    Trial,
    make_pool,
    supported_pairs,
    trial_tables,
)
from missie_impact.effects.increase.counterfactual_result import HEAVY, CounterfactualIndicator
from missie_impact.errors import NoParticipantError, SettingsError
from missie_impact.flow import Flow, FlowStep
from missie_impact.indicator.budget import check_instruments, grouping, refuse_unseen_years, with_group
from missie_impact.indicator.sums import base_years
from missie_impact.numerics.covariance import interval
from missie_impact.numerics.tails import bootstrap_interval, leave_one_out, resample, smaller_size, top_shares
from missie_impact.panel import Panel

MIN_FIRMS = 10


@dataclass(frozen=True, slots=True)
class CounterfactualOptions:
    """Settings of the comparison.

    Attributes
    ----------
    ratio : matches per supported pair
    caliper_sd : largest distance of a match in standard deviations of what is matched on; None for no limit
    draws : of the bootstrap
    conf_level : of the intervals
    placebo : also compute the placebo, where the data reach back far enough
    margin_pp : largest placebo difference in the share of growers that still counts as none, percentage points

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> options = mi.CounterfactualOptions(ratio=1, draws=50, placebo=False)
    >>> found = mi.counterfactual_indicator(panel, (2020,), matchings=("with_last_year",), options=options)
    >>> found.placebo is None
    True
    """

    ratio: int = 5
    caliper_sd: float | None = None
    draws: int = 999
    conf_level: float = 0.95
    placebo: bool = True
    margin_pp: float = 2.5

    def __post_init__(self) -> None:
        for name, value, least in (
            ("ratio", self.ratio, 1),
            ("draws", self.draws, 2),
            ("margin_pp", self.margin_pp, 0),
        ):
            if not value >= least:
                raise SettingsError(f"{name}: expected a number of at least {least}, found {value!r}.")
        if self.caliper_sd is not None and not self.caliper_sd > 0:
            raise SettingsError(f"caliper_sd: expected a number above zero, or None, found {self.caliper_sd!r}.")
        if not 0.5 < self.conf_level < 1:
            raise SettingsError(f"conf_level: expected a number between 0.5 and 1, found {self.conf_level!r}.")


def counterfactual_indicator(
    panel: Panel,
    cohorts: Sequence[int] = (2020, 2021),
    *,
    by: str | None = "size",
    instruments: Sequence[str] | None = None,
    matchings: Sequence[str] = ("with_last_year", "without_last_year"),
    options: CounterfactualOptions | None = None,
    seed: int = 1,
) -> CounterfactualIndicator:
    """Put beside the budget indicator the same statistic for comparable firm x market pairs without support.

    Each supported pair is matched with pairs of firms without any support in the same year: exactly on size, sector
    (over all sectors where its own holds fewer candidates than matches), market group (the market itself where the pair
    has no exports before) and number of active years, nearest on level, last year, growth and variability of the path
    before the support and on the firm's size, exports and markets, all before the support year. The base year itself
    only enters the statistic. Exports of a match are put on the level of its supported pair, so that euro are those of
    the supported pair had it developed like its match. Shares of growers are corrected for what matches differ in.

    Parameters
    ----------
    panel : panel of `build_panel`
    cohorts : support years t; each needs t-4..t+3 in the trade register
    by : as in `budget_indicator`
    instruments : the support that counts; all by default
    matchings : "with_last_year" (path t-4..t-1) and "without_last_year" (t-4..t-2) form the bracket to report;
        "base_year" shows what goes wrong when pairs are matched on the base year
    options : see `CounterfactualOptions`
    seed : of drawn candidates, ties and bootstrap

    Returns
    -------
    CounterfactualIndicator

    Raises
    ------
    YearRangeError
        If a year that a cohort needs is not in the trade register.
    NoParticipantError
        If no supported pair can be compared.
    SettingsError
        If a matching, a grouping or an instrument is not known.

    Notes
    -----
    Both arms: pairs without support in the years of the wash-out, firms in the register the year before that exist in
    the year of the support. What is left out is counted in the flow. See ``docs/methods/counterfactual_indicator.md``.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> found = mi.counterfactual_indicator(panel, cohorts=(2020,), matchings=("with_last_year",))
    >>> found.table[["observed", "expected", "difference"]].shape
    (42, 3)
    """
    chosen = options or CounterfactualOptions()
    check_instruments(panel, instruments)
    if isinstance(matchings, str) or not matchings or set(matchings) - set(MATCHINGS):
        raise SettingsError(f"`matchings`: expected a list of some of {sorted(MATCHINGS)}, found {matchings!r}.")
    if base_years(panel.definitions) != (0,):
        raise SettingsError(
            'counterfactual indicator: expected the definition indicator_base="t"; with the mean of t-2 and t-1 the '
            "base would lie on the path that pairs are matched on."
        )
    years = tuple(sorted({int(cohort) for cohort in cohorts}))
    horizon = panel.definitions.indicator_horizon
    refuse_unseen_years(panel, years, range(-PATH_YEARS, horizon + 1))
    work = _Work(panel, by, instruments, chosen, seed)
    asked = [MATCHINGS[name] for name in matchings]
    main = work.runs(asked, [Trial(t, t) for t in years])
    shift = horizon + 1
    far = years[0] - shift - PATH_YEARS >= panel.first_year
    placebo: list[_Run] = []
    if chosen.placebo and far:
        placebo = work.placebos(asked, [Trial(t, t - shift) for t in years])
    table = pd.concat([run.table for run in main], ignore_index=True)
    before = pd.concat([run.table for run in placebo], ignore_index=True) if placebo else None
    return CounterfactualIndicator(
        table=table,
        balance=pd.concat([run.balance for run in main], ignore_index=True),
        placebo=before,
        instruments=None if instruments is None else tuple(sorted(instruments)),
        definitions=panel.definitions,
        conf_level=chosen.conf_level,
        notes=_notes(chosen, before, far, list(matchings)),
        flow=panel.linkage.flow.then(*Flow(main[0].steps).of("supported pairs").steps),
        simulated=panel.registers.settings.simulated is not None,
    )


@dataclass(frozen=True, slots=True)
class _Run:
    table: pd.DataFrame
    balance: pd.DataFrame
    steps: tuple[FlowStep, ...]


@dataclass(frozen=True, slots=True)
class _Work:
    """Everything that stays the same over matchings and trials."""

    panel: Panel
    by: str | None
    instruments: Sequence[str] | None
    options: CounterfactualOptions
    seed: int

    def placebos(self, matchings: Sequence[Matching], trials: Sequence[Trial]) -> list[_Run]:
        """Return the placebo runs; none where no supported pair was there early enough."""
        try:
            return self.runs(matchings, trials)
        except NoParticipantError:
            return []

    def runs(self, matchings: Sequence[Matching], trials: Sequence[Trial]) -> list[_Run]:
        """Match and compare all trials under each matching."""
        found: list[dict[str, Matched]] = [{} for _ in matchings]
        steps: list[list[FlowStep]] = [[] for _ in matchings]
        balance: list[list[pd.DataFrame]] = [[] for _ in matchings]
        supports = supported_pairs(self.panel, self.instruments)
        for trial in trials:
            tables = trial_tables(self.panel, trial, supports)
            for k, matching in enumerate(matchings):
                matched, passed = self._matched(tables, matching)
                found[k][str(trial.support)] = matched
                steps[k] += passed
                balance[k].append(matched.balance.assign(cohort=str(trial.support), matching=matching.name))
            tables.forget(self.panel)
        # the matching on the base year is there to show its bias, and is left as it is
        done = [
            corrected(trials_of) if max(m.years) < 0 else uncorrected(trials_of)
            for m, trials_of in zip(matchings, found, strict=True)
        ]
        return [
            _Run(
                pd.DataFrame(list(self._lines(done[k], matching))),
                pd.concat(balance[k], ignore_index=True),
                tuple(steps[k]),
            )
            for k, matching in enumerate(matchings)
        ]

    def _matched(self, tables: Tables, matching: Matching) -> tuple[Matched, list[FlowStep]]:
        matched = matched_pairs(
            make_pool(self.panel, tables, matching, self.seed),
            matching,
            self.panel.definitions,
            ratio=self.options.ratio,
            caliper_sd=self.options.caliper_sd,
            seed=self.seed,
        )
        trial, firms = tables.trial, int(matched.treated["firm"].nunique())
        last = FlowStep(f"{trial.support}: matched", len(matched.treated), firms, firms, "no comparable pair")
        return self._grouped(matched, trial), [*tables.steps, last]

    def _grouped(self, matched: Matched, trial: Trial) -> Matched:
        """Add the indicator's group of the support year to supported pairs and to their matches."""
        if self.by is None:
            treated, controls = matched.treated.assign(group="all"), matched.controls.assign(group_of_unit="all")
            return replace(matched, treated=treated, controls=controls)
        scheme = grouping(self.by, self.panel.definitions)
        keys = matched.treated[["firm", "market"]].assign(cohort=np.int64(trial.support))
        taken = self.panel.engine.take(keys)
        named = with_group(taken, self.panel, (trial.support,), self.by, scheme)
        rows = self.panel.collect(named.select("firm", "market", "group"), sort_by=["firm", "market"])
        self.panel.engine.forget(taken)
        index = matched.treated.index
        treated = matched.treated.merge(rows, on=["firm", "market"], how="left").set_axis(index)
        group = treated["group"].reindex(matched.controls["unit"]).to_numpy()
        return replace(matched, treated=treated, controls=matched.controls.assign(group_of_unit=group))

    def _lines(self, found: dict[str, Matched], matching: Matching) -> Iterator[dict[str, object]]:
        levels = sorted({g for m in found.values() for g in m.treated["group"].unique()} - {"all"})
        for group in ["all", *levels]:
            cells = {}
            for cohort, matched in found.items():
                if group == "all" or (matched.treated["group"] == group).any():
                    cells[cohort] = _Cell.of(matched, group, self)
                    yield from self._figures(cells[cohort], cohort, group, matching)
            if len(cells) > 1:
                yield from self._figures(_Cell.together(list(cells.values())), "all", group, matching)
            elif len(found) == 1 and cells:
                yield from self._figures(next(iter(cells.values())), "all", group, matching)

    def _figures(self, cell: _Cell, cohort: str, group: str, matching: Matching) -> Iterator[dict[str, object]]:
        key = {"cohort": cohort, "group": group, "matching": matching.name}
        for line in cell.lines(self.options, self.seed):
            yield {**key, **line}


@dataclass(frozen=True, slots=True)
class _Cell:
    """Amounts per supported firm of one cohort (or of all) and group."""

    observed: pd.DataFrame
    expected: pd.DataFrame
    correction: pd.DataFrame
    n_firms: int
    n_pairs: int
    n_unmatched: int
    n_across_sectors: int
    wider: dict[str, float]

    @classmethod
    def of(cls, matched: Matched, group: str, work: _Work) -> _Cell:
        observed, expected, correction, n_pairs = amounts(matched, group, work.options.ratio, work.panel.definitions)
        whole = group == "all"
        lost = matched.n_supported - len(matched.treated) if whole else 0
        across = matched.n_across_sectors if whole else 0
        wider = widening(matched, group, observed - expected)
        return cls(observed, expected, correction, len(observed), n_pairs, lost, across, wider)

    @classmethod
    def together(cls, cells: Sequence[_Cell]) -> _Cell:
        """Add up cohorts, firm by firm: a firm in several is one cluster."""
        observed, expected, correction = (
            pd.concat([getattr(cell, name) for cell in cells]).groupby(level=0).sum()
            for name in ("observed", "expected", "correction")
        )
        counts = ("n_firms", "n_pairs", "n_unmatched", "n_across_sectors")
        n_firms, n_pairs, lost, across = (sum(getattr(c, name) for c in cells) for name in counts)
        wider = {name: max(cell.wider[name] for cell in cells) for name in cells[0].wider}
        return cls(observed, expected, correction, n_firms, n_pairs, lost, across, wider)

    def lines(self, options: CounterfactualOptions, seed: int) -> Iterator[dict[str, object]]:
        """One line per figure; NaN intervals, with the reason, where too few firms stand behind it."""
        names = list(FIGURES)
        difference = (self.observed - self.expected)[names].to_numpy()
        few = len(difference) < MIN_FIRMS
        ends = {} if few else _intervals(difference, options, seed)
        error = np.sqrt(len(difference)) * difference.std(axis=0)
        for j, name in enumerate(names):
            unit = FIGURES[name]
            share = unit == PERCENT
            total = self.n_pairs if name == "share_pairs" else self.n_firms
            by = 100.0 / total if share else 1.0
            wide = self.wider["share" if share else name.split("_")[0]]
            point = float(difference[:, j].sum()) * by
            line: dict[str, object] = {
                "figure": name,
                "unit": "percent" if share else unit,
                "observed": float(self.observed[name].sum()) * by,
                "expected": float(self.expected[name].sum()) * by,
                "difference": point,
                "correction": float(self.correction[name].sum()) * by,
                "std_error": np.nan if few else float(error[j]) * by * wide,
            }
            for prefix, method in (
                ("conf", "percentile"),
                ("studentised", "studentised"),
                ("m_out_of_n", "m_out_of_n"),
            ):
                low, high = (np.nan, np.nan) if few else (float(end[j]) * by for end in ends[method])
                line[f"{prefix}_low"], line[f"{prefix}_high"] = (
                    point + wide * (low - point),
                    point + wide * (high - point),
                )
            tops = (np.nan,) * 3 if share else top_shares(difference[:, j])
            without = (np.nan, np.nan) if share else leave_one_out(difference[:, j])
            yield {
                **line,
                "interval": "" if share or "winsorised" in name else HEAVY,
                **dict(zip(("top_1", "top_5", "top_10"), tops, strict=True)),
                **dict(zip(("without_one_low", "without_one_high"), without, strict=True)),
                "n_firms": self.n_firms,
                "n_pairs": self.n_pairs,
                "n_unmatched": self.n_unmatched,
                "n_across_sectors": self.n_across_sectors,
                "reason": f"fewer than {MIN_FIRMS} supported firms: no interval" if few else "",
            }


def _intervals(
    difference: np.ndarray, options: CounterfactualOptions, seed: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Ends of the intervals of totals by method; supported firms are drawn with their matched sets."""
    level = options.conf_level
    whole = resample(difference, draws=options.draws, seed=seed)
    part = resample(difference, draws=options.draws, seed=seed, size=smaller_size(len(difference)))
    return {
        "percentile": bootstrap_interval(whole, "percentile", level),
        "studentised": bootstrap_interval(whole, "studentised", level),
        "m_out_of_n": bootstrap_interval(part, "m_out_of_n", level),
    }


def _notes(
    options: CounterfactualOptions, placebo: pd.DataFrame | None, far: bool, matchings: list[str]
) -> tuple[str, ...]:
    words = "; ".join(f"{name}: {MATCHINGS[name].words}" for name in matchings)
    notes = [
        f"Matched on: {words}. The two matchings on the path are a bracket: the truth under chance ups and downs of "
        "the year before support lies between them only if nothing else drives who gets support.",
        "Supported pairs with support in the years of the wash-out, of firms not in the register the year before or "
        "ceased in the year itself, or without a comparable pair are left out and counted in the flow: observed "
        "figures are those of the pairs kept.",
        f"Pairs with fewer than {options.ratio} comparable pairs in their own sector are compared with those of all "
        "sectors (n_across_sectors).",
        "Shares of growing pairs and of firms with any: corrected for what matches differ in (correction, part of "
        "expected).",
        f"Intervals: supported firms drawn with their matched sets ({options.draws} draws), widened where firms serve "
        "in several sets. Sums of raw euro: indicative, heavy tail; read the winsorised sum and the share first.",
        "Gross sums need equal variability of both arms: see variability in the balance table.",
    ]
    if placebo is None:
        why = "no supported pair was there early enough" if far else "the data begin too late"
        notes.append(f"No placebo: {why if options.placebo else 'not asked for'}.")
    else:
        notes += _verdicts(placebo, options)
    if "base_year" in matchings:
        notes.append("base_year is there to show its bias and is no estimate.")
    return tuple(notes)


def _verdicts(placebo: pd.DataFrame, options: CounterfactualOptions) -> list[str]:
    lines = placebo[(placebo["figure"] == "share_growers") & (placebo["cohort"] == "all") & (placebo["group"] == "all")]
    out = []
    for name, point, error in zip(lines["matching"], lines["difference"], lines["std_error"], strict=True):
        low, high = interval(float(point), float(error), level=0.90)
        inside = -options.margin_pp < float(low) and float(high) < options.margin_pp
        verdict = "inside" if inside else "not shown to be inside"
        out.append(
            f"Placebo ({name}, four years earlier): difference in the share of growers "
            f"{point:.1f} pp, {verdict} the margin of {options.margin_pp} pp (two one-sided tests at 5%)"
            + ("." if inside else ": the design fails it.")
        )
    return out
