"""Batch normalisation, with or without a ReLU, in training: Ioffe & Szegedy 2015.

The backward pass keeps x and a few vectors; the composition of JAX's own derivatives keeps or
recomputes several arrays of x's size and reads them more often.
"""

from functools import partial
from typing import Any

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
    centre: jax.Array | None = None,
    relu: bool = True,
    form: str = "auto",
    target: Target = ANY,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises each channel of x (B, H, W, C) by the batch: scale, bias (C,), then ReLU if relu.

    Returns (y, mean, variance): y like x, the (biased) statistics (C,) in scale's dtype, that of
    the sums, without a gradient, for the running averages. centre (C,): a guess at the mean, such
    as the running one; the closer, the less is rounded between the target's devices. form: plain is
    differentiated by JAX, fast has its own rule, in reverse mode only; auto is fast on CPU. Raises
    UserError for an unknown form.
    """
    check_form(form, "batch_norm")
    centre = jnp.zeros_like(scale) if centre is None else centre
    options: dict[str, Any] = {"epsilon": epsilon, "relu": relu, "devices": target.devices}
    forward, gradients = partial(_forward, **options), partial(_gradients, **options)
    return in_form(form, target, forward, forward, x, scale, bias, centre, gradients=gradients)


def _forward(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    centre: jax.Array,
    epsilon: float,
    relu: bool,
    devices: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    wide = x.astype(scale.dtype)
    mean, variance = _statistics(wide, centre, devices)
    slope = lax.rsqrt(variance + epsilon) * scale
    y = wide * _spread(slope) + _spread(bias - mean * slope)
    y = jax.nn.relu(y) if relu else y
    return y.astype(x.dtype), lax.stop_gradient(mean), lax.stop_gradient(variance)


def _gradients(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    centre: jax.Array,
    grads: tuple[jax.Array, jax.Array, jax.Array],
    epsilon: float,
    relu: bool,
    devices: int,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Maps the gradient to y alone; XLA shares the statistics with the forward pass."""
    wide, grad = x.astype(scale.dtype), grads[0].astype(scale.dtype)
    mean, variance = _statistics(wide, centre, devices)
    deviation = lax.rsqrt(variance + epsilon)
    slope = deviation * scale
    if relu:
        positive = wide * _spread(slope) + _spread(bias - mean * slope) > 0
        grad = jnp.where(positive, grad, 0)
    normalised = (wide - _spread(mean)) * _spread(deviation)
    to_bias, to_scale = _sum(grad), _sum(grad * normalised)
    pixels = x.size // x.shape[-1]
    centred = grad - _spread(to_bias / pixels) - normalised * _spread(to_scale / pixels)
    return (centred * _spread(slope)).astype(x.dtype), to_scale, to_bias, jnp.zeros_like(centre)


def _statistics(x: jax.Array, centre: jax.Array, devices: int) -> tuple[jax.Array, jax.Array]:
    """Computes the mean and the biased variance of each channel: one pass, one exchange.

    E[x²] - E[x]² cancels where the mean is large. Each device subtracts a pixel of its own from its
    part of x first; a pixel is within √n deviations of the mean of n. What is between the devices'
    means is squared relative to the centre, which all share, and counts where rounding is smaller.
    """
    batch, height, width, channels = x.shape
    parts = devices if batch % devices == 0 else 1
    pixels = x.reshape(parts, -1, channels)
    pixel = lax.stop_gradient(pixels[:, height // 2 * width + width // 2])  # no border: (parts, C)
    moved = pixels - pixel[:, None, :]
    offsets = jnp.mean(moved, 1)
    variances = jnp.maximum(jnp.mean(jnp.square(moved), 1) - jnp.square(offsets), 0)
    means = pixel + offsets
    if parts == 1:
        return means[0], variances[0]
    from_centre = means - lax.stop_gradient(centre)[None]
    offset, square = jnp.mean(from_centre, 0), jnp.mean(jnp.square(from_centre), 0)
    between = square - jnp.square(offset)
    rounding = parts * jnp.finfo(x.dtype).eps * square
    variance = jnp.mean(variances, 0) + jnp.where(between > rounding, between, 0)
    return lax.stop_gradient(centre) + offset, variance


def _sum(x: jax.Array) -> jax.Array:
    """Sums (B, H, W, C) to (C,)."""
    return jnp.sum(x, (0, 1, 2))


def _spread(vector: jax.Array) -> jax.Array:
    """Reshapes (C,) to (1, 1, 1, C)."""
    return vector[None, None, None, :]
