import numpy as np
import pytest

from dkse_jax.errors import UserError
from dkse_jax.evaluation.calibration import Errors, Thresholds
from dkse_jax.evaluation.distance import fit_distance
from dkse_jax.prediction.judging import load_judge
from dkse_jax.workdir.calibration_file import Calibration, Fitted, save

WEIGHTS, NAMES = "3a4d" * 16, ("ink", "oil", "wash")


@pytest.fixture
def judge(tmp_path):
    rng = np.random.default_rng(0)
    distance = fit_distance(rng.normal(size=(300, 4)), rng.integers(0, 3, 300))
    errors, thresholds = Errors(0.08, 0.03, 0.7, 0.6), Thresholds(0.45, 4.0)
    fitted = Fitted(2.0, errors, thresholds, 0.05, 0.75, distance)
    save(tmp_path, Calibration(WEIGHTS, NAMES, 511, 34, "", fitted))
    return load_judge(tmp_path, WEIGHTS, list(NAMES))


def test_a_picture_is_known_by_its_probability_and_by_its_distance(judge):
    scores = np.log(np.array([[0.9, 0.05, 0.05], [0.9, 0.05, 0.05], [0.35, 0.33, 0.32]]))
    features = np.array([[0, 0, 0, 0], [30, 0, 0, 0], [0, 0, 0, 0]])
    found = judge(scores.astype(np.float32), features.astype(np.float32))
    assert found.known.tolist() == [True, False, False]
    roots = np.sqrt([0.9, 0.05, 0.05])
    np.testing.assert_allclose(found.probabilities[0], roots / roots.sum(), rtol=1e-6)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-12)
    # 1 - p is at most 0.75, or the class is the first of the most probable ones.
    assert found.sets.tolist() == [[True, False, False]] * 2 + [[True, True, True]]
    assert judge.remark.startswith("calibrated at temperature 2.000 on val (511 pictures")


def test_features_that_are_no_numbers_are_of_nothing_known(judge):
    features = np.array([[np.nan] * 4, [np.inf] * 4, [0.0] * 4])
    with np.errstate(invalid="ignore"):
        found = judge(np.log(np.full((3, 3), [0.98, 0.01, 0.01])), features)
    assert found.known.tolist() == [False, False, True]


def test_a_picture_alone_is_answered_as_among_others(judge):
    rng = np.random.default_rng(1)
    scores = np.log(rng.dirichlet([0.3] * 3, 200)).astype(np.float32)
    features = 3 * rng.normal(size=(200, 4)).astype(np.float32)
    whole = judge(scores, features)
    for i in range(200):
        alone = judge(scores[i : i + 1], features[i : i + 1])
        np.testing.assert_array_equal(alone.probabilities[0], whole.probabilities[i])
        assert (alone.known[0], *alone.sets[0]) == (whole.known[i], *whole.sets[i])
    assert 20 < whole.known.sum() < 180


def test_without_a_calibration_the_network_s_own_probabilities_stay(tmp_path):
    own = np.array([[0.7, 0.2, 0.1]])
    for sentence in (
        f"uncalibrated: {tmp_path} has no calibration.json; fit it by dkse-eval"
        f" --workdir={tmp_path} --calibrate",
        "uncalibrated: val has 15 pictures, fewer than 100",
    ):
        judge = load_judge(tmp_path, WEIGHTS, NAMES)
        assert judge.remark == sentence
        found = judge(np.log(own).astype(np.float32), np.zeros((1, 4), np.float32))
        np.testing.assert_allclose(found.probabilities, own, rtol=1e-6)
        assert found.known is None
        assert found.sets is None
        reason = "val has 15 pictures, fewer than 100"
        save(tmp_path, Calibration(WEIGHTS, NAMES, 15, 15, reason, None))


@pytest.mark.parametrize(
    ("weights", "names", "sentence"),
    [
        ("0" * 64, NAMES, "is of other weights than those of"),
        (WEIGHTS, ("ink", "wash", "oil"), r"is of other classes \(ink, oil, wash\): fit it again"),
        (WEIGHTS, ("ink", "oil"), "is of other classes"),
    ],
)
def test_no_other_weights_are_answered_for(judge, tmp_path, weights, names, sentence):
    with pytest.raises(UserError, match=sentence):
        load_judge(tmp_path, weights, names)
