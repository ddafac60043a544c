"""The first two layers, a dilated convolution and a strided depthwise one, as one convolution.

Nothing is between the two, so they are one convolution with a kernel of 7×7 taps. It skips the
intermediate map, by far the network's largest: 32 channels at the full size of the input.
"""

import jax
import jax.numpy as jnp
from jax import lax

from dkse_jax.ops.conv import conv
from dkse_jax.ops.depthwise import depthwise_conv
from dkse_jax.ops.forms import ANY, Target, check_form, in_form


def conv_then_depthwise(
    x: jax.Array,
    kernel: jax.Array,
    depthwise: jax.Array,
    *,
    dilation: int,
    stride: int,
    form: str = "auto",
    target: Target = ANY,
) -> jax.Array:
    """Computes a SAME convolution, then a VALID depthwise one with a stride.

    x: (B, H, W, C); kernel: (k, k, C, C'), k odd; depthwise: (j, j, 1, C'); returns
    (B, H', W', C'). form: plain computes the intermediate map, fast does not; auto is fast on CPU.
    Raises UserError for an unknown form.
    """
    check_form(form, "conv_then_depthwise")
    reach = (kernel.shape[0] - 1) * dilation // 2

    def plain(x: jax.Array, kernel: jax.Array, depthwise: jax.Array) -> jax.Array:
        between = conv(x, kernel, dilation=dilation, form="plain")
        return depthwise_conv(between, depthwise, stride=stride, padding="VALID", form="plain")

    def fast(x: jax.Array, kernel: jax.Array, depthwise: jax.Array) -> jax.Array:
        both = merge_depthwise(kernel, depthwise, dilation)
        return merged_conv(x, both, reach=reach, stride=stride, form=form, target=target)

    return in_form(form, target, plain, fast, x, kernel, depthwise)


def merge_depthwise(kernel: jax.Array, depthwise: jax.Array, dilation: int) -> jax.Array:
    """Convolves one kernel with the other: (s, s, C, C'), s = (k - 1)·dilation + j."""
    j = depthwise.shape[0]
    zero = jnp.zeros((), kernel.dtype)
    terms = [
        lax.pad(
            kernel * depthwise[a, b][None, None],
            zero,
            ((a, j - 1 - a, dilation - 1), (b, j - 1 - b, dilation - 1), (0, 0, 0), (0, 0, 0)),
        )
        for a in range(j)
        for b in range(j)
    ]
    return sum(terms[1:], start=terms[0])


def merged_conv(
    x: jax.Array, both: jax.Array, *, reach: int, stride: int, form: str, target: Target
) -> jax.Array:
    """Convolves x with a kernel of `merge_depthwise`; reach: (k - 1)·d / 2 of the first kernel."""
    sides = (reach, reach)
    return conv(x, both, stride=stride, padding=(sides, sides), form=form, target=target)
