"""Each family responds to its property, in the right block, and to nothing else."""

import numpy as np
import pytest

from dkse_jax.data.sources import Source
from dkse_jax.experiments.features import FAMILIES, SIZE, block_features, split_features

BLOCK = SIZE // 4
GREY = 128


def noise(seed: int = 0, height: int = SIZE, width: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def flat(value: int = GREY) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), value, np.uint8)


def described(image: np.ndarray) -> dict[str, np.ndarray]:
    """Returns family -> (16 blocks, numbers of a block)."""
    features = block_features(image)
    return {name: features[part].reshape(16, -1) for name, part in FAMILIES.items()}


def moved(before: np.ndarray, after: np.ndarray) -> list[str]:
    """Returns the families that differ between two images."""
    a, b = described(before), described(after)
    return [name for name in FAMILIES if not np.allclose(a[name], b[name], atol=1e-3)]


@pytest.mark.parametrize("size", [(SIZE, SIZE), (400, 300), (31, 50)])
def test_the_vector_has_one_length_and_finite_numbers(size):
    for image in (noise(0, *size), np.zeros((*size, 3), np.uint8)):
        features = block_features(image)
        assert features.shape == (688,)
        assert features.dtype == np.float32
        assert np.isfinite(features).all()


def test_the_families_are_the_whole_vector():
    places = np.concatenate([np.arange(688)[part] for part in FAMILIES.values()])
    np.testing.assert_array_equal(places, np.arange(688))


def test_a_flat_grey_picture_by_hand():
    found = described(flat())
    # L* of 128: the sRGB curve gives 0.2159 of the light, of which 116 y^(1/3) - 16 is 53.59.
    np.testing.assert_allclose(found["colour"][:, 0], 53.585, atol=1e-2)
    np.testing.assert_allclose(found["colour"][:, 1:], 0, atol=1e-2)
    # Every neighbour is as light as the middle: the pattern of eight ones.
    np.testing.assert_array_equal(found["texture"][:, :10], np.tile(np.eye(10)[8], (16, 1)))
    # Contrast 0; homogeneity, energy and, by convention, correlation 1.
    np.testing.assert_allclose(found["texture"][:, 10:], [[0, 1, 1, 1]] * 16)
    np.testing.assert_array_equal(found["shape"], 0)
    # The coefficient of the mean is 8 times the mean; Y = 16 + 219 * 128/255, Cb = Cr = 128.
    expected = np.zeros(12)
    expected[[0, 6, 9]] = 8 * (16 + 219 * 128 / 255), 8 * 128, 8 * 128
    np.testing.assert_allclose(found["layout"], np.tile(expected, (16, 1)), atol=1e-2)


def test_colour_moments_by_hand():
    lightness = described(np.where(np.arange(SIZE)[:, None, None] % 4 == 0, flat(255), flat(0)))
    # A quarter at L* = 100, the others at 0: mean 25, variance 1875, third moment 93750.
    expected = [25, 1875**0.5, 93750 ** (1 / 3)]
    np.testing.assert_allclose(lightness["colour"][:, ::3], [expected] * 16, rtol=1e-4)


def test_another_colour_moves_colour_and_layout():
    image = noise() // 4
    image[..., 0] += 150
    assert moved(image, image) == []
    assert {"colour", "layout"} <= set(moved(image, image[..., ::-1]))


def test_pixels_in_another_order_move_all_but_colour():
    smooth = np.add.outer(np.arange(SIZE), np.arange(SIZE))[..., None].repeat(3, -1)
    image = (smooth // 2).astype(np.uint8)
    blocks = image.reshape(4, BLOCK, 4, BLOCK, 3).swapaxes(1, 2).reshape(16, BLOCK**2, 3)
    shuffled = np.random.default_rng(0).permutation(blocks, axis=1)
    after = shuffled.reshape(4, 4, BLOCK, BLOCK, 3).swapaxes(1, 2).reshape(image.shape)
    assert moved(image, after) == ["texture", "shape", "layout"]


def test_the_direction_of_lines_moves_shape_alone():
    rows = np.where(np.arange(SIZE)[:, None, None] % 8 < 4, flat(60), flat(200))
    across, along = described(rows), described(rows.swapaxes(0, 1))
    for family in FAMILIES:
        mirrored = along[family].reshape(4, 4, -1).swapaxes(0, 1).reshape(16, -1)
        same = np.allclose(across[family], mirrored, atol=1e-3)
        assert same == (family != "shape"), family
    # Gradients down lie at 90 degrees, the bin 4 of 8; gradients right at 0 degrees, the bin 0.
    assert (across["shape"].argmax(axis=1) == 4).all()
    assert (along["shape"].argmax(axis=1) == 0).all()
    np.testing.assert_allclose(across["shape"].sum(), along["shape"].sum())


def test_exchanged_halves_of_every_block_move_layout():
    image = np.where(np.arange(SIZE)[None, :, None] % BLOCK < BLOCK // 2, flat(60), flat(200))
    exchanged = np.roll(image, BLOCK // 2, axis=1)
    assert "layout" in moved(image, exchanged)
    assert "colour" not in moved(image, exchanged)


@pytest.mark.parametrize("family", FAMILIES)
def test_lines_are_seen_in_their_block_alone(family):
    image = flat()
    image[BLOCK + 8 : 2 * BLOCK - 8 : 8, 2 * BLOCK + 8 : 3 * BLOCK - 20] = 0
    changed = (described(image)[family] != described(flat())[family]).any(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(changed), [6])  # second row, third column


def test_a_split_is_described_in_order_by_any_number_of_threads():
    pictures = [noise(seed, 60 + seed, 70) for seed in range(7)]
    names = tuple(map(str, range(7)))
    source = Source(
        class_names=("a", "b"),
        ids=names,
        labels=np.zeros(7, np.int32),
        groups=names,
        read=lambda index, min_side: pictures[index],
    )
    expected = np.stack([block_features(picture) for picture in pictures])
    for threads in (1, 4):
        np.testing.assert_array_equal(split_features(source, threads), expected)
