import dataclasses
import json

import jax.numpy as jnp
import numpy as np
from PIL import Image

from dkse_jax.data.transform import (
    Transform,
    autocontrast,
    centre_view,
    min_side_for_crops,
    normalise,
)


def test_centre_view_takes_the_middle_square():
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, 20:40] = 200
    view = centre_view(image, 10)
    assert view.shape == (10, 10, 3)
    assert (view[:, 1:-1] == 200).all()  # antialiasing reaches over the square's edge
    assert (view > 150).all()


def test_centre_view_of_a_picture_that_fits_is_the_picture():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(centre_view(image, 32), image)


def test_centre_view_is_pillows_antialiased_bilinear():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    expected = Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(centre_view(image, 32), np.asarray(expected))


def test_normalise_numbers_for_numpy_and_jax():
    transform = Transform(size=2, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0))
    images = np.full((1, 2, 2, 3), 255, np.uint8)
    expected = np.broadcast_to(np.float32([1.0, 3.0, 1.0]), (1, 2, 2, 3))
    np.testing.assert_allclose(normalise(images, transform), expected, rtol=1e-6)
    result = normalise(jnp.asarray(images), transform)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_transform_survives_json():
    transform = Transform(size=99, mean=(0.1, 0.2, 0.3), std=(1 / 3, 0.2, 0.1))
    assert Transform.from_json(json.loads(json.dumps(dataclasses.asdict(transform)))) == transform


def test_a_transform_of_an_earlier_version_ignores_profiles():
    saved = dataclasses.asdict(Transform(size=99, levels=True))
    assert saved.pop("colour_profiles")
    found = Transform.from_json(json.loads(json.dumps(saved)))
    assert found == Transform(size=99, levels=True, colour_profiles=False)


def test_crops_need_no_enlarging():
    assert min_side_for_crops(100, 0.25) == 200
    assert min_side_for_crops(100, 1.0) == 100


def test_the_normalisation_is_the_configs(config):
    config.data.normalisation = "imagenet"
    white = np.full((1, 1, 1, 3), 255, np.uint8)
    np.testing.assert_allclose(
        normalise(white, Transform.of(config.data))[0, 0, 0], [2.2489, 2.4286, 2.64], rtol=1e-4
    )
    config.data.normalisation = "centred"
    np.testing.assert_allclose(normalise(white, Transform.of(config.data)), 2.0)


def test_stretched_levels_take_out_tint_and_exposure():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (40, 50, 1), np.uint8).repeat(3, 2)
    faded = np.round(picture * [0.5, 0.45, 0.3] + [60, 50, 20]).astype(np.uint8)
    assert np.abs(autocontrast(faded).astype(int) - autocontrast(picture)).max() <= 4
    assert autocontrast(faded).min() == 0
    assert autocontrast(faded).max() == 255


def test_the_view_stretches_the_whole_picture_before_it_is_cut():
    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:, :15], picture[:, 20:40], picture[:, 45:] = 50, 100, 150
    np.testing.assert_array_equal(Transform(10, levels=True).view(picture)[:, 2:-2], 170)
    np.testing.assert_array_equal(Transform(10).view(picture)[:, 2:-2], 100)
