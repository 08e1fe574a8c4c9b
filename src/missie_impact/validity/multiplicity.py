"""Many tests at once: families fixed before estimation, and p values adjusted within each.

Families of the study: entering a market by size and country group (trade), the same for affiliates, and the subgroup
differences of each headline. Equality of subgroups is tested jointly first (:func:`compare_groups`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from missie_impact.effects.compare import METHODS, adjusted
from missie_impact.effects.result import TIDY_COLUMNS, Effect, Estimate, is_ratio
from missie_impact.errors import SettingsError
from missie_impact.numerics.multiple import step_down

STEP_DOWN = "step_down"
DRAWS = 10_000


def adjust_p_values(
    tests: Effect | Mapping[str, Sequence[Estimate]],
    *,
    scale: str | None = None,
    method: str = "holm",
    draws: int = DRAWS,
    seed: int = 1,
) -> pd.DataFrame:
    """Adjust p values for the number of tests in each family.

    Parameters
    ----------
    tests : family name -> its estimates, as fixed before they were made; or one effect whose groups (without "all")
        are the family
    scale : of an effect
    method : "holm" (default), "bonferroni", "hochberg", "fdr_bh", "none"; "step_down" of one effect uses the joint
        distribution of its groups' estimates, with less to pay where these hang together
    draws, seed : of the step-down

    Returns
    -------
    DataFrame
        family, the columns of ``Effect.tidy()``, adjusted_p_value, method, n_tests. Estimates without a p value stay
        and do not count.

    Raises
    ------
    SettingsError
        If the method is unknown, a family is empty, the scale of an effect is not said, or a step-down lacks the joint
        covariance of one effect's groups.

    References
    ----------
    Holm (1979), Scandinavian Journal of Statistics 6, 65-70; Romano and Wolf (2005), Econometrica 73, 1237-1282. The
    step-down draws from the normal distribution with the clustered covariance, to which the cluster bootstrap of the
    statistics converges.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0, 0, 1, 1] * 2, "left": [0, 1] * 4, "size": ["sme"] * 4 + ["large"] * 4})
    >>> table["rows"] = [50, 50, 80, 20, 50, 50, 50, 50]
    >>> risk = mi.RiskSet.from_frame(table, outcome="left", treatment="went", frequency="rows")
    >>> found = mi.structural_transition(risk, cluster=None, controls=None, by="size")
    >>> mi.adjust_p_values(found, scale="odds_ratio")["adjusted_p_value"].round(3).tolist()
    [1.0, 0.0]
    """
    if method not in (*METHODS, STEP_DOWN):
        raise SettingsError(f"method: expected one of {[*METHODS, STEP_DOWN]}, found {method!r}.")
    if isinstance(tests, Effect):
        if scale is None:
            raise SettingsError(f"scale: say which, expected one of {list(tests.scales)}.")
        groups = [g.group for g in tests.groups if g.group != "all"] or ["all"]
        family = [tests.effect(scale, group=group) for group in groups]
        tables = [_table(tests.outcome, family)]
        if method == STEP_DOWN:
            return _step_down(tables[0], tests, scale, draws, seed)
    else:
        if method == STEP_DOWN:
            raise SettingsError("a step-down needs the joint covariance of one effect's groups; give the effect.")
        tables = [_table(name, list(listed)) for name, listed in tests.items()]
    done = [
        t.assign(
            adjusted_p_value=adjusted(t["p_value"].to_numpy(dtype=np.float64), method),
            method=method,
            n_tests=int(t["p_value"].notna().sum()),
        )
        for t in tables
    ]
    return pd.concat(done, ignore_index=True)


def _table(family: str, listed: Sequence[Estimate]) -> pd.DataFrame:
    if not listed:
        raise SettingsError(f"family {family!r}: expected at least one estimate, found none.")
    rows = [[getattr(estimate, name) for name in TIDY_COLUMNS] for estimate in listed]
    table = pd.DataFrame(rows, columns=list(TIDY_COLUMNS))
    table.insert(0, "family", family)
    return table


def _step_down(table: pd.DataFrame, effect: Effect, scale: str, draws: int, seed: int) -> pd.DataFrame:
    if effect.vcov not in effect.across:
        raise SettingsError(f"errors {effect.vcov!r}: this effect holds no covariance between groups; use 'holm'.")
    width, position = len(effect.scales), effect.scales.index(scale)
    places = [i for i, g in enumerate(effect.groups) if g.group != "all"]
    index = [i * width + position for i in places]
    matrix = effect.across[effect.vcov][np.ix_(index, index)]
    value = table["estimate"].to_numpy(dtype=np.float64)
    there = np.flatnonzero(np.isfinite(np.diag(matrix)) & table["p_value"].notna().to_numpy())
    theta = (np.log(value) if is_ratio(scale) else value)[there]
    matrix = matrix[np.ix_(there, there)]
    error = np.sqrt(np.diag(matrix))
    null = np.random.default_rng(seed).multivariate_normal(
        np.zeros(len(there)), matrix / np.outer(error, error), size=draws, check_valid="ignore"
    )
    found = np.full(len(table), np.nan)
    found[there] = step_down(theta / error, null)
    return table.assign(adjusted_p_value=found, method=STEP_DOWN, n_tests=len(there))
