"""What matching leaves: by hand."""

import numpy as np
import pandas as pd
import pytest

from missie_impact.effects.increase.counterfactual_correction import corrections, left_by_matching


def trial(size, grown, treated, mine, theirs, path=None):
    n = len(size)
    return left_by_matching(
        pd.DataFrame({"size": np.asarray(size, dtype=float), "alike": 1.0}),
        np.full((n, 2), 100, dtype=np.int64) if path is None else np.asarray(path, dtype=np.int64),
        np.asarray(grown, dtype=bool),
        np.asarray(treated, dtype=bool),
        np.asarray(mine, dtype=np.intp),
        np.asarray(theirs, dtype=np.intp),
    )


def forty():
    """Of 20 small firms 4 grow, of 20 large ones 12."""
    return [0] * 20 + [1] * 20, [1] * 4 + [0] * 16 + [1] * 12 + [0] * 8


def test_a_large_pair_with_small_matches_is_expected_to_grow_more_often():
    size, grown = forty()
    # pair 40 is large, its matches are small: 0.6 - 0.2; pair 41 is large, of its matches one in two: half of that;
    # pair 42 is small and so are its matches. Whether the supported grow does not matter.
    rows = trial([*size, 1, 1, 0], [*grown, 1, 0, 1], [0] * 40 + [1] * 3, [40, 40, 41, 41, 42], [0, 1, 2, 30, 3])
    assert corrections([rows])[0] == pytest.approx([0.4, 0.2, 0.0])


def test_trials_are_added_up():
    size, grown = forty()
    half = [k for k in range(40) if k % 2]
    other = [k for k in range(40) if not k % 2]
    whole = trial([*size, 1], [*grown, 0], [0] * 40 + [1], [40], [0])
    parts = [
        trial([*(size[k] for k in rows), 1], [*(grown[k] for k in rows), 0], [0] * 20 + [1], [20], [0])
        for rows in (half, other)
    ]
    assert [float(found[0]) for found in corrections(parts)] == pytest.approx([float(corrections([whole])[0][0])] * 2)


def test_classes_of_paths_have_slopes_of_their_own():
    size, grown = forty()
    # the same firms again without exports on the path, of whom nobody grows
    path = [[100, 100]] * 40 + [[0, 0]] * 40 + [[100, 100], [0, 0]]
    rows = trial(
        [*size, *size, 1, 1], [*grown, *[0] * 40, 0, 0], [0] * 80 + [1, 1], [80, 81], [0, 40], path=path
    )  # fmt: skip
    assert corrections([rows])[0] == pytest.approx([0.4, 0.0], abs=1e-12)


def test_years_of_the_path_count_one_by_one():
    # Exports in the first year only: 1 in 10 grows; in the second only: 6 in 10. The match has the other year.
    path = [[100, 0]] * 20 + [[0, 100]] * 20 + [[0, 100]]
    grown = [1] * 2 + [0] * 18 + [1] * 12 + [0] * 8 + [0]
    rows = trial([0] * 41, grown, [0] * 40 + [1], [40], [0], path=path)
    assert corrections([rows])[0] == pytest.approx([0.5])


def test_few_candidates_are_left_as_matched():
    rows = trial([0] * 9 + [1] * 9 + [1], [0] * 9 + [1] * 9 + [1], [0] * 18 + [1], [18], [0])
    assert corrections([rows])[0].tolist() == [0.0]
