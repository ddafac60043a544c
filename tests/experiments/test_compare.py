import numpy as np
import pytest

from dkse_jax.experiments.compare import Judged, difference


def judged(correct, labels, groups):
    ids = tuple(f"{group}/{i}" for i, group in enumerate(groups))
    return Judged(ids, np.array(labels), tuple(groups), np.array(correct, bool))


LABELS = [0, 0, 0, 0, 1, 1, 1, 1]
GROUPS = ["a", "a", "b", "b", "c", "c", "d", "d"]


def compared(row, other, seed=0):
    rows = [[judged(run, LABELS, GROUPS) for run in runs] for runs in (row, other)]
    return difference(*rows, samples=2000, seed=seed)


def test_the_mean_is_the_gain_in_accuracy_over_all_seeds():
    result = compared([[1] * 8, [1, 1, 1, 1, 0, 0, 0, 0]], [[0] * 8, [1] * 8])
    assert result.mean == (8 - 4) / 16


def test_what_is_hard_for_both_cancels():
    same = [[1, 0, 0, 0, 1, 1, 0, 1]]
    assert compared(same, same) == (0.0, 0.0, 0.0)


def test_a_gain_in_every_group_is_better_and_in_some_unresolved():
    assert compared([[1] * 8], [[0] * 8]).verdict == "better"
    assert compared([[0] * 8], [[1] * 8]).verdict == "worse"
    mixed = compared([[1, 1, 0, 0, 1, 1, 1, 1]], [[0, 0, 1, 1, 0, 0, 1, 1]])
    assert mixed.mean == 0.25 * (2 - 2 + 2) / 2
    assert mixed.low < 0 < mixed.high
    assert mixed.verdict == "unresolved"


def test_groups_are_drawn_whole_and_within_their_class():
    # Class 0 gains in both of its groups, class 1 in none: only draws across classes would vary.
    result = compared([[1, 1, 1, 1, 0, 0, 0, 0]], [[0] * 8])
    assert result == (0.5, 0.5, 0.5)
    # One of two groups gains: the draws have it twice, once or never.
    result = compared([[1, 1, 0, 0, 0, 0, 0, 0]], [[0] * 8])
    assert result == (0.25, 0.0, 0.5)


def test_the_order_of_the_examples_does_not_matter():
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(0, 2, 60), rng.integers(0, 5, 60)
    groups = [f"{group} of {label}" for group, label in zip(groups, labels, strict=True)]
    runs = [judged(rng.random(60) < share, labels, groups) for share in (0.7, 0.5)]
    order = rng.permutation(60)
    shuffled = [
        Judged(
            tuple(run.ids[i] for i in order),
            run.labels[order],
            tuple(run.groups[i] for i in order),
            run.correct[order],
        )
        for run in runs
    ]
    # With few draws, the percentiles would change with the order of the groups.
    one, two = (difference([a], [b], samples=20, seed=0) for a, b in (runs, shuffled))
    assert one == two
    assert one.low < one.mean < one.high


def test_runs_that_judged_different_examples_are_no_pair():
    with pytest.raises(ValueError, match="different examples"):
        difference(
            [judged([1, 1], [0, 1], ["a", "c"])],
            [judged([1, 1], [0, 1], ["b", "c"])],
            samples=10,
            seed=0,
        )
