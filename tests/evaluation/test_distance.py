import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from dkse_jax.evaluation.distance import fit_distance, shrunk_covariance


@pytest.mark.parametrize("shape", [(20, 40), (50, 20), (500, 3)])
def test_the_covariance_is_that_of_ledoit_and_wolf(shape):
    offsets = np.random.default_rng(0).normal(size=shape) * np.linspace(1, 3, shape[1])
    expected, _ = ledoit_wolf(offsets, assume_centered=True)
    np.testing.assert_allclose(shrunk_covariance(offsets), expected, rtol=1e-6, atol=1e-8)


def test_distances_are_in_standard_deviations_from_the_nearest_class():
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(6, 6)) + 3 * np.eye(6)
    centres = np.array([[0.0] * 6, [20.0] * 6])
    labels = np.repeat([0, 3], 4_000)  # a class without pictures is none of the means
    features = rng.normal(size=(8_000, 6)) @ mixing + centres[labels // 3]
    distance = fit_distance(features.astype(np.float32), labels)
    assert distance.means.shape == (2, 6)
    steps = rng.normal(size=(50, 6))
    for centre in centres:
        found = distance.of((centre + steps @ mixing).astype(np.float32))
        np.testing.assert_allclose(found, np.linalg.norm(steps, axis=1), rtol=0.1)


def test_features_that_never_vary_and_few_pictures_have_finite_distances():
    features = np.ones((3, 200), np.float32)
    features[:, :2] = [[0, 1], [1, 0], [2, 2]]
    distance = fit_distance(features, np.array([0, 0, 1]))
    found = distance.of(np.stack([features[0], np.full(200, 5, np.float32)]))
    assert np.isfinite(found).all()
    assert found[1] > 100 * found[0]
    constant = fit_distance(np.ones((4, 3)), np.zeros(4, int))
    assert constant.of(np.ones((1, 3))) == 0


def test_a_picture_alone_has_the_distance_that_it_has_among_others():
    rng = np.random.default_rng(2)
    features = rng.normal(size=(300, 128)).astype(np.float32)
    distance = fit_distance(features, rng.integers(0, 5, 300))
    single = np.concatenate([distance.of(row[None]) for row in features])
    np.testing.assert_allclose(single, distance.of(features), rtol=1e-12)
