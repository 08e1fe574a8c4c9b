"""Sandwich covariances of any estimator that sums scores: by row, by one cluster, by two.

Everything is made from influences: what a row or cluster adds to the estimate. Names of the small-sample factors are
those of the literature: ``cr0`` none, ``g_over_gm1`` G / (G - 1) (R's ``sandwich::vcovCL(type="HC0")``, Stata's
``vce(cluster)`` after ``logit``), ``cr1`` G / (G - 1) * (N - 1) / (N - K), ``cr3`` scores divided by what a cluster's
own rows bend the fit (close to leaving one cluster out at a time), for few or uneven clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, special

from missie_impact.errors import SettingsError
from missie_impact.numerics.binomial import BinomialFit, score_rows
from missie_impact.numerics.cells import Codes, Design, Floats
from missie_impact.numerics.links import get_link

Correction = Literal["cr0", "g_over_gm1", "cr1", "cr3"]

FEW_CLUSTERS = 30
LARGE_SHARE = 0.10
DENSE_SUMS = 20_000_000  # numbers in a table of score sums per cluster; beyond it, sparse products
CR3_NUMBERS = 20_000_000  # numbers held at a time while clusters' own information is summed


@dataclass(frozen=True, slots=True)
class Clusters:
    """One way of grouping rows.

    Attributes
    ----------
    codes : (n,) cluster of each row, 0 .. count - 1
    count : number of clusters
    """

    codes: Codes
    count: int


@dataclass(frozen=True, slots=True)
class Covariance:
    """Covariance of k estimates, and how it was made.

    Attributes
    ----------
    matrix : (k, k)
    n_clusters : clusters of each dimension; empty without clusters
    correction : small-sample factor; "hc0" for rows, "model" for the inverse information
    df : degrees of freedom for t intervals, min(G) - 1; infinite without clusters
    truncated : number of negative eigenvalues set to zero, which two-way clustering can give
    largest_share : rows of the largest cluster as a share of all, per dimension
    """

    matrix: Floats
    n_clusters: tuple[int, ...]
    correction: str
    df: float
    truncated: int = 0
    largest_share: tuple[float, ...] = ()

    @property
    def std_error(self) -> Floats:
        """Standard errors (k,)."""
        errors: Floats = np.sqrt(np.diag(self.matrix))
        return errors

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know: few or uneven clusters, eigenvalues set to zero."""
        notes = []
        for count, share in zip(self.n_clusters, self.largest_share, strict=False):
            if count < FEW_CLUSTERS:
                notes.append(f"only {count} clusters: clustered errors are likely too small")
            if share > LARGE_SHARE:
                notes.append(f"the largest cluster holds {share:.0%} of the rows")
        if self.truncated:
            notes.append(f"{self.truncated} negative eigenvalues of the two-way covariance were set to zero")
        return tuple(notes)


