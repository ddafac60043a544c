"""The pointwise forms against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dkse_jax.errors import UserError
from dkse_jax.ops.pointwise import pointwise_conv


def _step(x, kernel, form):
    y, pull_back = jax.vjp(lambda x, kernel: pointwise_conv(x, kernel, form=form), x, kernel)
    return y, *pull_back(jnp.cos(y))


def test_fast_and_auto_equal_plain_in_float64():
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((2, 5, 6, 3)), rng.standard_normal((1, 1, 3, 4))
    with jax.enable_x64(True):
        plain, fast, auto = (
            jax.jit(_step, static_argnums=2)(x, kernel, form) for form in ("plain", "fast", "auto")
        )
    assert plain[0].shape == (2, 5, 6, 4)
    for a, b, c in zip(plain, fast, auto, strict=True):
        assert a.dtype == np.float64
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(b, c)


def test_a_batch_over_eight_devices_stays_there():
    mesh = Mesh(np.array(jax.devices()), ("data",))
    x = jax.device_put(
        np.ones((8, 3, 3, 2), np.float32), NamedSharding(mesh, PartitionSpec("data"))
    )
    kernel = jax.device_put(np.ones((1, 1, 2, 4), np.float32), NamedSharding(mesh, PartitionSpec()))
    assert mesh.size == 8
    y, dx, _ = jax.jit(_step, static_argnums=2)(x, kernel, "auto")
    assert y.addressable_shards[0].data.shape == (1, 3, 3, 4)
    assert dx.addressable_shards[0].data.shape == (1, 3, 3, 2)
    np.testing.assert_array_equal(y, np.full((8, 3, 3, 4), 2.0))


def test_an_unknown_form_is_a_user_error():
    with pytest.raises(
        UserError, match='no form "quick" of pointwise_conv; choose one of auto, fast, plain'
    ):
        pointwise_conv(jnp.ones((1, 2, 2, 1)), jnp.ones((1, 1, 1, 1)), form="quick")
