"""What hazard ratio each way of coding participation gives: how much survivors' bias a wrong one would bring."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.definitions import DEFAULT_CONTROLS
from missie_impact.effects.fitting.rows import ClusterChoice
from missie_impact.effects.leaving.exit import market_exit
from missie_impact.errors import MissieError, SettingsError
from missie_impact.panel import Panel
from missie_impact.risksets.exit import StartFrom, exit_risk_set
from missie_impact.risksets.riskset import RiskSet

TRIALS: tuple[StartFrom, ...] = ("t", "t+1", "t+2")
EVER, SAME_YEAR, NEXT_YEAR = "ever a participant", "spells, switched on in the mission year", "spells, the year after"
CODINGS = (EVER, SAME_YEAR, NEXT_YEAR, *(f"trials from {start}" for start in TRIALS))
SCALE = "hazard_ratio_conditional"
PAIR = ["firm", "market"]


def exit_codings(
    panel: Panel,
    *,
    cluster: ClusterChoice = "firm",
    controls: Sequence[str] | None = DEFAULT_CONTROLS,
    codings: Sequence[str] = CODINGS,
) -> pd.DataFrame:
    """Estimate the exit model under right and wrong codings of participation, side by side.

    Who is still trading can go on a mission, and who went was still trading. A coding that calls a pair treated before
    its mission, or in its year, therefore finds fewer exits among participants even where missions do nothing.

    Parameters
    ----------
    panel : of registers, real or simulated
    cluster, controls : see :func:`market_exit`
    codings : some of ``CODINGS``; the headline is "trials from t+1"

    Returns
    -------
    DataFrame
        One row per coding: ``coding``, ``hazard_ratio`` (conditional on the controls), ``conf_low``, ``conf_high``,
        ``n_rows``, ``n_events``, ``treated_rows``, ``reason``.

    Raises
    ------
    SettingsError
        If a coding is unknown.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> mi.exit_codings(panel, controls=None, codings=["trials from t+1"])["coding"].tolist()
    ['trials from t+1']
    """
    unknown = [coding for coding in codings if coding not in CODINGS]
    if unknown:
        raise SettingsError(f"codings: expected some of {list(CODINGS)}, found {unknown}.")
    lines = []
    if set(codings) & {EVER, SAME_YEAR, NEXT_YEAR}:
        spells = exit_risk_set(panel, "spells")
        default = controls is not None and tuple(controls) == DEFAULT_CONTROLS
        used = spells.controls if default else controls
        frame, treated = _coded(panel, spells)
        for name in (c for c in (EVER, SAME_YEAR, NEXT_YEAR) if c in codings):
            lines.append(_line(name, _recoded(frame, treated[name]), used, cluster))
    for start in TRIALS:
        if f"trials from {start}" in codings:
            lines.append(_line(f"trials from {start}", exit_risk_set(panel, start_from=start), controls, cluster))
    return pd.DataFrame(lines)


def _coded(panel: Panel, spells: RiskSet) -> tuple[pd.DataFrame, dict[str, NDArray[np.intp]]]:
    """Rows of whole spells and their treatment under each coding."""
    frame, missions = spells.collect(), _missions(panel)
    pair = pd.MultiIndex.from_frame(frame[PAIR])
    begun = missions.groupby(PAIR)["year"].min().reindex(pair).to_numpy(dtype=np.float64)
    year = frame["year"].to_numpy(dtype=np.float64)
    return frame, {
        EVER: np.isfinite(begun).astype(np.intp),
        SAME_YEAR: (begun <= year).astype(np.intp),
        NEXT_YEAR: frame["treated"].to_numpy(dtype=np.intp),
    }


def _missions(panel: Panel) -> pd.DataFrame:
    table = panel.engine.collect(panel.supports.select("firm", "market", "year", "listed"))
    return table[table["listed"].astype(bool)]


def _recoded(frame: pd.DataFrame, treated: NDArray[np.intp]) -> RiskSet:
    table = frame.assign(treated=treated, calendar_year=frame["year"].astype(str))
    return RiskSet.from_frame(
        table, outcome="outcome", treatment="treated", firm="firm", market="market", duration="duration"
    )


def _line(coding: str, risk: RiskSet, controls: Sequence[str] | None, cluster: ClusterChoice) -> dict[str, object]:
    columns = ["coding", "hazard_ratio", "conf_low", "conf_high", "n_rows", "n_events", "treated_rows", "reason"]
    named = [*(controls or ()), *(["calendar_year"] if "calendar_year" in risk.columns else [])]
    wanted = controls if risk.design == "trials" else named
    try:
        found = market_exit(risk, controls=wanted, cluster=cluster).effect(SCALE)
    except MissieError as error:
        return dict(
            zip(columns, (coding, np.nan, np.nan, np.nan, risk.n_rows, 0, 0, str(error).split(".")[0]), strict=True)
        )
    treated = int(risk.collect([risk.roles.treatment])[risk.roles.treatment].sum())
    values = (
        coding,
        found.estimate,
        found.conf_low,
        found.conf_high,
        found.n_rows,
        found.n_events,
        treated,
        found.reason,
    )
    return dict(zip(columns, values, strict=True))
