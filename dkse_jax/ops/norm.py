"""Batch normalisation, with or without a ReLU, in training: Ioffe & Szegedy 2015.

The backward pass keeps x and a few vectors; the composition of JAX's own derivatives keeps or
recomputes several arrays of x's size and reads them more often.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from dkse_jax.ops.forms import ANY, Target, check_form, in_form


def batch_norm(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    *,
    epsilon: float,
    relu: bool = True,
    form: str = "auto",
    target: Target = ANY,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises each channel of x (B, H, W, C) by the batch: scale, bias (C,), then ReLU if relu.

    Returns (y, mean, variance): y like x, the (biased) statistics (C,) in scale's dtype, that of
    the sums, without a gradient, for the running averages. form: plain is differentiated by JAX,
    fast has its own rule, in reverse mode only; auto is fast on CPU. Raises UserError for an
    unknown form.
    """
    check_form(form, "batch_norm")
    forward = partial(_forward, epsilon=epsilon, relu=relu)
    gradients = partial(_gradients, epsilon=epsilon, relu=relu)
    return in_form(form, target, forward, forward, x, scale, bias, gradients=gradients)


def _forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, relu: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
    wide = x.astype(scale.dtype)
    mean, variance = _statistics(wide)
    slope = lax.rsqrt(variance + epsilon) * scale
    y = wide * _spread(slope) + _spread(bias - mean * slope)
    y = jax.nn.relu(y) if relu else y
    return y.astype(x.dtype), lax.stop_gradient(mean), lax.stop_gradient(variance)


def _gradients(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    grads: tuple[jax.Array, jax.Array, jax.Array],
    epsilon: float,
    relu: bool,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Maps the gradient to y alone; XLA shares the statistics with the forward pass."""
    wide, grad = x.astype(scale.dtype), grads[0].astype(scale.dtype)
    mean, variance = _statistics(wide)
    deviation = lax.rsqrt(variance + epsilon)
    slope = deviation * scale
    if relu:
        positive = wide * _spread(slope) + _spread(bias - mean * slope) > 0
        grad = jnp.where(positive, grad, 0)
    normalised = (wide - _spread(mean)) * _spread(deviation)
    to_bias, to_scale = _sum(grad), _sum(grad * normalised)
    pixels = x.size // x.shape[-1]
    centred = grad - _spread(to_bias / pixels) - normalised * _spread(to_scale / pixels)
    return (centred * _spread(slope)).astype(x.dtype), to_scale, to_bias


def _statistics(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Computes the mean and the biased variance of each channel in one pass."""
    pixels = x.size // x.shape[-1]
    mean = _sum(x) / pixels
    return mean, jnp.maximum(_sum(jnp.square(x)) / pixels - jnp.square(mean), 0)


def _sum(x: jax.Array) -> jax.Array:
    """Sums (B, H, W, C) to (C,)."""
    return jnp.sum(x, (0, 1, 2))


def _spread(vector: jax.Array) -> jax.Array:
    """Reshapes (C,) to (1, 1, 1, C)."""
    return vector[None, None, None, :]
