"""Integrals over a normal effect per cluster: adaptive Gauss-Hermite quadrature, nodes around each cluster's mode.

Under the complementary log-log link the rate of a row is exp(eta) exp(sd u), so all rows of a cluster without an event
enter through one number, the sum of exp(eta). Only the other rows, few in a hazard, are evaluated at every node.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from missie_impact.errors import SettingsError
from missie_impact.numerics.cells import Codes, Floats
from missie_impact.numerics.links import LARGEST_ETA, Link

MODE_STEPS = 60
MODE_NEAR = 1e-6  # the rule is exact for any centre near the mode


@dataclass(frozen=True, slots=True)
class ClusterRows:
    """Rows of G clusters, those without an event summed where the link allows it.

    Attributes
    ----------
    y, eta, frequency : (m,) of the rows that are evaluated one by one, sorted by cluster; eta without the effect
    edges : (G + 1,) first such row of each cluster, and their number
    rate : (G,) sum of frequency * exp(eta) over the other rows
    """

    y: Floats
    eta: Floats
    frequency: Floats
    edges: Codes
    rate: Floats

    @property
    def cluster(self) -> Codes:
        """Cluster of each single row, shape (m,)."""
        return np.repeat(np.arange(len(self.rate)), np.diff(self.edges))

    def totals(self, row: Floats) -> Floats:
        """Sums per cluster of (m, ...) numbers of the single rows."""
        m = len(self.y)
        ones = sparse.csr_array((np.ones(m), np.arange(m), self.edges), (len(self.rate), m))
        return np.asarray(ones @ row)

    def part(self, clusters: slice) -> ClusterRows:
        """Return some neighbouring clusters."""
        rows = self.rows(clusters)
        edges = self.edges[clusters.start : clusters.stop + 1] - rows.start
        return ClusterRows(self.y[rows], self.eta[rows], self.frequency[rows], edges, self.rate[clusters])

    def rows(self, clusters: slice) -> slice:
        """Single rows of some neighbouring clusters."""
        return slice(int(self.edges[clusters.start]), int(self.edges[clusters.stop]))


@dataclass(frozen=True, slots=True)
class ClusterIntegral:
    """Integrated rows of some clusters.

    Attributes
    ----------
    log_likelihood, mode, mean, second : (G,) log integral, most likely u, first two moments of u given the rows
    growth : (G,) mean of exp(sd u) given the rows: what the summed rates are multiplied by
    score : (G, k + 1) in the coefficients and sd; empty without derivatives
    information : (k + 1, k + 1) minus the Hessian, without the curvature of the summed rows in the coefficients
    """

    log_likelihood: Floats
    mode: Floats
    mean: Floats
    second: Floats
    growth: Floats
    score: Floats
    information: Floats


def integrate_clusters(
    link: Link,
    rows: ClusterRows,
    sd: float,
    rule: tuple[Floats, Floats],
    *,
    start: Floats | None = None,
    derivatives: tuple[Floats, Floats, Floats] | None = None,
) -> ClusterIntegral:
    """Integrate the rows of some clusters.

    Parameters
    ----------
    sd : standard deviation of the effect
    rule : from `hermite_rule`
    start : (G,) where to look for the modes
    derivatives : covariates of the single rows (m, k), covariates of the summed rows times their rates (G, k), and
        probability weights (G,) of the information; None leaves score and information out
    """
    nodes, log_weights = rule
    mode, spread = cluster_modes(link, rows, sd, start)
    u = mode[:, None] + np.sqrt(2.0) * spread[:, None] * nodes
    cluster = rows.cluster
    growth = np.exp(np.minimum(sd * u, LARGEST_ETA))
    at = rows.eta[:, None] + sd * u[cluster]
    terms = link.terms(np.broadcast_to(rows.y[:, None], at.shape).ravel(), at.ravel())
    f = rows.frequency[:, None]
    joint = rows.totals(f * terms.log_likelihood.reshape(at.shape)) - rows.rate[:, None] * growth
    joint += log_weights - 0.5 * u**2 + np.log(spread / np.sqrt(np.pi))[:, None]
    top = joint.max(axis=1, keepdims=True)
    posterior = np.exp(joint - top)
    mass = posterior.sum(axis=1, keepdims=True)
    posterior /= mass
    log_likelihood = (top + np.log(mass))[:, 0]
    mean, second = (posterior * u).sum(axis=1), (posterior * u**2).sum(axis=1)
    grown = (posterior * growth).sum(axis=1)
    if derivatives is None:
        return ClusterIntegral(log_likelihood, mode, mean, second, grown, np.empty((0, 0)), np.empty((0, 0)))
    score = f * terms.score.reshape(at.shape)
    observed = f * terms.observed.reshape(at.shape)
    averaged, information = _derivatives(rows, (u, growth, posterior), (score, observed), derivatives)
    return ClusterIntegral(log_likelihood, mode, mean, second, grown, averaged, information)


def _derivatives(
    rows: ClusterRows,
    nodes: tuple[Floats, Floats, Floats],
    of_rows: tuple[Floats, Floats],
    covariates: tuple[Floats, Floats, Floats],
) -> tuple[Floats, Floats]:
    """Score of each cluster and information, by Louis: mean curvature less the spread of the scores over the nodes."""
    (u, growth, posterior), (score, observed), (x, summed, weight) = nodes, of_rows, covariates
    g, q = u.shape
    m, k, cluster = len(rows.y), summed.shape[1], rows.cluster
    # Scores of each cluster at each node, (G, q, k + 1): a row feeds the q lines of its own cluster.
    at_nodes = np.empty((g, q, k + 1))
    np.multiply(-growth[:, :, None], summed[:, None, :], out=at_nodes[:, :, :k])
    if m:
        lines = (cluster * q)[:, None] + np.arange(q)
        feeds = sparse.csr_array((score.ravel(), lines.ravel(), np.arange(m + 1) * q), (m, g * q))
        at_nodes[:, :, :k] += np.asarray(feeds.T @ x).reshape(g, q, k)
    rates = rows.rate[:, None] * growth
    at_nodes[:, :, k] = (rows.totals(score) - rates) * u
    averaged = np.einsum("gq,gqk->gk", posterior, at_nodes)
    at_nodes -= averaged[:, None, :]
    at_nodes *= np.sqrt(posterior * weight[:, None])[:, :, None]
    flat = at_nodes.reshape(-1, k + 1)
    information = -(flat.T @ flat)
    weighted = posterior * weight[:, None]
    curvature = observed * weighted[cluster]
    information[:k, :k] += x.T @ (x * curvature.sum(axis=1)[:, None])
    across = x.T @ (curvature * u[cluster]).sum(axis=1) + ((weighted * growth * u).sum(axis=1)) @ summed
    information[:k, k] += across
    information[k, :k] += across
    information[k, k] += float((curvature * u[cluster] ** 2).sum() + (weighted * rates * u**2).sum())
    return averaged, information


def cluster_modes(link: Link, rows: ClusterRows, sd: float, start: Floats | None = None) -> tuple[Floats, Floats]:
    """Most likely u of each cluster, and the spread of the integrand around it."""
    u = np.zeros(len(rows.rate)) if start is None else start
    cluster = rows.cluster
    for _ in range(MODE_STEPS):
        terms = link.terms(rows.y, rows.eta + sd * u[cluster])
        rate = rows.rate * np.exp(np.minimum(sd * u, LARGEST_ETA))
        slope = sd * (rows.totals(rows.frequency * terms.score) - rate) - u
        curvature = 1.0 + sd**2 * (rows.totals(rows.frequency * terms.observed) + rate)
        step = np.clip(slope / curvature, -2.0, 2.0)
        u = u + step
        if np.abs(step).max(initial=0.0) < MODE_NEAR:
            break
    return u, 1.0 / np.sqrt(curvature)


def summed_rows(link: Link, y: Floats) -> NDArray[np.bool_]:
    """Tell which rows enter through their summed rates: those without an event under complementary log-log."""
    return y <= 0 if link.name == "cloglog" else np.zeros(len(y), dtype=bool)


def hermite_rule(points: int) -> tuple[Floats, Floats]:
    """Return the nodes and the logarithms of weights times exp(node squared)."""
    if points < 3:
        raise SettingsError(f"expected at least 3 quadrature points, found {points}.")
    nodes, weights = np.polynomial.hermite.hermgauss(points)
    return nodes, np.log(weights) + nodes**2
