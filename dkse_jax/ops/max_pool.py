"""Max pooling.

On CPU, XLA computes the windows and their gradient's scatter by slow loops; the fast form compares
shifted slices, and adds the gradient where each window's first largest pixel is.
"""

from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from dkse_jax.ops.forms import ANY, Target, check_form, in_form, reduced
from dkse_jax.ops.plain import wide_dtype


def max_pool(
    x: jax.Array,
    size: int,
    stride: int,
    padding: int = 0,
    *,
    form: str = "auto",
    target: Target = ANY,
) -> jax.Array:
    """Pools (B, H, W, C) to (B, H', W', C), H' = ⌊(H + 2·padding - size) / stride⌋ + 1.

    A gradient goes to the first of equal pixels of a window, row by row. form: plain is
    `lax.reduce_window`; fast has only a reverse-mode derivative; auto is fast on CPU and plain
    elsewhere: see `Target`. Raises UserError for an unknown form.
    """
    check_form(form, "max_pool")
    pads = ((padding, padding),) * 2
    pool = partial(nn.max_pool, window_shape=(size, size), strides=(stride, stride), padding=pads)
    options: dict[str, Any] = {"size": size, "stride": stride, "padding": padding}
    fast, gradients = partial(_fast, **options), partial(_gradients, **options)
    return in_form(form, target, partial(reduced, pool), fast, x, gradients=gradients)


def _taps(x: jax.Array, size: int, stride: int, padding: int) -> list[jax.Array]:
    """Returns the pixels (B, H', W', C) at each place of the windows, row by row."""
    edges = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = jnp.pad(x, edges, constant_values=-jnp.inf) if padding else x
    padded = lax.optimization_barrier(padded)
    height, width = (side - size + 1 for side in padded.shape[1:3])
    return [
        padded[:, i : i + height : stride, j : j + width : stride]
        for i in range(size)
        for j in range(size)
    ]


def _fast(x: jax.Array, size: int, stride: int, padding: int) -> jax.Array:
    wide = wide_dtype(x.dtype)  # XLA:CPU compares narrower numbers one by one
    taps = [pixels.astype(wide) for pixels in _taps(x, size, stride, padding)]
    return reduce(jnp.maximum, taps).astype(x.dtype)


def _gradients(
    x: jax.Array, grad: jax.Array, size: int, stride: int, padding: int
) -> tuple[jax.Array]:
    """Adds each window's gradient at its largest pixel, for all phases of the stride at once.

    Padded pixel s·P + p (p < s) is at place s·m + p of window P - m.
    """
    batch, height, width, channels = x.shape
    largest, *others = _taps(x, size, stride, padding)
    place = jnp.zeros(grad.shape, jnp.int8)
    for number, pixels in enumerate(others, start=1):
        place = jnp.where(pixels > largest, jnp.int8(number), place)
        largest = jnp.maximum(pixels, largest)
    slabs = -(-size // stride)
    rows, columns = (-(-(side + padding) // stride) for side in (height, width))
    square = np.full((slabs * stride, slabs * stride), -1, np.int8)  # -1: outside of the window
    square[:size, :size] = np.arange(size * size).reshape(size, size)
    places = square.reshape(slabs, stride, slabs, stride)

    edges = (
        (0, 0),
        (slabs - 1, max(0, rows - grad.shape[1])),
        (slabs - 1, max(0, columns - grad.shape[2])),
        (0, 0),
    )
    wide = wide_dtype(x.dtype)
    grad, place = lax.optimization_barrier((jnp.pad(grad, edges), jnp.pad(place, edges)))
    total = jnp.zeros((batch, rows, stride, columns, stride, channels), wide)
    for m in range(slabs):
        for n in range(slabs):
            i, j = slabs - 1 - m, slabs - 1 - n
            window = (slice(None), slice(i, i + rows), None, slice(j, j + columns), None)
            is_largest = place[window] == places[m, :, n].reshape(1, 1, stride, 1, stride, 1)
            total += jnp.where(is_largest, grad[window].astype(wide), 0)
    image = total.reshape(batch, rows * stride, columns * stride, channels)
    return (image[:, padding : padding + height, padding : padding + width].astype(x.dtype),)