@dataclass(frozen=True, slots=True)
class Scores:
    """Score equations of a fit at its optimum. Holds row-level numbers, so it is never part of a result.

    Attributes
    ----------
    design : covariates of the rows
    row : (n,) score of each row in its linear predictor, weights included
    bread : (k, k) inverse information
    n_rows : rows, frequency counted
    frequency : (n,) rows that each row stands for, or None
    information : (n,) expected information of each row, weights included; only "cr3" needs it
    """

    design: Design
    row: Floats
    bread: Floats
    n_rows: float
    frequency: Floats | None = None
    information: Floats | None = None

    def by_cluster(self, clusters: Clusters, matrix: Floats | None = None) -> Floats:
        """Sum scores times ``matrix`` (k, r) per cluster, shape (G, r), without an n x k matrix."""
        design, p = self.design, self.design.n_dummies
        if clusters.count * design.n_columns <= DENSE_SUMS:
            sums = design.cluster_sums(self.row, clusters.codes, clusters.count)
            return sums if matrix is None else sums @ matrix
        matrix = np.eye(design.n_columns) if matrix is None else matrix
        total: Floats = np.asarray(self._pairs(clusters) @ np.asarray(design.dummies @ matrix[:p]))
        for values, slopes in zip(design.continuous, matrix[p:], strict=True):
            summed = np.bincount(clusters.codes, self.row * values, minlength=clusters.count)
            total += summed[:, None] * slopes
        return total

    def meat(self, clusters: Clusters) -> Floats:
        """Sum over clusters of the outer product of their score sums, shape (k, k)."""
        design = self.design
        if clusters.count * design.n_columns <= DENSE_SUMS:
            sums = design.cluster_sums(self.row, clusters.codes, clusters.count)
            return sums.T @ sums
        dummies = self._pairs(clusters) @ design.dummies
        other = np.array(
            [np.bincount(clusters.codes, self.row * x, minlength=clusters.count) for x in design.continuous]
        ).reshape(-1, clusters.count)
        mixed = np.asarray(dummies.T @ other.T)
        return np.block([[(dummies.T @ dummies).toarray(), mixed], [mixed.T, other @ other.T]])

    def _pairs(self, clusters: Clusters) -> sparse.csr_array[np.float64]:
        shape = (clusters.count, self.design.n_cells)
        return sparse.csr_array((self.row, (clusters.codes, self.design.cell)), shape=shape)

    def n_clusters(self, clusters: Clusters) -> int:
        """Count the clusters that hold rows; one whose rows all have frequency zero does not exist."""
        if self.frequency is None or self.frequency.all():
            return clusters.count
        return int(np.count_nonzero(np.bincount(clusters.codes, self.frequency, minlength=clusters.count)))

    def meat_of_rows(self) -> Floats:
        """Sum over rows of the outer product of their scores (HC0); a row of frequency f counts as f rows."""
        squares = self.row**2
        if self.frequency is not None:
            squares = squares / np.where(self.frequency > 0, self.frequency, 1.0)
        return self.design.crossproduct(squares)


def fit_scores(
    fit: BinomialFit,
    y: Floats,
    design: Design,
    *,
    frequency: Floats | None = None,
    probability: Floats | None = None,
) -> Scores:
    """Return the score equations of a binomial fit, for sandwiches and for what is derived from it."""
    row = score_rows(fit, y, design, frequency=frequency, probability=probability)
    return Scores(design, row, fit.bread, fit.n_rows, frequency)


def with_information(scores: Scores, fit: BinomialFit, probability: Floats | None = None) -> Scores:
    """Return the scores with the expected information of each row, which "cr3" needs."""
    eta = scores.design.predict(fit.coef)
    information = get_link(fit.link).quick(np.zeros(len(eta)), eta)[2]
    for weight in (scores.frequency, probability):
        information = information if weight is None else information * weight
    return replace(scores, information=information)


def clusters_of(*labels: ArrayLike) -> Clusters:
    """Make clusters from labels of any type; of several columns, from their combinations."""
    codes = np.zeros(0, dtype=np.intp)
    count = 0
    for position, column in enumerate(labels):
        values = np.asarray(column)
        number, size = _numbered(values)
        codes, count = (number, size) if position == 0 else _crossed(codes, number, size)
    return Clusters(codes, count)


def _numbered(values: NDArray[Any]) -> tuple[Codes, int]:
    """Number labels in their order; whole numbers of a narrow range by look-up, which beats sorting."""
    if values.dtype.kind in "iu" and len(values):
        low, high = int(values.min()), int(values.max())
        if high - low < 4 * len(values):
            seen = np.zeros(high - low + 1, dtype=bool)
            seen[values - low] = True
            return (np.cumsum(seen) - 1)[values - low].astype(np.intp, copy=False), int(seen.sum())
    found, number = np.unique(values, return_inverse=True)
    return number.reshape(-1).astype(np.intp), len(found)


def crossed(one: Clusters, other: Clusters) -> Clusters:
    """Return the clusters of rows that share both."""
    return Clusters(*_crossed(one.codes, other.codes, other.count))


