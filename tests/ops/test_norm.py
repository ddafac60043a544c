"""Batch normalisation, with its ReLU and without: the formula, and the forms against each other."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dkse_jax.errors import UserError
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


def test_an_unknown_form_is_a_user_error():
    with pytest.raises(UserError, match='no form "slow" of batch_norm'):
        batch_norm(jnp.ones((1, 2, 2, 1)), jnp.ones(1), jnp.ones(1), epsilon=1e-5, form="slow")
