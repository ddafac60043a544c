"""Average pooling with PyTorch's padding; none of it counts as multiply-accumulates."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from dkse_jax.ops.forms import ANY, Target, in_form, reduced
from dkse_jax.ops.plain import wide_dtype


def average_pool(x: jax.Array, size: int) -> jax.Array:
    """Averages (B, H, W, C) over size×size pixels, padding not counted; keeps the shape."""

    def mean(x: jax.Array) -> jax.Array:
        wide = x.astype(wide_dtype(x.dtype))
        return nn.avg_pool(wide, (size, size), padding="SAME", count_include_pad=False)

    return reduced(mean, x).astype(x.dtype)


def adaptive_average_pool(x: jax.Array, side: int) -> jax.Array:
    """Averages (B, H, W, C) to (B, side, side, C), for any H and W.

    Bin i of n pixels is the mean from ⌊i·n / side⌋ up to ⌈(i + 1)·n / side⌉: bins overlap if side
    does not divide n, and repeat pixels if n is smaller.
    """

    def means(x: jax.Array, axis: int) -> jax.Array:
        n = x.shape[axis]
        bins = [
            lax.slice_in_dim(x, i * n // side, -(-(i + 1) * n // side), axis=axis)
            for i in range(side)
        ]
        means = [jnp.mean(b, axis, wide_dtype(x.dtype), keepdims=True) for b in bins]
        return jnp.concatenate(means, axis).astype(x.dtype)

    for axis in (1, 2):
        if x.shape[axis] != side:
            x = reduced(partial(means, axis=axis), x)
    return x


def global_average_pool(x: jax.Array, form: str = "plain", target: Target = ANY) -> jax.Array:
    """Averages (B, H, W, C) over the pixels to (B, C), in at least float32 (Eq. 8).

    form: fast, which is auto on CPU, separates the mean from the operation before it. XLA:CPU would
    fuse it with a matrix product, which leaves cores idle for few images.
    """

    def mean(x: jax.Array) -> jax.Array:
        return jnp.mean(x, axis=(1, 2), dtype=wide_dtype(x.dtype))

    plain = partial(reduced, mean)
    return in_form(form, target, plain, lambda x: plain(lax.optimization_barrier(x)), x)