def _crossed(one: Codes, other: NDArray[Any], size: int) -> tuple[Codes, int]:
    return _numbered(one.astype(np.int64) * size + other)


def correction_factor(correction: Correction, n_clusters: int, n_rows: float, n_columns: int) -> float:
    """Small-sample factor of one cluster dimension.

    Raises
    ------
    SettingsError
        If the name is unknown, or fewer than two clusters leave nothing to compare.
    """
    if correction not in get_args(Correction):
        raise SettingsError(f"expected a correction among {list(get_args(Correction))}, found {correction!r}.")
    if n_clusters < 2:
        raise SettingsError(
            f"clustered errors need at least two clusters, found {n_clusters}. Choose another cluster, or None."
        )
    if correction in ("cr0", "cr3"):
        return 1.0
    factor = n_clusters / (n_clusters - 1)
    return factor if correction == "g_over_gm1" else factor * (n_rows - 1) / (n_rows - n_columns)


def cluster_covariance(
    bread: Floats, scores_by_cluster: Floats, correction: Correction = "g_over_gm1", *, n_rows: float = np.nan
) -> Covariance:
    """Sandwich of any M-estimator from its (G, k) score sums per cluster.

    Parameters
    ----------
    bread : (k, k) inverse of the derivative of the score equations
    scores_by_cluster : (G, k) sums of scores, one line per cluster
    correction : "cr0", "g_over_gm1" or "cr1" (which needs ``n_rows``)
    """
    g, k = scores_by_cluster.shape
    factor = correction_factor(correction, g, n_rows, k)
    influence = scores_by_cluster @ bread.T
    return Covariance(factor * influence.T @ influence, (g,), correction, g - 1.0)


def covariance(
    scores: Scores,
    clusters: Sequence[Clusters] = (),
    *,
    correction: Correction = "g_over_gm1",
    truncate: bool = True,
) -> Covariance:
    """Robust covariance of the coefficients of a fit.

    Parameters
    ----------
    scores : from `fit_scores`
    clusters : none (every row its own: HC0), one, or two dimensions (V_a + V_b - V_ab, each with its own factor)
    correction : small-sample factor of each dimension
    truncate : set negative eigenvalues of a two-way covariance to zero, and count them

    References
    ----------
    Liang and Zeger (1986), Biometrika 73, 13-22; Cameron, Gelbach and Miller (2011), JBES 29, 238-249;
    Zeileis, Koell and Graham (2020), JSS 95(1).
    """
    if not clusters:
        return Covariance(scores.bread @ scores.meat_of_rows() @ scores.bread, (), "hc0", np.inf)
    k = len(scores.bread)
    parts = []
    for part, sign in dimensions(clusters):
        factor = correction_factor(correction, scores.n_clusters(part), scores.n_rows, k)
        bent = leave_out_sums(scores, part) if correction == "cr3" else None
        parts.append(sign * factor * (scores.meat(part) if bent is None else bent.T @ bent))
    return finish(scores.bread @ np.sum(parts, axis=0) @ scores.bread, scores, clusters, correction, truncate)


