"""Integrals over a normal effect per cluster: adaptive Gauss-Hermite quadrature, nodes around each cluster's mode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse, special

from missie_impact.errors import SettingsError
from missie_impact.numerics.cells import Codes, Floats
from missie_impact.numerics.links import Link

MODE_STEPS = 60


@dataclass(frozen=True, slots=True)
class ClusterIntegral:
    """Integrated rows of the clusters of a chunk: log likelihood, moments of u, scores and information."""

    log_likelihood: Floats
    mean: Floats
    second: Floats
    score: Floats
    information: Floats


def integrate_clusters(
    link: Link,
    rows: tuple[Floats, Floats, Floats],
    starts: Codes,
    sd: float,
    rule: tuple[Floats, Floats],
    x: Floats,
    weight: Floats,
) -> ClusterIntegral:
    """Integrate the rows of some clusters.

    Parameters
    ----------
    rows : outcome, linear predictor without the effect, and frequency of each row, sorted by cluster
    starts : first row of each cluster
    sd : standard deviation of the effect
    rule : from `hermite_rule`
    x : (n, k) covariates; empty to leave the derivatives out
    weight : probability weight of each cluster
    """
    y, eta, f = rows
    size = np.diff(np.append(starts, len(y)))
    nodes, log_weights = rule
    mode, spread = cluster_modes(link, rows, starts, size, sd)
    u = mode[:, None] + np.sqrt(2.0) * spread[:, None] * nodes
    at = eta[:, None] + sd * np.repeat(u, size, axis=0)
    terms = link.terms(np.broadcast_to(y[:, None], at.shape).ravel(), at.ravel())
    total = np.add.reduceat(f[:, None] * terms.log_likelihood.reshape(at.shape), starts, axis=0)
    joint = total - 0.5 * u**2 - 0.5 * np.log(2 * np.pi) + log_weights + np.log(np.sqrt(2.0) * spread)[:, None]
    log_likelihood = special.logsumexp(joint, axis=1)
    posterior = np.exp(joint - log_likelihood[:, None])
    mean, second = (posterior * u).sum(axis=1), (posterior * u**2).sum(axis=1)
    if not x.size:
        return ClusterIntegral(log_likelihood, mean, second, np.empty((0, 0)), np.empty((0, 0)))
    row_score = f[:, None] * terms.score.reshape(at.shape)
    row_information = (
        f[:, None] * terms.observed.reshape(at.shape) * np.repeat(posterior * weight[:, None], size, axis=0)
    )
    # Scores of each cluster at each node, (clusters, nodes, k + 1): a row feeds the q lines of its own cluster.
    q = len(nodes)
    lines = np.repeat(np.arange(len(starts)) * q, size)[:, None] + np.arange(q)
    feeds = sparse.csr_array((row_score.ravel(), lines.ravel(), np.arange(len(y) + 1) * q), (len(y), len(starts) * q))
    of_x = np.asarray(feeds.T @ x).reshape(len(starts), q, -1)
    of_sd = np.add.reduceat(row_score, starts, axis=0) * u
    score = np.concatenate([of_x, of_sd[:, :, None]], axis=2)
    averaged = np.einsum("gq,gqk->gk", posterior, score)
    flat = (score * np.sqrt(posterior * weight[:, None])[:, :, None]).reshape(-1, score.shape[2])
    spread_of_scores = flat.T @ flat - (averaged * weight[:, None]).T @ averaged
    u_rows = np.repeat(u, size, axis=0)
    own = x.T @ (x * row_information.sum(axis=1)[:, None])
    across = x.T @ (row_information * u_rows).sum(axis=1)
    last = float((row_information * u_rows**2).sum())
    information = np.block([[own, across[:, None]], [across[None, :], np.array([[last]])]]) - spread_of_scores
    return ClusterIntegral(log_likelihood, mean, second, averaged, information)


def cluster_modes(
    link: Link, rows: tuple[Floats, Floats, Floats], starts: Codes, size: Codes, sd: float
) -> tuple[Floats, Floats]:
    """Most likely u of each cluster, and the spread of the integrand around it."""
    y, eta, f = rows
    u = np.zeros(len(starts))
    for _ in range(MODE_STEPS):
        terms = link.terms(y, eta + sd * np.repeat(u, size))
        slope = sd * np.add.reduceat(f * terms.score, starts) - u
        curvature = 1.0 + sd**2 * np.add.reduceat(f * terms.observed, starts)
        step = np.clip(slope / curvature, -2.0, 2.0)
        u = u + step
        if np.abs(step).max(initial=0.0) < 1e-6:  # the rule is exact for any centre near the mode
            break
    return u, 1.0 / np.sqrt(curvature)


def hermite_rule(points: int) -> tuple[Floats, Floats]:
    """Return the nodes and the logarithms of weights times exp(node squared)."""
    if points < 3:
        raise SettingsError(f"expected at least 3 quadrature points, found {points}.")
    nodes, weights = np.polynomial.hermite.hermgauss(points)
    return nodes, np.log(weights) + nodes**2
