"""Direct convolution by oneDNN, in bfloat16 with float32 sums, on a CPU that multiplies bfloat16.

XLA:CPU compiled with `Target.compiler_options` has oneDNN compute convolutions that go forward,
with the channels last. The gradient to the pixels is one of these too, and that to the kernel is
matrix products: JAX's own are slow, and wrong for some shapes (see `convolve`).
"""

import jax
import jax.numpy as jnp
from jax import lax

from dkse_jax.ops.plain import lax_conv, wide_dtype

Sides = tuple[tuple[int, int], tuple[int, int]]


def convolve(
    x: jax.Array, kernel: jax.Array, *, stride: int, dilation: int, padding: Sides
) -> jax.Array:
    """Convolves x (B, H, W, C) with kernel (kh, kw, C, C') to (B, H', W', C').

    oneDNN, as in jaxlib 0.12.0.1, sums wrongly where a row of taps has 64, 96, ... numbers in fewer
    than 16 channels: these get zeros as further channels.
    """
    channels = x.shape[-1]
    row = kernel.shape[1] * channels
    if channels < 16 and row > 32 and row % 32 == 0:
        zeros = (0, 16 - channels)
        x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), zeros))
        kernel = jnp.pad(kernel, ((0, 0), (0, 0), zeros, (0, 0)))
    return lax_conv(x, kernel, stride, dilation, padding)


def gradients(
    x: jax.Array, kernel: jax.Array, grad: jax.Array, *, stride: int, dilation: int, padding: Sides
) -> tuple[jax.Array, jax.Array]:
    """Returns the gradients to x (B, H, W, C) and kernel (kh, kw, C, C') of `convolve`.

    grad: (B, H', W', C'). padding: the pixels ((above, below), (left, right)). One of stride and
    dilation is 1.
    """
    to_x = _input_gradient(kernel, grad, x.shape[1:3], stride, dilation, padding)
    return to_x, _kernel_gradient(x, kernel, grad, stride, dilation, padding)


def sum_of_products(left: jax.Array, right: jax.Array) -> jax.Array:
    """Multiplies (B, ..., C) transposed by (B, ..., C') to (C, C'), summed in at least float32."""
    return _of_each_image(left, right).astype(wide_dtype(left.dtype)).sum(0)


def _of_each_image(left: jax.Array, right: jax.Array) -> jax.Array:
    """Multiplies (B, ..., C) transposed by (B, ..., C') to (B, C, C'), which no devices share."""
    left, right = (a.reshape(len(a), -1, a.shape[-1]) for a in (left, right))
    return jnp.einsum("bnc,bnd->bcd", left, right)


def _input_gradient(
    kernel: jax.Array,
    grad: jax.Array,
    size: tuple[int, ...],
    stride: int,
    dilation: int,
    padding: Sides,
) -> jax.Array:
    """Convolves the gradient with the flipped kernel, for all phases of the stride at once.

    Padded pixel s·P + p (p < s) meets output pixel P - m through tap s·m + p.
    """
    kh, kw, channels, features = kernel.shape
    slabs = [-(-taps // stride) for taps in (kh, kw)]
    missing = [(0, m * stride - taps) for m, taps in zip(slabs, (kh, kw), strict=True)]
    phases = jnp.pad(kernel, (*missing, (0, 0), (0, 0))).reshape(
        slabs[0], stride, slabs[1], stride, channels, features
    )
    flipped = phases[::-1, :, ::-1].transpose(0, 2, 5, 1, 3, 4)
    flipped = flipped.reshape(*slabs, features, stride * stride * channels)
    first = [low // stride for low, _ in padding]  # the P of the image's first pixel
    count = [
        (low + side - 1) // stride + 1 - f
        for (low, _), side, f in zip(padding, size, first, strict=True)
    ]
    reach = [(m - 1) * dilation for m in slabs]
    around = [
        (r - f, f + n - side)
        for r, f, n, side in zip(reach, first, count, grad.shape[1:3], strict=True)
    ]
    flipped = lax.optimization_barrier(flipped)
    image = convolve(grad, flipped, stride=1, dilation=dilation, padding=(around[0], around[1]))
    if stride == 1:
        return image
    image = image.reshape(-1, *count, stride, stride, channels).transpose(0, 1, 3, 2, 4, 5)
    image = image.reshape(-1, count[0] * stride, count[1] * stride, channels)
    (top, _), (left, _) = padding
    top, left = top % stride, left % stride
    return image[:, top : top + size[0], left : left + size[1]]


def _kernel_gradient(
    x: jax.Array, kernel: jax.Array, grad: jax.Array, stride: int, dilation: int, padding: Sides
) -> jax.Array:
    """Multiplies the pixels under each row of taps by the gradient."""
    kh, kw = kernel.shape[:2]
    height, width = ((side - 1) * stride + 1 for side in grad.shape[1:3])
    padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    shifted = [padded[:, :, j * dilation :][:, :, :width:stride] for j in range(kw)]
    pixels = lax.optimization_barrier(jnp.concatenate(shifted, -1))  # of each column of taps
    rest = pixels.shape[1] - grad.shape[1]

    def row(i: int, pixels: jax.Array) -> jax.Array:
        """Multiplies for row i of the taps; without a stride the gradient, the smaller, moves."""
        if stride == 1:
            moved = jnp.pad(grad, ((0, 0), (i * dilation, rest - i * dilation), (0, 0), (0, 0)))
            return _of_each_image(pixels, lax.optimization_barrier(moved))
        below = pixels[:, i * dilation :][:, :height:stride]
        return _of_each_image(lax.optimization_barrier(below), grad)

    rows: list[jax.Array] = []
    for i in range(kh):
        # The next row waits for this one, and takes its memory.
        pixels, products = lax.optimization_barrier((pixels, row(i, pixels)))
        rows.append(products)
    total = jnp.stack(rows, 1).astype(wide_dtype(x.dtype)).sum(0)
    return total.reshape(kernel.shape).astype(kernel.dtype)
