import json

import numpy as np
import pytest

from dkse_jax.evaluation.metrics import (
    bootstrap_interval,
    calibration_error,
    caution,
    confusion,
    interval,
    summarise,
    wilson_interval,
)


def random_split(n: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draws log-probabilities and labels of a classifier that is right about half the time."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n).astype(np.int32)
    logits = rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels]
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True), labels


def of(scores: np.ndarray, labels: np.ndarray, groups: list[str] | None = None, **changes) -> dict:
    arguments = {"seed": 0} | changes
    groups = groups or [str(i) for i in range(len(labels))]
    names = [f"c{k}" for k in range(scores.shape[1])]
    return summarise(scores, labels, groups, names, **arguments)


@pytest.mark.parametrize(("n", "classes"), [(1, 3), (7, 2), (101, 5), (997, 13)])
def test_summary_equals_brute_force(n, classes):
    scores, labels = random_split(n, classes)
    result = of(scores, labels)
    predictions = [max(range(classes), key=lambda k: row[k]) for row in scores]
    ranked = [sorted(range(classes), key=lambda k: -row[k]) for row in scores]
    assert (result["n"], result["classes"], result["groups"]) == (n, classes, n)
    right = sum(p == y for p, y in zip(predictions, labels, strict=True))
    assert result["accuracy"] == right / n
    top2 = sum(y in r[:2] for y, r in zip(labels, ranked, strict=True)) / n
    assert result["top2"] == (top2 if classes > 2 else None)
    loss = sum(-row[y] for row, y in zip(scores, labels, strict=True)) / n
    assert result["loss"] == pytest.approx(loss, rel=1e-12)
    for k in range(classes):
        tp = sum(p == k and y == k for p, y in zip(predictions, labels, strict=True))
        fp = sum(p == k and y != k for p, y in zip(predictions, labels, strict=True))
        fn = sum(p != k and y == k for p, y in zip(predictions, labels, strict=True))
        expected = {
            "n": tp + fn,
            "precision": tp / (tp + fp) if tp + fp else 0.0,
            "recall": tp / (tp + fn) if tp + fn else 0.0,
            "f1": 2 * tp / (2 * tp + fp + fn) if tp + fn else 0.0,
        }
        if tp + fn == 0:
            assert set(result["per_class"][f"c{k}"].values()) == {0, None}
            continue
        assert result["per_class"][f"c{k}"] == pytest.approx(expected, rel=1e-12)


def test_ece_equals_brute_force():
    scores, labels = random_split(997, 4)
    confidence, correct = np.exp(scores.max(axis=1)), scores.argmax(axis=1) == labels
    expected = 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert of(scores, labels)["ece"] == pytest.approx(expected, rel=1e-12)


def test_ece_by_hand():
    # Bin (0.6, 0.667]: |1/2 - 0.65| * 2/4. Bin (0.933, 1]: |1/2 - 0.97| * 2/4.
    confidence = np.array([0.65, 0.65, 0.94, 1.0])
    correct = np.array([True, False, True, False])
    assert calibration_error(confidence, correct) == pytest.approx(0.15 / 2 + 0.47 / 2)


def test_ece_keeps_a_probability_above_one_by_rounding_in_the_last_bin():
    error = calibration_error(np.array([1 + 1e-12, 0.99]), np.array([False, True]))
    assert error == pytest.approx((1 - 0.01) / 2)


def test_perfect_and_worst_classifier():
    labels = np.arange(11) % 3
    scores = np.log(np.full((11, 3), 1e-9) + (1 - 3e-9) * np.eye(3)[labels])
    perfect = of(scores, labels)
    z2 = 1.959964**2  # Wilson's interval of 11 of 11 is 1 / (1 + z² / 11) to 1
    assert (perfect["accuracy"], perfect["top2"]) == (1, 1)
    assert perfect["interval95"] == [pytest.approx(11 / (11 + z2)), 1.0]
    assert perfect["loss"] == pytest.approx(0, abs=1e-8)
    assert perfect["ece"] == pytest.approx(0, abs=1e-8)
    assert all(row["f1"] == 1 for row in perfect["per_class"].values())
    worst = of(scores, (labels + 1) % 3)
    assert (worst["accuracy"], worst["interval95"]) == (0, [0, pytest.approx(z2 / (11 + z2))])
    assert worst["ece"] == pytest.approx(1, abs=1e-8)
    assert worst["loss"] == pytest.approx(-np.log(1e-9), rel=1e-6)
    assert all(row["precision"] == row["recall"] == 0 for row in worst["per_class"].values())


