import numpy as np
import pytest

from configs import base
from dkse_jax.data.augment import augment, random_box, recolour
from dkse_jax.data.transform import centre_view


@pytest.fixture
def settings():
    return base.get_config().augment


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def plain(settings):
    """Returns settings without recolouring."""
    for name in ("brightness", "contrast", "saturation", "tint", "greyscale"):
        settings[name] = 0.0
    return settings


def test_is_a_function_of_its_generator(settings):
    image = noise(60, 80)
    one = augment(image, 32, settings, np.random.default_rng(3))
    two = augment(image, 32, settings, np.random.default_rng(3))
    three = augment(image, 32, settings, np.random.default_rng(4))
    assert one.shape == (32, 32, 3)
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, two)
    assert (one != three).any()


@pytest.mark.parametrize(("height", "width"), [(40, 40), (30, 200), (200, 30)])
def test_boxes_lie_inside_and_keep_the_area(height, width):
    rng = np.random.default_rng(0)
    for _ in range(200):
        left, top, right, bottom = random_box(height, width, (0.25, 1.0), 4 / 3, rng)
        assert 0 <= left < right <= width + 1e-9
        assert 0 <= top < bottom <= height + 1e-9
    shares = [
        (box[2] - box[0]) * (box[3] - box[1]) / 1600
        for box in (random_box(40, 40, (0.25, 0.75), 4 / 3, rng) for _ in range(400))
    ]
    assert 0.25 - 1e-9 <= min(shares) < 0.3
    assert 0.7 < max(shares) <= 0.75 + 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_narrow_images_keep_the_ratio_and_the_least_area(seed):
    rng = np.random.default_rng(seed)
    for _ in range(500):
        short, times, least = rng.integers(1, 300), rng.uniform(1, 30), rng.uniform(0.05, 1)
        height, width = rng.permutation([int(short), round(short * times)]).tolist()
        left, top, right, bottom = random_box(height, width, (least, 1.0), 4 / 3, rng)
        long, narrow = sorted([right - left, bottom - top], reverse=True)
        assert long <= 4 / 3 * narrow * (1 + 1e-9)
        assert min(left, top) >= 0
        assert max(right / width, bottom / height) <= 1 + 1e-9
        side = min(height, width)
        largest = side * min(max(height, width), 4 / 3 * side)
        assert long * narrow >= min(least * height * width, largest) * (1 - 1e-9)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 200), (3000, 1)])
def test_the_narrowest_images_have_boxes_and_views(height, width, settings):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        left, top, right, bottom = random_box(height, width, (1e-6, 1.0), 4 / 3, rng)
        assert 0 <= left < right <= width + 1e-9
        assert 0 <= top < bottom <= height + 1e-9
        assert abs(np.log((right - left) / (bottom - top))) <= np.log(4 / 3) + 1e-9
    plain_view = augment(np.full((height, width, 3), 77, np.uint8), 32, plain(settings), rng)
    np.testing.assert_array_equal(plain_view, np.full((32, 32, 3), 77))


def test_the_boxes_of_ordinary_images_are_only_cut():
    """Up to 4:3 that keeps ratio and area by itself; the draws are those of earlier versions."""
    rng, again = np.random.default_rng(0), np.random.default_rng(0)
    for height, width in [(40, 40), (30, 40), (64, 48), (50, 61)] * 100:
        area = again.uniform(0.3, 1) * height * width
        ratio = np.exp(again.uniform(-1, 1) * np.log(4 / 3))
        sides = np.minimum([width, height], np.sqrt([area * ratio, area / ratio]))
        corner = np.array([again.uniform(0, width - sides[0]), again.uniform(0, height - sides[1])])
        box = random_box(height, width, (0.3, 1.0), 4 / 3, rng)
        np.testing.assert_allclose(box, [*corner, *(corner + sides)], rtol=1e-9)


def test_no_colouring_leaves_the_pixels(settings):
    image = noise(16, 16)
    np.testing.assert_array_equal(recolour(image, plain(settings), np.random.default_rng(0)), image)


def test_greyscale_is_grey_and_keeps_the_luminance(settings):
    settings = plain(settings)
    settings.greyscale = 1.0
    image = noise(16, 16)
    grey = recolour(image, settings, np.random.default_rng(0))
    assert np.ptp(grey.astype(int), axis=-1).max() <= 1
    luma = image @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey[..., 0] - luma).max() <= 1


def test_brightness_and_tint_scale_the_channels(settings):
    settings = plain(settings)
    settings.brightness, settings.tint = 0.4, 0.2
    image = np.full((4, 4, 3), 100, np.uint8)
    means = np.array(
        [recolour(image, settings, np.random.default_rng(i)).mean((0, 1)) for i in range(200)]
    )
    assert means.min() >= 100 * 0.6 * 0.8 - 1
    assert means.max() <= 100 * 1.4 * 1.2 + 1
    assert means.std(0).min() > 15
    assert np.ptp(means, axis=1).max() > 20  # the channels differ


def test_flip_always_and_never(settings, monkeypatch):
    monkeypatch.setattr("dkse_jax.data.augment.CROP_RATIO", 1.0)
    settings = plain(settings)
    settings.crop_area_min = 1.0
    image = noise(32, 32)
    settings.flip = 1.0
    np.testing.assert_array_equal(
        augment(image, 32, settings, np.random.default_rng(0)), image[:, ::-1]
    )
    settings.flip = 0.0
    np.testing.assert_array_equal(augment(image, 32, settings, np.random.default_rng(0)), image)


def test_without_augmentation_a_view_is_the_one_that_is_judged(settings):
    settings.enabled = False
    picture = noise(40, 60)
    for seed in range(3):
        view = augment(picture, 32, settings, np.random.default_rng(seed))
        np.testing.assert_array_equal(view, centre_view(picture, 32))
