"""The forms of every op: plain, which is lax, and fast, the same sums in another order."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from dkse_jax.choices import FORMS
from dkse_jax.errors import UserError, nearest


class Target(NamedTuple):
    """What a program is traced for: JAX's name of a platform, and the devices that share a batch.

    Without a platform, lowering chooses the forms, so that one trace serves every platform.
    bfloat16: whether the platform is a CPU that multiplies bfloat16 (`runtime.multiplies_bfloat16`)
    and the program is compiled with `compiler_options`.
    """

    platform: str | None = None
    devices: int = 1
    bfloat16: bool = False

    @property
    def compiler_options(self) -> dict[str, bool]:
        """Returns the options of XLA for programs of bfloat16 on this target."""
        return {"xla_cpu_experimental_onednn_custom_call": True} if self.bfloat16 else {}

    def multiplies(self, dtype: DTypeLike) -> bool:
        """Returns whether a CPU's products of the dtype are oneDNN's."""
        return self.bfloat16 and dtype == jnp.bfloat16


ANY = Target()


def check_form(form: str, op: str) -> None:
    """Raises UserError for an unknown form of the op."""
    if form not in FORMS:
        raise UserError(f'no form "{form}" of {op}{nearest(form, FORMS)}')


def reduced(reduction: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Returns reduction(x); on CPU apart from other operations if x is narrower than float32.

    XLA:CPU (jaxlib 0.11.2 to 0.12.0.1) computes NaN and other wrong numbers where one fusion holds
    a reduction and clamps bfloat16 twice by the same constant.
    """
    if jnp.promote_types(x.dtype, jnp.float32) == x.dtype:
        return reduction(x)

    def apart(x: jax.Array) -> jax.Array:
        return lax.platform_dependent(x, cpu=lax.optimization_barrier, default=lambda x: x)

    return apart(reduction(apart(x)))


def form_on(target: Target, form: str) -> str:
    """Resolves auto on a known platform: fast on CPU, plain elsewhere."""
    if form != "auto" or target.platform is None:
        return form
    return "fast" if target.platform == "cpu" else "plain"


def in_form[Result](
    form: str,
    target: Target,
    plain: Callable[..., Result],
    fast: Callable[..., Result],
    *operands: jax.Array,
    gradients: Callable[..., tuple[jax.Array, ...]] | None = None,
) -> Result:
    """Returns `plain` or `fast` of the operands; auto is fast on CPU and plain elsewhere.

    gradients: (operands, gradient to the result) -> gradients to the operands, of the fast form; by
    default JAX's own. Unless plain is chosen while tracing, there is only a reverse-mode
    derivative, which keeps only the operands.
    """
    form = form_on(target, form)
    if form == "plain":
        return plain(*operands)

    def pick(plain: Callable, fast: Callable, *operands: Any) -> Any:
        if form == "fast":
            return fast(*operands)
        return lax.platform_dependent(*operands, cpu=fast, default=plain)

    def derived(function: Callable) -> Callable:
        return lambda *operands: jax.vjp(function, *operands[:-1])[1](operands[-1])

    # The platform is picked inside the derivative rule, never under it: a differentiated choice
    # would keep the residuals of both forms.
    @jax.custom_vjp
    def op(*operands: jax.Array) -> Result:
        return pick(plain, fast, *operands)

    def forward(*operands: jax.Array) -> tuple[Result, tuple[jax.Array, ...]]:
        return op(*operands), operands

    def backward(operands: tuple[jax.Array, ...], grad: Result) -> tuple[jax.Array, ...]:
        return pick(derived(plain), gradients or derived(fast), *operands, grad)

    op.defvjp(forward, backward)
    return op(*operands)
