"""Winograd convolution F(4×4, k×k): 4×4 outputs from (k+3)² products instead of 16·k².

Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks", with the matrices of
Cook and Toom: two polynomials are multiplied through their values at t = k + 3 points.

Shapes: an image (B, H, W, C) is cut into P×Q tiles of 4×4 outputs; a transformed image has the
axes (t, t, B, P, Q, C), so that every one of the t·t products is one matrix product over channels.
"""

import math
from fractions import Fraction
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dkse_jax.ops.plain import wide_dtype

TILE = 4  # outputs of a tile, along one side
TILES_PER_STEP = 128  # rows of the matrix products: more exceed the cache, fewer leave cores idle
_POINTS = (0, 1, -1, 2, -2, Fraction(1, 2), Fraction(-1, 2))  # and infinity; small: least rounding


@cache
def matrices(k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns output (4, t), kernel (t, k) and input (t, t), in float64, for k ≤ 5 taps.

    4 outputs y of a k-tap correlation of t pixels x with the kernel g are
    y = output @ ((kernel @ g) * (input @ x)).
    """
    t = TILE + k - 1
    points = [Fraction(point) for point in _POINTS[: t - 1]]

    def powers(columns: int) -> list[list[Fraction]]:
        at_infinity = [Fraction(0)] * (columns - 1) + [Fraction(1)]
        return [[p**j for j in range(columns)] for p in points] + [at_infinity]

    def product(roots: list[Fraction]) -> list[Fraction]:
        """Returns the coefficients of Π (z - root), from the constant up to z^(t-1)."""
        coefficients = [Fraction(1)]
        for root in roots:
            shifted = [Fraction(0), *coefficients]
            coefficients = [
                high - root * low
                for high, low in zip(shifted, [*coefficients, Fraction(0)], strict=True)
            ]
        return coefficients + [Fraction(0)] * (t - len(coefficients))

    others = [[q for q in points if q != p] for p in points]
    scales = [math.prod([p - q for q in rest]) for p, rest in zip(points, others, strict=True)]
    kernel = [
        [value / scale for value in row]
        for row, scale in zip(powers(k), [*scales, Fraction(1)], strict=True)
    ]
    rows = [product(rest) for rest in others] + [product(points)]
    return (
        np.array(powers(TILE), np.float64).T,
        np.array(kernel, np.float64),
        np.array(rows, np.float64),
    )


def transform_kernel(kernel: jax.Array) -> jax.Array:
    """Transforms a kernel (k, k, C, C') for `winograd_conv`: (t, t, C, C')."""
    return _on_both_sides(matrices(kernel.shape[0])[1], kernel.astype(wide_dtype(kernel.dtype)))


def _transform_kernel_transposed(transformed: jax.Array) -> jax.Array:
    """Transposes `transform_kernel`: (t, t, C, C') -> (k, k, C, C')."""
    return _on_both_sides(matrices(_taps(transformed))[1].T, transformed)


def _on_both_sides(matrix: np.ndarray, kernel: jax.Array) -> jax.Array:
    """Computes matrix @ kernel @ matrix.T over the first two axes."""
    by_rows = _matmul(matrix, list(kernel), 0)
    return _matmul(matrix, [by_rows[:, j] for j in range(kernel.shape[1])], 1)


def winograd_conv(x: jax.Array, transformed: jax.Array, devices: int) -> jax.Array:
    """Convolves x (B, H, W, C), SAME, stride 1, with a kernel from `transform_kernel`.

    Returns (B, H, W, C'), exact but for rounding: in float32 about 1e-5 of the largest value. A
    narrower x is computed in float32, since the matrices enlarge its rounding, and rounded once.
    devices: number of devices that share the batch.
    """
    height, width = x.shape[1:3]

    def convolve(x: jax.Array) -> jax.Array:
        pixels = _input(x.astype(transformed.dtype), _taps(transformed))
        products = jnp.einsum("abhpqc,abcd->abhpqd", pixels, transformed)
        return _output(lax.optimization_barrier(products), (height, width)).astype(x.dtype)

    chunks = _chunks(x, devices)
    if chunks.shape[1] == 1:
        return convolve(x)
    size = (*chunks.shape[:-1], transformed.shape[-1])

    def one(i: int, done: jax.Array) -> jax.Array:
        return lax.dynamic_update_index_in_dim(done, convolve(_pick(chunks, i)), i, 1)

    y = lax.fori_loop(0, chunks.shape[1], one, jnp.zeros(size, x.dtype))
    return y.reshape(*x.shape[:-1], transformed.shape[-1])


def winograd_gradients(
    x: jax.Array, kernel: jax.Array, grad: jax.Array, devices: int
) -> tuple[jax.Array, jax.Array]:
    """Returns the gradients to x (B, H, W, C) and kernel (k, k, C, C') from that to the output.

    Transposes each step of the forward pass, which are linear in each argument, and computes the
    gradient's transform once for both.
    """
    k = kernel.shape[0]
    transformed = transform_kernel(kernel)
    height, width = x.shape[1:3]

    chunks, grads = _chunks(x, devices), _chunks(grad, devices)
    # One sum per device: a single one would be exchanged in every step of the loop.
    sums = math.gcd(chunks.shape[0], devices)

    def gradients(x: jax.Array, grad: jax.Array) -> tuple[jax.Array, jax.Array]:
        wide = transformed.dtype
        pixels, products = _input(x.astype(wide), k), _output_transposed(grad.astype(wide), k)
        image = jnp.einsum("abhpqd,abcd->abhpqc", products, transformed)
        to_kernel = jnp.einsum(
            "abshpqc,abshpqd->abscd", *(_split(part, 2, sums) for part in (pixels, products))
        )
        to_x = _input_transposed(lax.optimization_barrier(image), k, (height, width))
        return to_x.astype(x.dtype), to_kernel

    def summed(to_kernel: jax.Array) -> jax.Array:
        return _transform_kernel_transposed(to_kernel).sum(2).astype(kernel.dtype)

    if chunks.shape[1] == 1:
        to_x, to_kernel = gradients(x, grad)
        return to_x, summed(to_kernel)

    def one(i: int, done: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        to_x, to_kernel = gradients(_pick(chunks, i), _pick(grads, i))
        return lax.dynamic_update_index_in_dim(done[0], to_x, i, 1), done[1] + to_kernel

    t, _, *channels = transformed.shape
    start = jnp.zeros_like(chunks), jnp.zeros((t, t, sums, *channels), transformed.dtype)
    to_x, to_kernel = lax.fori_loop(0, chunks.shape[1], one, start)
    return to_x.reshape(x.shape), summed(to_kernel)


def _chunks(x: jax.Array, devices: int) -> jax.Array:
    """Divides (B, H, W, C) into n steps that fit a cache and fill a core: (B / n, n, H, W, C).

    A step has every n-th image, so that each device has its part in every step. A symbolic batch
    (`jax.export`) is one step.
    """
    batch, height, width, _ = x.shape
    if not isinstance(batch, int):
        return x[:, None]
    tiles = _tiles(height) * _tiles(width)
    least = min(batch, -(-TILES_PER_STEP // tiles) * devices)
    images = next(
        n for n in range(least, batch + 1) if (batch % n == 0 and n % devices == 0) or n == batch
    )
    return x.reshape(images, batch // images, *x.shape[1:])


def _split(x: jax.Array, axis: int, parts: int) -> jax.Array:
    return x.reshape(*x.shape[:axis], parts, -1, *x.shape[axis + 1 :])


def _pick(chunks: jax.Array, i: int) -> jax.Array:
    return lax.dynamic_index_in_dim(chunks, i, 1, keepdims=False)


def _taps(transformed: jax.Array) -> int:
    return transformed.shape[0] - TILE + 1


def _tiles(side: int) -> int:
    return -(-side // TILE)


def _matmul(matrix: np.ndarray, parts: list[jax.Array], axis: int) -> jax.Array:
    """Computes Σ_i matrix[:, i] · parts[i], its rows along a new axis, before what follows.

    Without it, XLA would recompute one side's transform for each row of the other's.
    """
    dtype = parts[0].dtype
    shape = [1] * (parts[0].ndim + 1)
    shape[axis] = len(matrix)
    terms = [
        jnp.asarray(column, dtype).reshape(shape) * jnp.expand_dims(part, axis)
        for column, part in zip(matrix.T, parts, strict=True)
    ]
    return lax.optimization_barrier(sum(terms[1:], start=terms[0]))


def _input(x: jax.Array, k: int) -> jax.Array:
    """Applies the input matrix to rows, then to columns: (B, H, W, C) -> (t, t, B, P, Q, C)."""
    t, before = TILE + k - 1, (k - 1) // 2
    rows, columns = _tiles(x.shape[1]), _tiles(x.shape[2])
    after = [
        n * TILE + k - 1 - before - side
        for n, side in zip((rows, columns), x.shape[1:3], strict=True)
    ]
    padded = lax.optimization_barrier(
        jnp.pad(x, ((0, 0), (before, after[0]), (before, after[1]), (0, 0)))
    )
    matrix = matrices(k)[2]

    def every_tile(x: jax.Array, i: int, tiles: int, axis: int) -> jax.Array:
        return lax.slice_in_dim(x, i, i + (tiles - 1) * TILE + 1, TILE, axis)

    by_rows = _matmul(matrix, [every_tile(padded, i, rows, 1) for i in range(t)], 0)
    return _matmul(matrix, [every_tile(by_rows, i, columns, 3) for i in range(t)], 1)


def _output(products: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Applies the output matrix: (t, t, B, P, Q, C') -> (B, H, W, C')."""
    matrix = matrices(products.shape[0] - TILE + 1)[0]
    _, _, batch, rows, columns, channels = products.shape
    by_rows = _matmul(matrix, list(products), 3)  # (t, B, P, 4, Q, C')
    both = _matmul(matrix, list(by_rows), 4)
    image = both.reshape(batch, rows * TILE, columns * TILE, channels)
    return image[:, : size[0], : size[1]]


def _output_transposed(grad: jax.Array, k: int) -> jax.Array:
    """Applies the transposed output matrix: (B, H, W, C') -> (t, t, B, P, Q, C')."""
    matrix = matrices(k)[0].T
    batch, height, width, channels = grad.shape
    rows, columns = _tiles(height), _tiles(width)
    padded = jnp.pad(
        grad, ((0, 0), (0, rows * TILE - height), (0, columns * TILE - width), (0, 0))
    ).reshape(batch, rows, TILE, columns, TILE, channels)
    by_rows = _matmul(matrix, [padded[:, :, i] for i in range(TILE)], 0)
    return _matmul(matrix, [by_rows[..., j, :] for j in range(TILE)], 1)


def _input_transposed(image: jax.Array, k: int, size: tuple[int, int]) -> jax.Array:
    """Applies the transposed input matrix, adding overlaps: (t, t, B, P, Q, C) -> (B, H, W, C)."""
    before = (k - 1) // 2
    matrix = matrices(k)[2].T
    _, _, batch, rows, columns, channels = image.shape

    def overlap_add(parts: list[jax.Array], axis: int) -> jax.Array:
        """Sums rows s of tile q and s + 4 of tile q - 1 to pixel s of tile q."""
        edges = [(0, 0)] * parts[0].ndim
        edges[axis] = (0, 1)
        here = [jnp.pad(part, edges) for part in parts]
        edges[axis] = (1, 0)
        before = [jnp.pad(part, edges) for part in parts]
        spilled = np.zeros_like(matrix[:TILE])
        spilled[: k - 1] = matrix[TILE:]
        return _matmul(np.concatenate([matrix[:TILE], spilled], axis=1), [*here, *before], axis + 1)

    by_rows = overlap_add(list(image), 2)  # (t, B, P+1, 4, Q, C)
    both = overlap_add(list(by_rows), 3)  # (B, P+1, 4, Q+1, 4, C)
    padded = both.reshape(batch, (rows + 1) * TILE, (columns + 1) * TILE, channels)
    return padded[:, before : before + size[0], before : before + size[1]]
