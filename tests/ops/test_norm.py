"""Batch normalisation, with its ReLU and without: the formula, and the forms against each other."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dkse_jax.errors import UserError
from dkse_jax.ops.forms import Target
from dkse_jax.ops.norm import batch_norm


def _operands(noise, *shape):
    return 3 + 2 * noise(*shape), 1 + noise(shape[-1]), noise(shape[-1])


@pytest.mark.parametrize("relu", [True, False])
def test_forms_are_equal_in_float64(relu, noise, assert_forms_equal):
    shapes = [(2, 5, 4, 3), (1, 1, 2, 2), (3, 7, 7, 1), (4, 1, 6, 5)]

    def op(*operands, form):
        return batch_norm(*operands, epsilon=1e-5, relu=relu, form=form)[0]

    assert_forms_equal(op, [_operands(noise, *shape) for shape in shapes])


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("form", ["plain", "fast"])
def test_it_is_normalising_then_relu(form, relu, noise):
    x, scale, bias = _operands(noise, 3, 5, 4, 6)
    norm = partial(batch_norm, epsilon=1e-3, relu=relu, form=form)
    with jax.enable_x64(True):
        y, mean, variance = jax.jit(norm)(x, scale, bias)
    normalised = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-3)
    expected = np.maximum(normalised * scale + bias, 0 if relu else -np.inf)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(mean, x.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(variance, x.var((0, 1, 2)), rtol=1e-12)


@pytest.mark.parametrize("form", ["plain", "fast"])
def test_statistics_carry_no_gradient(form, noise):
    def total(*operands):
        _, mean, variance = batch_norm(*operands, epsilon=1e-5, form=form)
        return jnp.sum(mean) + jnp.sum(variance)

    operands = [np.float32(a) for a in _operands(noise, 2, 3, 3, 2)]
    for gradient in jax.grad(total, argnums=(0, 1, 2))(*operands):
        assert not np.any(gradient)


def test_bfloat16_images_are_summed_in_float32():
    x = jnp.ones((1, 40, 40, 2), jnp.bfloat16)
    y, mean, _ = batch_norm(x, jnp.ones(2), jnp.ones(2), epsilon=1.0, form="fast")
    assert (y.dtype, mean.dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_array_equal(mean, [1, 1])  # bfloat16 would stop at 256 of 1600


def textbook(x, scale, bias):
    deviation = jnp.sqrt(jnp.var(x, (0, 1, 2), keepdims=True) + 1e-5)
    normalised = (x - jnp.mean(x, (0, 1, 2), keepdims=True)) / deviation
    return jax.nn.relu(normalised * scale[None, None, None] + bias[None, None, None])


def far(seed):
    """Maps whose mean is up to 10,000 deviations from 0, some with a border as of padding."""
    rng = np.random.default_rng(seed)
    batch, side, channels = 8, int(rng.integers(4, 20)), 4
    deviation = 0.1 * 10 ** rng.uniform(-1, 1, channels)
    mean = deviation * 10 ** rng.uniform(2, 4, channels) * rng.choice([-1, 1], channels)
    x = rng.standard_normal((batch, side, side, channels)) * deviation + mean
    if seed % 2:
        x[:, 0] = x[:, :, 0] = 0
    return x.astype(np.float32), 1 + 0.1 * rng.standard_normal(channels), rng.normal(size=channels)


KNOWN = 1000 + 0.1 * np.random.default_rng(0).standard_normal((8, 16, 16, 4))


@pytest.mark.parametrize("devices", [1, 4, 8])
@pytest.mark.parametrize("form", ["plain", "fast"])
def test_a_large_mean_cancels_no_variance(form, devices):
    """From the first step on, where nothing is known of the mean, on any number of devices."""
    norm = partial(batch_norm, epsilon=1e-8, relu=False, form=form, target=Target("cpu", devices))
    one = np.ones(4, np.float32)
    for x in (KNOWN.astype(np.float32), *(far(seed)[0] for seed in range(4))):
        y, mean, variance = jax.jit(norm)(x, one, 0 * one)
        x = x.astype(np.float64)
        np.testing.assert_allclose(mean, x.mean((0, 1, 2)), rtol=1e-5)
        np.testing.assert_allclose(variance, x.var((0, 1, 2)), rtol=0.01)
        np.testing.assert_allclose(np.asarray(y, np.float64).std((0, 1, 2)), 1, rtol=0.01)


def test_what_is_between_devices_counts_once_the_mean_is_about_known():
    rng = np.random.default_rng(0)
    x = np.full((8, 4, 4, 64), 1000) + rng.standard_normal((8, 1, 1, 64)).astype(np.float32)
    norm = partial(batch_norm, epsilon=1e-5, form="plain", target=Target("cpu", 8))
    one = np.ones(64, np.float32)
    for centre, tolerance in ((0, 2e-6 * 1000**2), (970, 0.001)):
        _, _, variance = norm(x.astype(np.float32), one, one, centre=centre * one)
        np.testing.assert_allclose(variance, x.var((0, 1, 2)), rtol=0, atol=tolerance)


@pytest.mark.parametrize(("form", "devices"), [("fast", 1), ("plain", 1), ("plain", 4)])
def test_gradients_are_those_of_the_textbook(form, devices, outputs_and_gradients):
    norm = partial(batch_norm, epsilon=1e-5, form=form, target=Target("cpu", devices))

    def op(x, scale, bias):
        return norm(x, scale, bias, centre=jnp.full_like(scale, 900))[0]

    def run(function, dtype):
        operands = [np.asarray(a, dtype) for a in (KNOWN.astype(np.float32), *far(0)[1:])]
        found = jax.jit(partial(outputs_and_gradients, function))(*operands)
        return [np.asarray(a, np.float64) for a in found]

    with jax.enable_x64(True):
        expected, exact = run(textbook, np.float64), run(op, np.float64)
    for a, b, c in zip(exact, run(op, np.float32), expected, strict=True):
        np.testing.assert_allclose(a, c, rtol=0, atol=1e-7 * np.abs(c).max())
        np.testing.assert_allclose(b, c, rtol=0, atol=0.01 * np.abs(c).max())


def test_an_unknown_form_is_a_user_error():
    with pytest.raises(UserError, match='no form "slow" of batch_norm'):
        batch_norm(jnp.ones((1, 2, 2, 1)), jnp.ones(1), jnp.ones(1), epsilon=1e-5, form="slow")
