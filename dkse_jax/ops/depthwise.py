"""Depthwise convolution: one k×k filter for every channel (the paper's section 4.2, Eq. 11).

On CPU, XLA lowers a grouped convolution, above all its kernel gradient, to slow code; the fast form
computes the same sums as shifted slices times one weight per channel.
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from dkse_jax.ops.forms import ANY, Target, check_form, in_form
from dkse_jax.ops.plain import lax_conv, wide_dtype


class _Geometry(NamedTuple):
    """The static parameters of the convolution."""

    stride: int
    dilation: int
    padding: tuple[tuple[int, int], ...]  # (top, bottom), (left, right), in pixels


def depthwise_conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int = 1,
    dilation: int = 1,
    padding: Literal["SAME", "VALID"] = "SAME",
    form: str = "auto",
    target: Target = ANY,
) -> jax.Array:
    """Convolves every channel with its own filter.

    x: (B, H, W, C); kernel: (kh, kw, 1, C), the layout of a grouped kernel in `lax` (HWIO); both of
    one float dtype, also the result's, (B, H', W', C). SAME pads as XLA and TensorFlow do. form:
    plain is `lax.conv_general_dilated`; fast is the shifted sum, equal to rounding; auto is fast on
    CPU and plain elsewhere: see `Target`. fast and auto have only a reverse-mode derivative. Raises
    UserError for an unknown form.
    """
    check_form(form, "depthwise_conv")
    spans = [(k - 1) * dilation + 1 for k in kernel.shape[:2]]
    pads = lax.padtype_to_pads(x.shape[1:3], spans, (stride, stride), padding)
    geometry = _Geometry(stride, dilation, tuple(pads))
    plain = partial(lax_conv, **geometry._asdict(), groups=x.shape[-1])
    fast = partial(_fast, geometry=geometry)
    gradients = partial(_gradients, geometry=geometry)
    return in_form(form, target, plain, fast, x, kernel, gradients=gradients)


def _gradients(
    x: jax.Array, kernel: jax.Array, grad: jax.Array, geometry: _Geometry
) -> tuple[jax.Array, jax.Array]:
    return _input_gradient(x, kernel, grad, geometry), _kernel_gradient(x, kernel, grad, geometry)


def _spans(kernel: jax.Array, geometry: _Geometry) -> tuple[int, int]:
    """Returns the rows and columns of pixels that the dilated kernel covers."""
    kh, kw = kernel.shape[:2]
    return (kh - 1) * geometry.dilation + 1, (kw - 1) * geometry.dilation + 1


def _taps(x: jax.Array, kernel: jax.Array, geometry: _Geometry) -> list[jax.Array]:
    """Returns the pixels (B, H', W', C) under each tap of the kernel, row by row."""
    stride, dilation, pads = geometry
    padded = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    batch, height, width, channels = padded.shape
    span_h, span_w = _spans(kernel, geometry)
    last_row = (height - span_h) // stride * stride  # where the last window starts
    last_column = (width - span_w) // stride * stride
    return [
        lax.slice(
            padded,
            (0, i, j, 0),
            (batch, i + last_row + 1, j + last_column + 1, channels),
            (1, stride, stride, 1),
        )
        for i in range(0, span_h, dilation)
        for j in range(0, span_w, dilation)
    ]


def _fast(x: jax.Array, kernel: jax.Array, geometry: _Geometry) -> jax.Array:
    wide = wide_dtype(x.dtype)
    weights = kernel.astype(wide).reshape(-1, 1, 1, 1, x.shape[-1])
    taps = _taps(x, kernel, geometry)
    total = taps[0] * weights[0]
    for pixels, weight in zip(taps[1:], weights[1:], strict=True):
        total += pixels * weight
    return total.astype(x.dtype)


def _kernel_gradient(
    x: jax.Array, kernel: jax.Array, grad: jax.Array, geometry: _Geometry
) -> jax.Array:
    """Sums grad × pixels for all taps in one pass over each row, then over the rows."""
    wide = wide_dtype(x.dtype)
    grad = grad.astype(wide)
    products = tuple(pixels * grad for pixels in _taps(x, kernel, geometry))
    zeros = tuple(jnp.zeros((), wide) for _ in products)
    per_row = lax.reduce(
        products, zeros, lambda a, b: tuple(p + q for p, q in zip(a, b, strict=True)), (2,)
    )
    total = jnp.stack([rows.sum((0, 1)) for rows in per_row])  # (kh·kw, C)
    return total.reshape(kernel.shape).astype(kernel.dtype)


def _input_gradient(
    x: jax.Array, kernel: jax.Array, grad: jax.Array, geometry: _Geometry
) -> jax.Array:
    """Sums shifted gradients times slabs of the kernel, of stride × stride taps each.

    Input pixel s·P + p (p < s) meets output pixel P - m through tap s·m + p: slab m of the kernel
    serves all phases p at once, and the phases side by side are the image again.
    """
    stride, dilation, ((top, bottom), (left, right)) = geometry
    batch, height, width, channels = x.shape
    rows = -(-(top + height + bottom) // stride)  # of pixels of one phase
    columns = -(-(left + width + right) // stride)
    span_h, span_w = _spans(kernel, geometry)
    slabs_h, slabs_w = -(-span_h // stride), -(-span_w // stride)

    wide = wide_dtype(x.dtype)
    zero = jnp.zeros((), wide)
    spread = dilation - 1
    slabs = lax.pad(
        kernel[:, :, 0].astype(wide),
        zero,
        (
            (0, slabs_h * stride - span_h, spread),
            (0, slabs_w * stride - span_w, spread),
            (0, 0, 0),
        ),
    ).reshape(slabs_h, stride, slabs_w, stride, channels)
    padded = jnp.pad(
        grad.astype(wide),
        (
            (0, 0),
            (slabs_h - 1, rows - grad.shape[1]),
            (slabs_w - 1, columns - grad.shape[2]),
            (0, 0),
        ),
    )
    total = jnp.zeros((batch, rows, stride, columns, stride, channels), wide)
    for m in _occupied(slabs_h, geometry):
        for n in _occupied(slabs_w, geometry):
            i, j = slabs_h - 1 - m, slabs_w - 1 - n
            shifted = padded[:, i : i + rows, None, j : j + columns, None, :]
            total += shifted * slabs[m, :, n][None, None, :, None, :, :]
    image = total.reshape(batch, rows * stride, columns * stride, channels)
    return image[:, top : top + height, left : left + width].astype(x.dtype)


def _occupied(slabs: int, geometry: _Geometry) -> list[int]:
    """Returns the slabs that hold a tap: a dilated kernel leaves some of them empty."""
    stride, dilation, _ = geometry
    return [m for m in range(slabs) if -(-m * stride // dilation) * dilation < (m + 1) * stride]
