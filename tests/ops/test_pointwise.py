"""The pointwise forms against each other."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dkse_jax.errors import UserError
from dkse_jax.ops.forms import Target
from dkse_jax.ops.pointwise import pointwise_conv


@pytest.mark.parametrize("devices", [1, 8])
def test_forms_are_equal_in_float64(devices, noise, assert_forms_equal):
    sizes = [(8, 5, 6, 3), (3, 1, 1, 10), (1, 2, 8, 7)]
    op = partial(pointwise_conv, target=Target(devices=devices))
    assert_forms_equal(op, [(noise(*size), noise(1, 1, size[-1], 4)) for size in sizes])


@pytest.mark.parametrize("devices", [1, 8])
def test_several_devices_transpose_the_image_for_the_kernels_gradient(devices):
    x, kernel = jnp.ones((8, 3, 3, 2)), jnp.ones((1, 1, 2, 4))
    op = partial(pointwise_conv, target=Target("cpu", devices))
    gradient = jax.grad(lambda kernel: op(x, kernel).sum())
    text = jax.jit(gradient).lower(kernel).as_text()
    assert ("stablehlo.transpose" in text) == (devices == 8)


def test_a_batch_over_eight_devices_stays_there(outputs_and_gradients):
    mesh = Mesh(np.array(jax.devices()), ("data",))
    x = jax.device_put(
        np.ones((8, 3, 3, 2), np.float32), NamedSharding(mesh, PartitionSpec("data"))
    )
    kernel = jax.device_put(np.ones((1, 1, 2, 4), np.float32), NamedSharding(mesh, PartitionSpec()))
    assert mesh.size == 8
    op = partial(pointwise_conv, target=Target("cpu", 8))
    y, dx, _ = jax.jit(partial(outputs_and_gradients, op))(x, kernel)
    assert y.addressable_shards[0].data.shape == (1, 3, 3, 4)
    assert dx.addressable_shards[0].data.shape == (1, 3, 3, 2)
    np.testing.assert_array_equal(y, np.full((8, 3, 3, 4), 2.0))


def test_bfloat16_kernel_gradients_are_summed_in_float32():
    x, kernel = jnp.ones((1, 30, 30, 2), jnp.bfloat16), jnp.ones((1, 1, 2, 3), jnp.bfloat16)
    _, gradient = jax.vjp(lambda kernel: pointwise_conv(x, kernel, form="fast"), kernel)
    (to_kernel,) = gradient(jnp.ones((1, 30, 30, 3), jnp.bfloat16))
    assert to_kernel.dtype == jnp.bfloat16
    np.testing.assert_array_equal(to_kernel, np.full((1, 1, 2, 3), 900))


def test_an_unknown_form_is_a_user_error():
    with pytest.raises(
        UserError, match='no form "quick" of pointwise_conv; choose one of auto, fast, plain'
    ):
        pointwise_conv(jnp.ones((1, 2, 2, 1)), jnp.ones((1, 1, 1, 1)), form="quick")
