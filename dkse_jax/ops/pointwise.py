"""Pointwise (1×1) convolution: one matrix over the channels of every pixel (section 4.2)."""

from functools import partial

import jax
from jax import lax

from dkse_jax.ops.direct import sum_of_products
from dkse_jax.ops.forms import ANY, Target, check_form, in_form
from dkse_jax.ops.plain import lax_conv, wide_dtype


def pointwise_conv(
    x: jax.Array, kernel: jax.Array, *, form: str = "auto", target: Target = ANY
) -> jax.Array:
    """Mixes the channels of each pixel.

    x: (B, H, W, C); kernel: (1, 1, C, C'); returns (B, H, W, C'). form: plain is a convolution;
    fast is a matrix product; auto is fast on CPU and plain elsewhere. fast and auto have a
    reverse-mode derivative only. Raises UserError for an unknown form.
    """
    check_form(form, "pointwise_conv")
    gradients = partial(_gradients, target=target)
    plain = partial(lax_conv, stride=1, dilation=1, padding="VALID")
    return in_form(form, target, plain, _fast, x, kernel, gradients=gradients)


def _fast(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return lax.dot_general(x, kernel[0, 0], (((3,), (0,)), ((), ())))


def _gradients(
    x: jax.Array, kernel: jax.Array, grad: jax.Array, target: Target
) -> tuple[jax.Array, jax.Array]:
    to_x = lax.dot_general(grad, kernel[0, 0], (((3,), (1,)), ((), ())))
    if target.multiplies(x.dtype):
        return to_x, sum_of_products(x, grad)[None, None].astype(kernel.dtype)
    # In at least float32: XLA:CPU multiplies narrow matrices slower where the sums are long.
    x, grad = (a.reshape(-1, a.shape[-1]).astype(wide_dtype(a.dtype)) for a in (x, grad))
    return to_x, _kernel_gradient(x, grad, target.devices)[None, None].astype(kernel.dtype)


def _kernel_gradient(x: jax.Array, grad: jax.Array, devices: int) -> jax.Array:
    """Multiplies (N, C) transposed by (N, C') to (C, C').

    XLA:CPU has two algorithms. The one for x in place is faster on one device, but allocates memory
    throughout, for which several devices wait; the one for transposed x does not.
    """
    if devices > 1:
        return lax.dot_general(lax.optimization_barrier(x.T), grad, (((1,), (0,)), ((), ())))
    # With a batch of one, since XLA:CPU transposes x first for a product without a batch.
    return lax.dot_general(x[None], grad[None], (((1,), (1,)), ((0,), (0,))))[0]