def test_ties_go_to_the_lowest_index():
    scores = np.log(np.full((4, 4), 0.25))
    result = of(scores, np.array([0, 0, 1, 3]))
    assert (result["accuracy"], result["top2"]) == (0.5, 0.75)
    assert result["per_class"]["c0"]["precision"] == 0.5


def test_two_classes_have_no_top2():
    assert of(*random_split(31, 2))["top2"] is None


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_class_without_examples_has_no_figures(missing):
    scores, labels = random_split(60, 3)
    labels[labels == missing] = (missing + 1) % 3  # it is predicted, but never right
    per_class = of(scores, labels)["per_class"]
    nothing = {"n": 0, "precision": None, "recall": None, "f1": None}
    assert [name for name, row in per_class.items() if row == nothing] == [f"c{missing}"]
    others = [row for name, row in per_class.items() if name != f"c{missing}"]
    assert all(isinstance(row[key], float) for row in others for key in nothing if key != "n")


def test_float32_gives_the_same_numbers():
    scores, labels = random_split(101, 5)
    narrow = scores.astype(np.float32)
    assert of(narrow, labels) == of(narrow.astype(np.float64), labels)
    assert of(narrow, labels)["loss"] == pytest.approx(of(scores, labels)["loss"], rel=1e-6)


def test_result_is_json():
    result = of(*random_split(31, 3))
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_confusion_rows_are_true_classes():
    matrix = confusion(np.array([0, 0, 2]), np.array([1, 1, 2]), 3)
    np.testing.assert_array_equal(matrix, [[0, 2, 0], [0, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize("bad", [-1, 3])
def test_confusion_refuses_an_index_outside(bad):
    with pytest.raises(ValueError, match=r"predictions must be in 0\.\.2"):
        confusion(np.array([0, 1]), np.array([0, bad]), 3)
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.2"):
        confusion(np.array([0, bad]), np.array([0, 1]), 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite_is_refused_with_the_count(value):
    scores, labels = random_split(10, 3)
    scores[[2, 5], [0, 1]] = value
    scores[5, 2] = value
    with pytest.raises(ValueError, match="2 of 10 examples"):
        of(scores, labels)


def test_logits_are_refused():
    scores, labels = random_split(10, 3)
    with pytest.raises(ValueError, match="not log-probabilities"):
        of(scores + 1, labels)


def test_sizes_that_differ_are_refused():
    scores, labels = random_split(10, 3)
    with pytest.raises(ValueError, match="do not belong together"):
        of(scores, labels[:9])
    with pytest.raises(ValueError, match="9 groups"):
        of(scores, labels, groups=["g"] * 9)
    with pytest.raises(ValueError, match="2 distinct"):
        summarise(scores, labels, ["g"] * 10, ["a", "a", "b"], seed=0)
    with pytest.raises(ValueError, match="no examples"):
        of(scores[:0], labels[:0])


def test_interval_covers_the_accuracy_and_is_near_the_binomial_one():
    correct = np.arange(400) % 4 > 0
    low, high = bootstrap_interval(correct, [str(i) for i in range(400)], 4000, seed=1)
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert low < 0.75 < high
    assert (low, high) == pytest.approx((0.75 - half, 0.75 + half), abs=0.006)


def test_interval_equals_the_plain_bootstrap_over_groups():
    rng = np.random.default_rng(3)
    of_example = rng.integers(23, size=301)
    correct = rng.random(301) < 0.1 + 0.8 * (of_example % 3) / 2
    sizes, right = np.bincount(of_example), np.bincount(of_example, weights=correct)
    draws = rng.integers(23, size=(20_000, 23))
    expected = np.percentile(right[draws].sum(1) / sizes[draws].sum(1), [2.5, 97.5])
    interval = bootstrap_interval(correct, [f"g{g}" for g in of_example], 20_000, seed=0)
    np.testing.assert_allclose(interval, expected, atol=0.008)


@pytest.mark.parametrize("groups", [1, 3, 4, 5])
def test_a_few_groups_have_no_interval_but_a_reason(groups):
    scores, labels = random_split(53, 3)
    result = of(scores, labels, groups=[f"book {i % groups}" for i in range(53)])
    assert result["groups"] == groups
    if groups < 5:
        assert result["interval95"] is None
        assert result["interval95_reason"] == f"too few groups ({groups}) for an interval"
    else:
        assert "interval95_reason" not in result
        assert result["interval95"][0] < result["accuracy"] < result["interval95"][1]


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        # Newcombe (1998), table I, method 3; then 1 / (1 + z² / 8) by hand.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (8, 8, 0.6756, 1.0000),
    ],
)
def test_wilsons_interval_has_the_published_values(right, n, low, high):
    assert wilson_interval(right / n, n) == pytest.approx((low, high), abs=5.1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_wilsons_interval_holds_the_shares_that_the_score_test_keeps(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    share = int(rng.integers(n + 1)) / n
    low, high = wilson_interval(share, n)
    possible = np.linspace(0, 1, 20_001)
    kept = possible[np.abs(share - possible) <= 1.959964 * np.sqrt(possible * (1 - possible) / n)]
    assert (low, high) == pytest.approx((kept[0], kept[-1]), abs=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_no_interval_has_a_width_of_nought(seed):
    """Groups of any size that are all alike: all right, all wrong, or each right by half."""
    rng = np.random.default_rng(seed)
    number = int(rng.integers(5, 40))
    sizes = 2 * rng.integers(1, 9, number)
    groups = [str(group) for group in np.repeat(np.arange(number), sizes)]
    for correct in (np.ones, np.zeros, lambda n: np.arange(n) % 2):
        outcome = correct(sizes.sum()).astype(bool)
        low, high = interval(outcome, groups, seed)
        assert (low, high) == wilson_interval(outcome.mean(), number)
        assert 0 <= low <= outcome.mean() <= high <= 1
        assert high - low > 0.08


def test_one_group_with_all_errors_widens_the_interval_and_none_right_has_one():
    low, high = interval(np.arange(20) < 16, [str(i // 4) for i in range(20)], 0)
    # The bootstrap has 0.4 to 1.0; 0.8 of 5 has 0.3755 to 0.9638 (Wilson).
    assert (low, high) == (pytest.approx(0.3755, abs=1e-4), 1.0)
    answers = np.log(np.array([[0.9, 0.1], [0.1, 0.9]] * 6))
    result = of(answers, np.array([1, 0] * 6))
    assert (result["accuracy"], result["top2"]) == (0, None)
    assert result["interval95"] == list(wilson_interval(0, 12))


@pytest.mark.parametrize("seed", range(6))
def test_one_or_two_groups_that_differ_make_no_interval_narrow(seed):
    """Groups of any size, nearly all right or wrong: about as wide as without the exception."""
    rng = np.random.default_rng(seed)
    number = int(rng.integers(5, 40))
    sizes = rng.integers(3, 90, number)
    groups = [str(group) for group in np.repeat(np.arange(number), sizes)]
    for level in (True, False):
        outcome = np.full(sizes.sum(), level)
        plain = interval(outcome, groups, seed)
        for group in rng.choice(number, 1 + seed % 2, replace=False):
            outcome[sizes[:group].sum()] = not level
        low, high = interval(outcome, groups, seed)
        assert high - low > 0.9 * (plain[1] - plain[0])
        assert low <= outcome.mean() <= high


def test_three_groups_that_differ_leave_the_bootstrap_alone():
    correct, groups = np.arange(60) % 20 > 0, [str(i // 10) for i in range(60)]
    assert interval(correct, groups, 0) == bootstrap_interval(correct, groups, 1000, 0)


@pytest.mark.parametrize(("groups", "told"), [(1, "1 group;"), (29, "29 groups;"), (30, None)])
def test_few_groups_are_a_caution(groups, told):
    sentence = caution(groups, "test")
    assert sentence is None if told is None else sentence.startswith(f"caution: test has {told}")


def test_correlated_groups_widen_the_interval():
    correct = np.arange(200) < 140  # whole groups of 10 are right or wrong
    low, high = bootstrap_interval(correct, [f"g{i // 10}" for i in range(200)], 1000, seed=0)
    low1, high1 = bootstrap_interval(correct, [f"g{i}" for i in range(200)], 1000, seed=0)
    assert high - low > 2.5 * (high1 - low1)


def test_interval_depends_on_the_seed_alone():
    scores, labels = random_split(101, 5)
    groups = [f"g{i % 17}" for i in range(101)]
    first = of(scores, labels, groups)["interval95"]
    assert of(scores, labels, groups)["interval95"] == first
    assert of(scores, labels, groups, seed=1)["interval95"] != first
    order = np.random.default_rng(0).permutation(101)
    shuffled = of(scores[order], labels[order], [groups[i] for i in order])
    assert shuffled["interval95"] == first
