"""What a design adds to rows: who is compared with whom, how its weights were made, and what that does to clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.errors import SettingsError
from missie_impact.numerics.cells import Design as Covariates
from missie_impact.numerics.covariance import Scores

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]

MATCHED_SET = "matched_set"
MISSION_OF_SET = "mission_of_the_matched_set"
POPULATIONS = {
    "att": "treated",
    "att_on_support": "treated on support",
    "ate": "all",
    "ate_on_support": "all on support",
    "ato": "overlap",
}


@dataclass(frozen=True, slots=True)
class WeightScores:
    """Score equations of the model that made the weights, so that errors can include this step.

    Attributes
    ----------
    positions : (m,) rows of the risk set that the equations run over; of a row that stands there several times the last
        one makes the weight
    scores : the equations: covariates of these rows, their scores, and the inverse derivative
    slope : (n,) derivative of each row's weight, sampling weight included, in the linear predictor of its score
    balancing : exponential weights that balance moments, not a logit of the treatment
    coef : (k,) parameters of the weights, where known
    """

    positions: Positions
    scores: Scores
    slope: Floats
    balancing: bool = False
    coef: Floats | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """A design as its rows see it.

    Attributes
    ----------
    weight : (n,) of the design alone
    estimand : "att", "att_on_support", "ate", "ate_on_support" or "ato"
    method : in words
    sets : (n,) matched set of each row, -1 for none; None without sets
    pairs : (m, 2) positions of treated and control rows where controls were used again, else None
    weighting : how the weights were estimated; None for matching
    score : (n,) propensity score, or None
    alike : (c, 1 + q) rows of controls in use, each with its nearest other controls; None unless used again
    score_model : equations of the propensity behind a matching, or None
    """

    weight: Floats
    estimand: str
    method: str
    sets: NDArray[np.intp] | None = None
    pairs: Positions | None = None
    weighting: WeightScores | None = None
    score: Floats | None = None
    alike: Positions | None = None
    score_model: WeightScores | None = None


def compared_of(source: Any, n_rows: int, sampling: Floats | None) -> Compared:
    """Read a design: its weight is always there, the rest where it has it.

    Parameters
    ----------
    source : the design
    n_rows : rows of its risk set
    sampling : (n,) weights with which rows were sampled, or None
    """
    weight = np.asarray(source.weight, dtype=np.float64)
    if len(weight) != n_rows:
        raise SettingsError(
            f"design: expected a weight for each of {n_rows} rows of its risk set, found {len(weight)}."
        )
    bad = n_rows - int(np.count_nonzero((weight >= 0) & np.isfinite(weight)))
    if bad:
        raise SettingsError(f"design: expected finite weights of at least 0, found {bad} of {n_rows} rows without one.")
    estimand = str(getattr(source, "estimand", "att"))
    if estimand not in POPULATIONS:
        raise SettingsError(f"design: expected an estimand among {sorted(POPULATIONS)}, found {estimand!r}.")
    sets, pairs = getattr(source, "sets", None), getattr(source, "pairs", None)
    score, model = getattr(source, "score", None), getattr(source, "model", None)
    alike, score_model = getattr(source, "alike", None), getattr(source, "score_model", None)
    return Compared(
        weight,
        estimand,
        str(getattr(source, "method", "weights")),
        None if sets is None else np.asarray(sets, dtype=np.intp),
        None if pairs is None or sets is not None else np.asarray(pairs, dtype=np.intp),
        None if model is None else _weight_scores(model, sampling, "entropy" in str(getattr(source, "method", ""))),
        None if score is None else np.asarray(score, dtype=np.float64),
        None if alike is None else np.asarray(alike, dtype=np.intp),
        None if score_model is None else _weight_scores(score_model, sampling, False),
    )


def _weight_scores(model: Any, sampling: Floats | None, balancing: bool) -> WeightScores:
    design: Covariates = model.covariates
    slope = np.asarray(model.slope, dtype=np.float64)
    scores = Scores(design, np.asarray(model.score, dtype=np.float64), np.asarray(model.bread), float(design.n_rows))
    coef, rows = getattr(model, "coef", None), getattr(model, "rows", None)
    positions = np.arange(design.n_rows) if rows is None else np.asarray(rows, dtype=np.intp)
    return WeightScores(positions, scores, slope if sampling is None else slope * sampling, balancing, coef)


def add_set_columns(
    frame: pd.DataFrame, sets: NDArray[np.intp], treated: NDArray[np.bool_], mission: str | None
) -> None:
    """Add the matched set of each row to a collected table, and the mission of the set's treated row.

    A set whose treated row names no mission is a cluster of its own; rows outside sets keep none.
    """
    frame[MATCHED_SET] = pd.array(np.where(sets >= 0, sets, 0), dtype="Int64")
    frame.loc[sets < 0, MATCHED_SET] = pd.NA
    if mission is None or mission not in frame:
        return
    codes = pd.factorize(frame[mission])[0].astype(np.int64)
    leads = np.flatnonzero(treated & (sets >= 0) & (codes >= 0))[::-1]  # the first treated row of a set decides
    of_set = -1 - np.arange(int(sets.max(initial=-1)) + 1, dtype=np.int64)  # its own number where none is known
    of_set[sets[leads]] = codes[leads]
    joined = np.where(sets >= 0, of_set[np.maximum(sets, 0)], codes)
    frame[MISSION_OF_SET] = pd.array(joined, dtype="Int64")
    frame.loc[(sets < 0) & (codes < 0), MISSION_OF_SET] = pd.NA


def with_sets(name: str, columns: list[tuple[str, ...]], mission: str | None) -> tuple[str, list[tuple[str, ...]]]:
    """Clusters of rows in matched sets: a mission is that of the set, any other single choice goes with the set.

    Sets lie inside the mission of their treated row, so that dimension covers them.
    """
    if not columns:
        return name, columns
    moved = [
        (MISSION_OF_SET,) if dimension == (mission,) and mission is not None else dimension for dimension in columns
    ]
    covered = {(MISSION_OF_SET,), (MATCHED_SET,)} & set(moved)
    if len(moved) == 1 and not covered:
        return f"{name} + matched set", [*moved, (MATCHED_SET,)]
    return name, moved
