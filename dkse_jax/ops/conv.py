"""Dense convolution: every output channel sees every input channel (Eq. 10)."""

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax

from dkse_jax.ops import direct
from dkse_jax.ops.forms import ANY, Target, check_form, form_on, in_form
from dkse_jax.ops.plain import lax_conv
from dkse_jax.ops.pointwise import pointwise_conv
from dkse_jax.ops.winograd import transform_kernel, winograd_conv, winograd_gradients

Padding = Literal["SAME", "VALID"] | tuple[tuple[int, int], tuple[int, int]]
# Of input and output. With 64, a train step takes 0.5 to 0.8 of lax's time on maps of 25 pixels or
# more; with 32 the same time; with 16 a longer one.
MIN_WINOGRAD_CHANNELS = 64


def conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int = 1,
    dilation: int = 1,
    padding: Padding = "SAME",
    form: str = "auto",
    target: Target = ANY,
) -> jax.Array:
    """Convolves x (B, H, W, C) with kernel (kh, kw, C, C') to (B, H', W', C').

    padding: SAME as XLA pads, VALID, or the pixels ((above, below), (left, right)). form: plain is
    `lax.conv_general_dilated`. fast is a matrix product for 1×1 kernels, Winograd's algorithm for
    3×3 and 5×5 ones (stride 1, undilated, SAME), and lax for the rest. auto is fast on CPU where
    that is faster: in float32 or bfloat16 and with MIN_WINOGRAD_CHANNELS. On a target that
    multiplies bfloat16, both are `ops.direct` in bfloat16. Both have only a reverse-mode
    derivative. target: see `Target`. Raises UserError for an unknown form.
    """
    check_form(form, "conv")
    kh, kw = kernel.shape[:2]
    unpadded = padding in ("SAME", "VALID", ((0, 0), (0, 0)))
    if (kh, kw) == (1, 1) and (stride == 1 or form_on(target, form) != "plain") and unpadded:
        return pointwise_conv(x[:, ::stride, ::stride], kernel, form=form, target=target)
    if form != "plain" and target.multiplies(x.dtype):
        return _by_products(x, kernel, stride, dilation, padding, target)
    plain = partial(lax_conv, stride=stride, dilation=dilation, padding=padding)
    if not _is_winograd(kernel, stride, dilation, padding, form):
        return plain(x, kernel)

    def fast(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return winograd_conv(x, transform_kernel(kernel), target.devices)

    gradients = partial(winograd_gradients, devices=target.devices)
    return in_form(form, target, plain, fast, x, kernel, gradients=gradients)


def takes_winograd(
    kernel: jax.Array,
    *,
    stride: int = 1,
    dilation: int = 1,
    padding: Padding = "SAME",
    form: str = "auto",
    target: Target = ANY,
) -> bool:
    """Returns whether `conv` is certain to use Winograd's algorithm on the target."""
    fast = form_on(target, form) == "fast" and not target.multiplies(kernel.dtype)
    return fast and _is_winograd(kernel, stride, dilation, padding, form)


def _by_products(
    x: jax.Array, kernel: jax.Array, stride: int, dilation: int, padding: Padding, target: Target
) -> jax.Array:
    if stride > 1 and dilation > 1:
        kernel, dilation = add_kernels([(kernel, dilation)]), 1
    spans = [(taps - 1) * dilation + 1 for taps in kernel.shape[:2]]
    if isinstance(padding, str):
        (top, left) = lax.padtype_to_pads(x.shape[1:3], spans, (stride, stride), padding)
        padding = top, left
    options: dict[str, Any] = {"stride": stride, "dilation": dilation, "padding": padding}
    forward, gradients = partial(direct.convolve, **options), partial(direct.gradients, **options)
    return in_form("fast", target, forward, forward, x, kernel, gradients=gradients)


def add_kernels(kernels: list[tuple[jax.Array, int]]) -> jax.Array:
    """Returns the kernel whose SAME convolution is the sum of those of odd (kernel, dilation)."""
    spans = [(kernel.shape[0] - 1) * dilation + 1 for kernel, dilation in kernels]

    def spread(kernel: jax.Array, dilation: int, span: int) -> jax.Array:
        edge = (max(spans) - span) // 2
        sides = [(edge, edge, dilation - 1)] * 2 + [(0, 0, 0)] * 2
        return lax.pad(kernel, jnp.zeros((), kernel.dtype), sides)

    terms = [spread(*kernel, span) for kernel, span in zip(kernels, spans, strict=True)]
    return sum(terms[1:], start=terms[0])


def _is_winograd(
    kernel: jax.Array, stride: int, dilation: int, padding: Padding, form: str
) -> bool:
    side = kernel.shape[0]
    same = padding in ("SAME", ((side // 2,) * 2,) * 2)
    exists = kernel.shape[:2] in ((3, 3), (5, 5)) and (stride, dilation) == (1, 1) and same
    pays = (
        kernel.dtype in (jnp.float32, jnp.bfloat16)
        and min(kernel.shape[2:]) >= MIN_WINOGRAD_CHANNELS
    )
    return exists and (form == "fast" or (form == "auto" and pays))
