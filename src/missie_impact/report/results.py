"""Results to tables: every kind of result in the one vocabulary, with its units, counts and notes."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import pandas as pd

from missie_impact.design import Balance, Design
from missie_impact.effects.result import Effect
from missie_impact.effects.survival.curves import Curve
from missie_impact.errors import SettingsError
from missie_impact.flow import Flow
from missie_impact.indicator.letter import LABEL
from missie_impact.indicator.result import BudgetIndicator
from missie_impact.report.labels import Language, label
from missie_impact.report.tables import Table

EFFECT_COLUMNS = (
    "outcome", "group", "scale", "estimate", "conf_low", "conf_high", "p_value", "n_firms", "n_treated", "n_events",
    "design", "reason",
)  # fmt: skip


def table(*results: Any, language: Language = "en") -> Table:
    """Put results of one kind into one table.

    Parameters
    ----------
    results : effects, or one flow, balance, design, curve or indicator
    language : of heads, groups and scales

    Raises
    ------
    SettingsError
        If there is none, kinds are mixed, or a kind has no table.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> mi.table(panel.flow).frame["rows"].is_monotonic_decreasing
    True
    """
    if not results:
        raise SettingsError("a table needs at least one result, found none.")
    kinds = sorted({type(result).__name__ for result in results})
    if len(kinds) > 1 or (len(results) > 1 and not isinstance(results[0], Effect)):
        raise SettingsError(f"expected one result, or several effects, found {len(results)} of kinds {kinds}.")
    if isinstance(results[0], Effect):
        return effect_table(*results, language=language)
    made: Table = as_table(results[0], language)
    return made


@singledispatch
def as_table(result: Any, language: Language) -> Any:
    """Make the table of one kind of result; registered per kind."""
    raise SettingsError(
        f"no table for a {type(result).__name__}; expected an effect, flow, balance, curve or indicator."
    )


def effect_table(*effects: Effect, language: Language = "en", scales: tuple[str, ...] = ()) -> Table:
    """One row per effect, group and scale; errors of ratios are left out, since they are those of logarithms.

    Parameters
    ----------
    scales : scales to show, in this order; all without it

    Raises
    ------
    SettingsError
        If no effect has one of the scales.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0] * 10 + [1] * 10, "structural": [1] * 2 + [0] * 8 + [1] * 5 + [0] * 5})
    >>> risk = mi.RiskSet.from_frame(table, outcome="structural", treatment="went")
    >>> found = mi.structural_transition(risk, cluster=None, controls=None)
    >>> mi.effect_table(found, scales=("risk_ratio",)).frame["estimate"].round(2).tolist()
    [2.5]
    """
    frame = pd.concat([effect.tidy() for effect in effects], ignore_index=True)
    if scales:
        unknown = sorted(set(scales) - set(frame["scale"]))
        if unknown:
            raise SettingsError(f"no scales {unknown}: expected some of {list(dict.fromkeys(frame['scale']))}.")
        order = {scale: i for i, scale in enumerate(scales)}
        frame = frame[frame["scale"].isin(scales)].sort_values("scale", key=lambda s: s.map(order), kind="stable")
    frame = frame[[c for c in EFFECT_COLUMNS if c != "reason" or frame["reason"].astype(bool).any()]]
    levels = sorted({effect.conf_level for effect in effects})
    notes = [f"{effect.outcome}: {effect.model}; {effect.design}; errors: {effect.vcov}" for effect in effects]
    notes += [f"{level:.0%} intervals" for level in levels]
    notes += [note for effect in effects for note in effect.notes]
    return Table(
        frame.reset_index(drop=True),
        label("effects", language),
        tuple(dict.fromkeys(notes)),
        any(effect.simulated for effect in effects),
        language,
    )


@as_table.register(Flow)
def flow_table(flow: Flow, language: Language = "en") -> Table:
    """Who is left after each step, and why others are not.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> mi.flow_table(panel.flow).frame.columns.tolist()
    ['table', 'step', 'rows', 'firms', 'participants', 'lost_rows', 'reason']
    """
    return Table(flow.frame(), label("flow", language), simulated=flow.simulated, language=language)


@as_table.register(Curve)
def curve_points(curve: Curve, language: Language = "en") -> Table:
    """Points of a curve with what stands behind each; empty columns left out."""
    frame = curve.tidy().replace({"": None}).dropna(axis="columns", how="all")
    return Table(frame, f"{curve.outcome}: {curve.scale}", (curve.design, *curve.notes), curve.simulated, language)


@as_table.register(Balance)
def balance_table(balance: Balance, language: Language = "en") -> Table:
    """Differences between treated and others before and after, with the verdict.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [1, 1, 1, 0, 0, 0, 0], "left": [0] * 7, "large": [1, 1, 0, 1, 0, 0, 0]})
    >>> risk = mi.RiskSet.from_frame(table, outcome="left", treatment="went")
    >>> mi.balance_table(mi.balance(mi.weight(risk, on=["large"]))).frame["term"].tolist()
    ['propensity score', 'large']
    """
    return Table(balance.table, label("balance", language), (balance.verdict,), balance.simulated, language)


@as_table.register(Design)
def design_table(design: Design, language: Language = "en") -> Table:
    """Who was lost on the way to a design."""
    return flow_table(design.flow, language)


@as_table.register(BudgetIndicator)
def indicator_table(indicator: BudgetIndicator, language: Language = "en") -> Table:
    """Rows of the budget indicator, labelled goal attainment.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> indicator = mi.budget_indicator(panel, cohorts=(2020,))
    >>> mi.indicator_table(indicator).frame["group"].tolist()
    ['all', 'sme', 'large']
    """
    title = f"{label('budget indicator', language)}: {LABEL[language]}"
    return Table(indicator.frame(), title, indicator.notes, indicator.simulated, language)
