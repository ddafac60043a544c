"""The depthwise forms against each other, in float64, and where they must run."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dkse_jax.errors import UserError
from dkse_jax.ops.depthwise import depthwise_conv


@pytest.mark.parametrize(
    ("stride", "dilation", "padding"),
    list(itertools.product((1, 2, 3), (1, 2), ("SAME", "VALID"))),
)
def test_fast_equals_plain_in_float64(stride, dilation, padding, noise, assert_forms_equal):
    op = partial(depthwise_conv, stride=stride, dilation=dilation, padding=padding)
    sizes = [(9, 12, (3, 3)), (10, 7, (5, 2)), (4, 5, (1, 1))]
    assert_forms_equal(
        op, [(noise(2, height, width, 3), noise(*sides, 1, 3)) for height, width, sides in sizes]
    )


def test_plain_is_the_convolution_of_every_channel_alone(noise):
    x, kernel = noise(1, 7, 7, 2), noise(3, 3, 1, 2)
    with jax.enable_x64(True):
        y = depthwise_conv(jnp.asarray(x), jnp.asarray(kernel), padding="VALID", form="plain")
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    np.testing.assert_allclose(
        y, np.einsum("bhwcij,ijc->bhwc", windows, kernel[:, :, 0]), atol=1e-12
    )


def test_stride_3_valid_on_299_pixels_gives_99():
    x, kernel = jax.ShapeDtypeStruct((1, 299, 299, 2), "float32"), jnp.ones((3, 3, 1, 2))
    for form in ("auto", "plain", "fast"):
        y = jax.eval_shape(
            lambda x, form=form: depthwise_conv(x, kernel, stride=3, padding="VALID", form=form), x
        )
        assert y.shape == (1, 99, 99, 2)


@pytest.fixture
def auto_step(outputs_and_gradients):
    """(x, kernel) -> (y, both gradients) of a convolution of stride 2, jitted."""
    return jax.jit(partial(outputs_and_gradients, partial(depthwise_conv, stride=2)))


def test_auto_lowers_to_the_fast_form_on_cpu_and_the_plain_form_elsewhere(noise, auto_step):
    x, kernel = noise(8, 9, 9, 4, dtype=np.float32), noise(3, 3, 1, 4, dtype=np.float32)
    traced = auto_step.trace(x, kernel)
    assert "stablehlo.convolution" not in traced.lower(lowering_platforms=("cpu",)).as_text()
    elsewhere = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert elsewhere.count("stablehlo.convolution") == 3


def test_one_exported_program_with_gradients_serves_every_platform(noise, auto_step):
    x, kernel = noise(8, 9, 9, 4, dtype=np.float32), noise(3, 3, 1, 4, dtype=np.float32)
    exported = jax.export.export(auto_step, platforms=("cpu", "cuda", "tpu"))(x, kernel)
    assert exported.platforms == ("cpu", "cuda", "tpu")
    for a, b in zip(exported.call(x, kernel), auto_step(x, kernel), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_a_batch_over_eight_devices_stays_there(noise, auto_step):
    x, kernel = noise(16, 9, 9, 4, dtype=np.float32), noise(3, 3, 1, 4, dtype=np.float32)
    mesh = Mesh(np.array(jax.devices()), ("data",))
    assert mesh.size == 8
    y, dx, dkernel = auto_step(
        jax.device_put(x, NamedSharding(mesh, PartitionSpec("data"))),
        jax.device_put(kernel, NamedSharding(mesh, PartitionSpec())),
    )
    assert y.addressable_shards[0].data.shape == (2, 5, 5, 4)
    assert dx.addressable_shards[0].data.shape == (2, 9, 9, 4)
    for a, b in zip((y, dx, dkernel), auto_step(x, kernel), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4)


def test_bfloat16_sums_are_made_in_float32():
    x, kernel = jnp.ones((1, 20, 20, 1), jnp.bfloat16), jnp.ones((3, 3, 1, 1), jnp.bfloat16)

    def total(kernel):
        return jnp.sum(depthwise_conv(x, kernel, padding="VALID", form="fast"), dtype=jnp.float32)

    gradient = jax.jit(jax.grad(total))(kernel)
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_array_equal(gradient, np.full((3, 3, 1, 1), 18 * 18))  # bfloat16 stops at 256


def test_an_unknown_form_is_a_user_error():
    with pytest.raises(UserError, match=r'no form "fats".*did you mean "fast"'):
        depthwise_conv(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1)), form="fats")
