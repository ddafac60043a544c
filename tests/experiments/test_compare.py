import numpy as np
import pytest

from dkse_jax.experiments.compare import Judged, difference


def judged(correct, labels, groups):
    ids = tuple(f"{group}/{i}" for i, group in enumerate(groups))
    return Judged(ids, np.array(labels), tuple(groups), np.array(correct, bool))


LABELS = [0, 0, 0, 0, 1, 1, 1, 1]
GROUPS = ["a", "a", "b", "b", "c", "c", "d", "d"]
Z2 = 1.959964**2


def compared(row, other, seed=0, times=2):
    """The difference on the groups of GROUPS, repeated under other names."""
    labels = LABELS * times
    groups = [f"{group}{part}" for part in range(times) for group in GROUPS]
    rows = [[judged(run * times, labels, groups) for run in runs] for runs in (row, other)]
    return difference(*rows, samples=2000, seed=seed)


def test_the_mean_is_the_gain_in_accuracy_over_all_seeds():
    result = compared([[1] * 8, [1, 1, 1, 1, 0, 0, 0, 0]], [[0] * 8, [1] * 8])
    assert result.mean == (8 - 4) / 16


def test_what_is_hard_for_both_cancels():
    """None of 8 groups differs: by Wilson, at most z² / (8 + z²) of all would."""
    same = [[1, 0, 0, 0, 1, 1, 0, 1]]
    most = pytest.approx(Z2 / (8 + Z2))
    mean, low, high, groups = result = compared(same, same)
    assert (mean, -low, high, groups) == (0.0, most, most, 8)
    assert result.verdict == "unresolved"


@pytest.mark.parametrize("times", [1, 2, 8])
def test_without_width_the_number_of_groups_decides(times):
    """All groups gain: 4 are too few for a verdict, of more the interval narrows."""
    result = compared([[1] * 8], [[0] * 8], times=times)
    assert result.mean == 1.0
    n = 4 * times
    if n < 5:
        assert np.isnan([result.low, result.high]).all()
        assert result.verdict == "too few groups (4) for an interval"
    else:
        assert (result.low, result.high) == pytest.approx(((n - Z2) / (n + Z2), 1.0))
        assert result.verdict == "better"


@pytest.mark.parametrize("seed", range(6))
def test_no_difference_has_an_interval_of_width_nought(seed):
    """One group a class, of any gain: draws within the classes cannot vary."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, int(rng.integers(5, 20)))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    groups = [f"of {label}" for label in labels]
    runs = [judged(rng.random(len(labels)) < share, labels, groups) for share in (0.6, 0.5)]
    result = difference([runs[0]], [runs[1]], samples=100, seed=0)
    assert result.low < result.mean < result.high
    assert result.high - result.low > 0.2


def test_a_gain_in_every_group_is_better_and_in_some_unresolved():
    assert compared([[1] * 8], [[0] * 8]).verdict == "better"
    assert compared([[0] * 8], [[1] * 8]).verdict == "worse"
    mixed = compared([[1, 1, 0, 0, 1, 1, 1, 1]], [[0, 0, 1, 1, 0, 0, 1, 1]])
    assert mixed.mean == 0.25 * (2 - 2 + 2) / 2
    assert mixed.low < 0 < mixed.high
    assert mixed.verdict == "unresolved"


def test_groups_are_drawn_whole_and_within_their_class():
    # Class 0 gains in both of its groups, class 1 in none: only draws across classes would vary.
    # These do not, so that Wilson's interval of half of 8, less what could be lost, takes over.
    result = compared([[1, 1, 1, 1, 0, 0, 0, 0]], [[0] * 8])
    half = np.sqrt(Z2 * (2 + Z2 / 4)) / (8 + Z2)
    lost = Z2 / (8 + Z2)
    assert result == (0.5, pytest.approx(0.5 - half - lost), pytest.approx(0.5 + half), 8)
    # One of two groups gains, four times: the draws have none, or all of those of its class.
    result = compared([[1, 1, 0, 0, 0, 0, 0, 0]], [[0] * 8])
    assert result == (0.25, 0.0, 0.5, 8)


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