def leave_out_sums(scores: Scores, clusters: Clusters) -> Floats:
    """Score sums of CR3, (G, k): the sum s of a cluster becomes (I - M B)^-1 s, M its own information, B the bread."""
    if scores.information is None:
        raise SettingsError('"cr3" needs the information of each row: pass the scores through with_information().')
    k = len(scores.bread)
    order = np.argsort(clusters.codes, kind="stable")
    edges = np.concatenate([[0], np.cumsum(np.bincount(clusters.codes, minlength=clusters.count))])
    sums = scores.by_cluster(clusters)
    chunk = max(1, CR3_NUMBERS // (k * k))
    # whole clusters at a time, so that the per-cluster information never takes much memory
    first = 0
    while first < clusters.count:
        last = max(first + 1, int(np.searchsorted(edges, edges[first] + chunk, side="right")) - 1)
        rows = order[edges[first] : edges[last]]
        x = scores.design.written_out(rows)
        products = (x * scores.information[rows, None])[:, :, None] * x[:, None, :]
        own = np.zeros((last - first, k, k))
        filled = np.flatnonzero(np.diff(edges[first : last + 1]))
        if len(filled):
            own[filled] = np.add.reduceat(products, edges[first:last][filled] - edges[first], axis=0)
        sums[first:last] = np.linalg.solve(np.eye(k) - own @ scores.bread, sums[first:last, :, None])[:, :, 0]
        first = last
    return sums


def dimensions(clusters: Sequence[Clusters]) -> list[tuple[Clusters, float]]:
    """Return the clusterings whose meats are added, with their signs: a; or a, b and minus both."""
    if len(clusters) == 1:
        return [(clusters[0], 1.0)]
    if len(clusters) == 2:
        one, other = clusters
        return [(one, 1.0), (other, 1.0), (crossed(one, other), -1.0)]
    raise SettingsError(f"expected at most two dimensions of clusters, found {len(clusters)}.")


def finish(
    matrix: Floats,
    scores: Scores,
    clusters: Sequence[Clusters],
    correction: str = "g_over_gm1",
    truncate: bool = True,
) -> Covariance:
    """Return a clustered covariance with what a reader must know of it; two-way ones made positive."""
    return described(matrix, clusters, scores.frequency, correction, truncate)


def described(
    matrix: Floats,
    clusters: Sequence[Clusters],
    counts_of: Floats | None = None,
    correction: str = "g_over_gm1",
    truncate: bool = True,
) -> Covariance:
    """Return a clustered covariance with what a reader must know of it, from the rows that each row stands for (n,)."""
    matrix, truncated = (matrix + matrix.T) / 2, 0
    if len(clusters) == 2 and truncate:
        matrix, truncated = positive_part(matrix)
    mass = [np.bincount(c.codes, counts_of, minlength=c.count) for c in clusters]
    counts = tuple(
        int(np.count_nonzero(m)) if counts_of is not None else c.count for m, c in zip(mass, clusters, strict=True)
    )
    shares = tuple(float(m.max() / m.sum()) if m.sum() > 0 else 0.0 for m in mass)
    return Covariance(matrix, counts, correction, min(counts) - 1.0, truncated, shares)


def positive_part(matrix: Floats) -> tuple[Floats, int]:
    """Set negative eigenvalues to zero; return the matrix and how many there were."""
    scale = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    scale[scale == 0] = 1.0  # judged on comparable scales, or a column in small units would decide
    values, vectors = np.linalg.eigh(matrix / np.outer(scale, scale))
    negative = int(np.count_nonzero(values < -1e-12 * max(float(values.max(initial=0.0)), 1e-300)))
    if not negative:
        return matrix, 0
    kept = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return kept * np.outer(scale, scale), negative


def interval(
    estimate: ArrayLike, std_error: ArrayLike, *, level: float = 0.95, df: float = np.inf
) -> tuple[Floats, Floats]:
    """Return the ends of a symmetric interval: normal, or t with ``df`` degrees of freedom where it is finite."""
    quantile = float(special.ndtri(0.5 + level / 2) if np.isinf(df) else special.stdtrit(df, 0.5 + level / 2))
    middle, half = np.asarray(estimate, dtype=np.float64), quantile * np.asarray(std_error, dtype=np.float64)
    return middle - half, middle + half


def p_value(estimate: ArrayLike, std_error: ArrayLike, *, df: float = np.inf) -> Floats:
    """Two-sided p value of estimate / std_error against zero."""
    ratio = np.abs(np.asarray(estimate, dtype=np.float64)) / np.asarray(std_error, dtype=np.float64)
    tail = special.ndtr(-ratio) if np.isinf(df) else special.stdtr(df, -ratio)
    return np.asarray(2 * tail, dtype=np.float64)
