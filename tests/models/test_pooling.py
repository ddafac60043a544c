"""Pooling against its definition, with NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dkse_jax.models.pooling import adaptive_average_pool, average_pool
from dkse_jax.ops.max_pool import max_pool

pytestmark = pytest.mark.usefixtures("optimised")


def _map(height, width, channels=2):
    return np.random.default_rng(0).standard_normal((2, height, width, channels), np.float32)


@pytest.mark.parametrize(("height", "width"), [(1, 2), (6, 6), (7, 8), (13, 5), (20, 12)])
def test_adaptive_average_pool_is_the_mean_of_every_bin(height, width):
    x, side = _map(height, width), 6
    expected = np.empty((2, side, side, 2), np.float32)
    for i in range(side):
        for j in range(side):
            rows = slice(int(np.floor(i * height / side)), int(np.ceil((i + 1) * height / side)))
            columns = slice(int(np.floor(j * width / side)), int(np.ceil((j + 1) * width / side)))
            expected[:, i, j] = x[:, rows, columns].mean((1, 2))
    np.testing.assert_allclose(adaptive_average_pool(x, side), expected, rtol=0, atol=1e-6)


def test_average_pool_does_not_count_the_border():
    x = _map(4, 5)
    y = average_pool(jnp.asarray(x), 3)
    np.testing.assert_allclose(y[:, 0, 0], x[:, :2, :2].mean((1, 2)), rtol=0, atol=1e-6)
    np.testing.assert_allclose(y[:, 1, 4], x[:, :3, 3:].mean((1, 2)), rtol=0, atol=1e-6)
    np.testing.assert_allclose(y[:, 2, 2], x[:, 1:4, 1:4].mean((1, 2)), rtol=0, atol=1e-6)
    assert y.shape == x.shape


@pytest.mark.parametrize(
    ("side", "size", "stride", "padding", "expected"),
    [(112, 3, 2, 1, 56), (49, 3, 2, 1, 25), (55, 3, 2, 0, 27), (16, 3, 2, 0, 7), (7, 2, 2, 0, 3)],
)
def test_max_pool_takes_whole_windows_only(side, size, stride, padding, expected):
    x = jax.ShapeDtypeStruct((1, side, side, 1), jnp.float32)
    assert jax.eval_shape(lambda x: max_pool(x, size, stride, padding), x).shape[1] == expected


def test_max_pool_pads_with_what_is_never_the_largest():
    x = -1 - np.abs(_map(4, 4))
    y = max_pool(jnp.asarray(x), 3, 2, padding=1)
    np.testing.assert_array_equal(y[:, 0, 0], x[:, :2, :2].max((1, 2)))
    np.testing.assert_array_equal(y[:, 1, 1], x[:, 1:4, 1:4].max((1, 2)))


def test_averages_of_bfloat16_are_made_in_float32():
    x = jnp.where(jnp.arange(300)[None, :, None, None] == 0, 256.0, 1.0).astype(jnp.bfloat16)
    y = adaptive_average_pool(x, 1)
    assert y.dtype == jnp.bfloat16
    assert float(y[0, 0, 0, 0]) == pytest.approx(555 / 300, rel=2**-8)
    wide = average_pool(x, 3)
    assert wide.dtype == jnp.bfloat16
    assert float(wide[0, 0, 0, 0]) == pytest.approx(257 / 2, rel=2**-8)
