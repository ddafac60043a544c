"""Common parts of the plain forms of convolutions."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

Pads = str | tuple[tuple[int, int], ...]


def lax_conv(
    x: jax.Array, kernel: jax.Array, stride: int, dilation: int, padding: Pads, groups: int = 1
) -> jax.Array:
    """Convolves x (B, H, W, C) with kernel (kh, kw, C / groups, C') by `lax`."""
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=padding,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def wide_dtype(dtype: DTypeLike) -> jnp.dtype:
    """Returns the dtype for sums of values of `dtype`: at least float32."""
    return jnp.promote_types(dtype, jnp.float32)
