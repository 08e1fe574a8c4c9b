"""Do groups differ? A joint test of equality first, then pairs of groups.

Each group is fitted on its own rows; a firm may have rows in several groups, so their estimates are correlated and the
tests use the covariance that shared clusters make.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg, special

from missie_impact.display import html_table
from missie_impact.effects.result import Effect, inference, is_ratio
from missie_impact.errors import SettingsError

Floats = NDArray[np.float64]
METHODS = ("holm", "bonferroni", "hochberg", "fdr_bh", "none")


@dataclass(frozen=True, slots=True, eq=False)
class GroupTest:
    """Whether an effect differs between groups.

    Made by :func:`compare_groups`.

    Attributes
    ----------
    scale : of the effect; ratios are compared in logs
    variable : what makes the groups
    groups : (m,) names of the groups compared
    left_out : groups without an estimate
    statistic : Wald statistic of equality of all groups
    df : its degrees of freedom, m - 1 (fewer where estimates are linearly dependent)
    p_value : of equality, chi-squared; F with the degrees of two-way errors
    pairs : one row per pair: group, other, difference (ratios: ratio of ratios), std_error (of the logarithm for
        ratios), p_value, conf_low, conf_high and adjusted_p_value over all pairs
    method : of the adjustment
    vcov : errors in use
    simulated : whether the registers are simulated ones
    """

    scale: str
    variable: str
    groups: tuple[str, ...]
    left_out: tuple[str, ...]
    statistic: float
    df: int
    p_value: float
    pairs: pd.DataFrame
    method: str
    vcov: str
    simulated: bool = False

    def tidy(self) -> pd.DataFrame:
        """Return one row: the joint test."""
        names = ("variable", "scale", "statistic", "df", "p_value", "vcov")
        return pd.DataFrame([{name: getattr(self, name) for name in names} | {"n_groups": len(self.groups)}])

    def __repr__(self) -> str:
        return (
            f"GroupTest({self.variable}, {self.scale}: chi2({self.df}) = {self.statistic:.3g}, p = {self.p_value:.3g})"
        )

    def _repr_html_(self) -> str:
        test = f"statistic {self.statistic:.4g}, {self.df} degrees of freedom, p {self.p_value:.4g}"
        notes = [f"equality of {len(self.groups)} groups: {test}; errors: {self.vcov}; pairs adjusted by {self.method}"]
        notes += [f"without an estimate: {', '.join(self.left_out)}"] if self.left_out else []
        return html_table(
            self.pairs, title=f"Differences by {self.variable}, {self.scale}", notes=notes, simulated=self.simulated
        )


def compare_groups(effect: Effect, scale: str, *, by: str | None = None, method: str = "holm") -> GroupTest:
    """Test whether an effect is the same in all groups, and compare the groups in pairs.

    Parameters
    ----------
    effect : fitted with ``by=``
    scale : such as "risk_ratio"; ratios are compared in logs
    by : which of several subgroup variables
    method : adjustment of the pairs' p values, as in :func:`missie_impact.validity.multiplicity.adjust_p_values`

    Raises
    ------
    SettingsError
        If the effect has fewer than two groups with an estimate, no such scale, or its estimator does not say how
        groups hang together.

    References
    ----------
    Wald test on stacked estimating equations: Stefanski and Boos (2002), The American Statistician 56, 29-38.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0, 0, 1, 1] * 2, "left": [0, 1] * 4, "size": ["sme"] * 4 + ["large"] * 4})
    >>> table["rows"] = [50, 50, 80, 20, 50, 50, 50, 50]
    >>> risk = mi.RiskSet.from_frame(table, outcome="left", treatment="went", frequency="rows")
    >>> found = mi.structural_transition(risk, cluster=None, controls=None, by="size")
    >>> mi.compare_groups(found, "odds_ratio").pairs["difference"].round(2).tolist()
    [4.0]
    """
    if scale not in effect.scales:
        raise SettingsError(f"no scale {scale!r}: expected one of {list(effect.scales)}.")
    if effect.vcov not in effect.across:
        raise SettingsError(
            f"errors {effect.vcov!r}: this effect holds no covariance between groups. Fit it with by= and stacked "
            "errors, by an estimator that offers them (regression, weighting, doubly robust)."
        )
    variable, places = _places(effect, by)
    names = [effect.groups[i].group for i in places]
    width = len(max((g.scales for g in effect.groups), key=len))
    position = effect.scales.index(scale)
    values = np.array([effect.groups[i].values[position] for i in places], dtype=np.float64)
    theta = np.log(values) if is_ratio(scale) else values
    index = [i * width + position for i in places]
    matrix = effect.across[effect.vcov][np.ix_(index, index)]
    there = np.isfinite(theta) & np.isfinite(np.diag(matrix))
    kept = np.flatnonzero(there)
    if len(kept) < 2:
        raise SettingsError(f"{variable}: expected at least two groups with an estimate, found {len(kept)}.")
    theta, matrix = theta[kept], matrix[np.ix_(kept, kept)]
    degrees = min(effect.groups[places[k]].degrees.get(effect.vcov, math.inf) for k in kept)
    statistic, df, p_value = wald(theta, matrix, degrees)
    found = [names[k] for k in kept]
    return GroupTest(
        scale, variable, tuple(found), tuple(n for n, t in zip(names, there, strict=True) if not t), statistic, df,
        p_value, _pairs(found, theta, matrix, degrees, effect.conf_level, scale, method), method, effect.vcov,
        effect.simulated,
    )  # fmt: skip


def adjusted(p_values: Floats, method: str = "holm") -> Floats:
    """Adjust the p values of one family; missing ones stay missing and do not count.

    Parameters
    ----------
    p_values : (m,)
    method : "holm", "bonferroni", "hochberg" (family-wise error), "fdr_bh" (false discoveries) or "none"

    References
    ----------
    Holm (1979), Scandinavian Journal of Statistics 6, 65-70. statsmodels ``multipletests``.
    """
    from statsmodels.stats.multitest import multipletests

    if method not in METHODS:
        raise SettingsError(f"method: expected one of {list(METHODS)}, found {method!r}.")
    found, there = np.array(p_values, dtype=np.float64), np.isfinite(p_values)
    if there.any() and method != "none":
        found[there] = multipletests(found[there], method={"hochberg": "simes-hochberg"}.get(method, method))[1]
    return found


def wald(theta: Floats, matrix: Floats, degrees: float = math.inf) -> tuple[float, int, float]:
    """Test that (m,) estimates are equal: statistic, degrees of freedom and p value."""
    contrast = np.hstack([-np.ones((len(theta) - 1, 1)), np.eye(len(theta) - 1)])
    gap, spread = contrast @ theta, contrast @ matrix @ contrast.T
    values, vectors = linalg.eigh((spread + spread.T) / 2)
    solid = values > 1e-10 * values.max()
    statistic, df = float(((vectors.T @ gap)[solid] ** 2 / values[solid]).sum()), int(solid.sum())
    if math.isinf(degrees):
        return statistic, df, float(special.chdtrc(df, statistic))
    return statistic, df, float(special.fdtrc(df, degrees, statistic / df))


def _places(effect: Effect, by: str | None) -> tuple[str, list[int]]:
    """Variable that makes the groups and the positions of these."""
    variables = [g.group.partition("=")[0] + _scheme(g.group) for g in effect.groups]
    there = list(dict.fromkeys(v for v, g in zip(variables, effect.groups, strict=True) if g.group != "all"))
    if by is None and len(there) == 1:
        by = there[0]
    if by not in there:
        raise SettingsError(f"by={by!r}: expected one of {there}, the variables of this effect's groups.")
    return by, [i for i, v in enumerate(variables) if v == by and effect.groups[i].group != "all"]


def _scheme(group: str) -> str:
    """Scheme behind a size class, as by= names it: "size=sme (eu)" is of "size:eu"."""
    named = group.startswith("size=") and group.endswith(")")
    return f":{group.rpartition('(')[2][:-1]}" if named else ""


def _pairs(
    names: list[str], theta: Floats, matrix: Floats, degrees: float, conf_level: float, scale: str, method: str
) -> pd.DataFrame:
    rows = []
    ratio = is_ratio(scale)
    for i, j in combinations(range(len(names)), 2):
        gap = float(theta[i] - theta[j])
        error = math.sqrt(max(float(matrix[i, i] + matrix[j, j] - 2 * matrix[i, j]), 0.0))
        shown = math.exp(gap) if ratio else gap
        # the scale decides between logs and plain numbers; a difference of levels is no level
        _, _, p, low, high = inference(shown, error, degrees, conf_level, scale="odds_ratio" if ratio else "difference")
        rows.append((names[i], names[j], shown, error, p, low, high))
    columns = ["group", "other", "difference", "std_error", "p_value", "conf_low", "conf_high"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(adjusted_p_value=adjusted(table["p_value"].to_numpy(), method))
