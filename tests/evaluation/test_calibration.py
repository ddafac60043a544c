import numpy as np
import pytest

from dkse_jax.evaluation import calibration as c

CLASSES = 5


def draw(rng, groups, each, *, alike, factor=2.0):
    """Log-probabilities that are `factor` times too confident, labels and groups.

    alike: the standard deviation of what the pictures of a group share, in logits.
    """
    of = np.repeat(np.arange(groups), each)
    scores = rng.normal(0, 1.5, (len(of), CLASSES)) + rng.normal(0, alike, (groups, CLASSES))[of]
    draws = rng.random((len(of), 1))
    labels = (draws > c.calibrated(scores, 1.0).cumsum(axis=1)).sum(axis=1).clip(0, CLASSES - 1)
    return np.log(c.calibrated(scores, 1 / factor)), labels, [f"book {i}" for i in of]


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.0, 5.0])
def test_the_temperature_is_the_factor_of_confidence(factor):
    for seed in range(2):
        rng = np.random.default_rng(seed)
        scores, labels, _ = draw(rng, 1000, 4, alike=0.5, factor=factor)
        found = c.fit_temperature(scores.astype(np.float32), labels)
        assert found == pytest.approx(factor, rel=0.05)


def test_a_temperature_is_finite_where_all_are_right_or_nothing_is_known():
    labels = np.arange(200) % CLASSES
    right = np.log(np.full((200, CLASSES), 0.01))
    right[np.arange(200), labels] = np.log(0.96)
    assert 0.5 < c.fit_temperature(right, labels) < 1  # p rises from 0.96, to less than 1
    assert 0.98 < c.calibrated(right, c.fit_temperature(right, labels)).max() < 0.9999
    wrong = np.roll(right, 1, axis=1)
    assert c.calibrated(wrong, c.fit_temperature(wrong, labels)).max() < 0.25
    even = np.full((200, CLASSES), np.log(1 / CLASSES))
    assert np.isfinite(c.fit_temperature(even, labels))


def test_the_error_is_measured_on_groups_that_no_fit_has_seen():
    scores, labels, groups = draw(np.random.default_rng(0), 40, 7, alike=1.0)
    fold = c.folds(groups)
    assert sorted(np.bincount(fold)) == [56] * c.FOLDS
    assert len({(group, k) for group, k in zip(groups, fold.tolist(), strict=True)}) == 40
    before = c.cross_fitted(scores, labels, groups)
    changed, first = labels.copy(), fold == fold[0]
    changed[first] = (labels[first] + 1) % CLASSES  # what a fold is, does not change its own p
    after = c.cross_fitted(scores, changed, groups)
    np.testing.assert_array_equal(before[first], after[first])
    assert (before[~first] != after[~first]).any(axis=1).all()
    errors = c.errors(scores, labels, groups)
    assert errors.ece_after < errors.ece_before / 2
    assert errors.loss_after < errors.loss_before


@pytest.mark.parametrize(
    ("groups", "each", "alike"),
    [
        (100, 1, 0.0),
        (40, 8, 1.5),
        pytest.param(40, 8, 0.0, marks=pytest.mark.full),
        pytest.param(16, 15, 0.7, marks=pytest.mark.full),
    ],
)
def test_sets_hold_the_class_of_nine_in_ten_new_pictures(groups, each, alike):
    rng, covered = np.random.default_rng(groups + each), []
    for _ in range(200):
        scores, labels, books = draw(rng, groups, each, alike=alike)
        temperature = c.fit_temperature(scores, labels)
        threshold = c.set_threshold(c.calibrated(scores, temperature), labels, books)
        scores, labels, _ = draw(rng, 80, 5, alike=alike)
        inside = c.set_scores(c.calibrated(scores, temperature)) <= threshold
        assert inside.any(axis=1).all()
        covered.append(inside[np.arange(len(labels)), labels].mean())
    assert 0.89 < np.mean(covered) < 0.91


def test_a_set_has_one_class_where_nearly_all_are_right():
    labels = np.arange(300) % CLASSES
    p = np.full((300, CLASSES), 0.05)
    p[np.arange(300), labels] = 0.8
    p[:9] = p[9:18]  # 3 % are wrong
    threshold = c.set_threshold(p, labels, list(map(str, range(300))))
    assert (c.set_scores(p) <= threshold).sum(axis=1).tolist() == [1] * 300


def test_pictures_that_are_all_alike_in_a_group_count_once():
    rng = np.random.default_rng(0)
    groups = [str(i // 10) for i in range(1000)]
    alike = np.repeat(rng.random(100) < 0.5, 10)
    assert c.independent_number(alike, groups) == pytest.approx(100, rel=0.02)
    apart = rng.random(1000) < 0.5
    assert 600 < c.independent_number(apart, groups) <= 1000
    assert c.independent_number(np.ones(1000, bool), groups) == 100


@pytest.mark.parametrize("n", [100, 236, 5000])
@pytest.mark.parametrize("shared", [0.0, 0.7, 1.0])
def test_the_thresholds_refuse_a_twentieth(n, shared):
    rng = np.random.default_rng(n)
    confidence, own = rng.random(n), rng.random(n)
    distances = 3 * (shared * (1 - confidence) + (1 - shared) * own)
    found = c.thresholds(confidence, distances)
    by_p, by_distance = confidence < found.probability, distances > found.distance
    assert (by_p | by_distance).sum() == pytest.approx(n / 20, abs=1)
    assert by_p.sum() == by_distance.sum() > n / 50
    # A picture is no nearer to a threshold than to the next picture: rounding moves none.
    assert np.abs(confidence - found.probability).min() > 1e-9
    assert np.abs(distances - found.distance).min() > 1e-9


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ([1], "val has 1 picture, fewer than 100"),
        ([1] * 99, "val has 99 pictures, fewer than 100"),
        ([1] * 100, ""),
        ([25] * 4, "the 100 pictures of val are in too few groups (4, as diverse as 4.0 of"),
        ([20] * 5, ""),
        (
            [900] + [1] * 100,
            "the 1,000 pictures of val are in too few groups (101, as diverse as",
        ),
    ],
)
def test_a_val_can_be_too_small(sizes, reason):
    groups = [str(i) for i, size in enumerate(sizes) for _ in range(size)]
    found = c.too_small(groups)
    assert found.startswith(reason) if reason else found == ""
