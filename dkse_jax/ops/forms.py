"""The forms that every op has: plain, as lax says it, and fast, the same sums in another order."""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax

from dkse_jax.choices import FORMS
from dkse_jax.errors import UserError, nearest


def check_form(form: str, op: str) -> None:
    """Raises UserError if there is no such form of the op."""
    if form not in FORMS:
        raise UserError(f'no form "{form}" of {op}{nearest(form, FORMS)}')


def in_form[Result](
    form: str,
    plain: Callable[..., Result],
    fast: Callable[..., Result],
    *operands: jax.Array,
    gradients: Callable[..., tuple[jax.Array, ...]] | None = None,
) -> Result:
    """`plain` or `fast` of the operands; auto is fast on CPU and plain elsewhere.

    auto is decided on lowering, so one trace serves every platform. gradients: (operands..., that
    to the result) -> those to the operands, for the fast form; by default JAX's own. auto and fast
    have a reverse-mode derivative only, which keeps the operands and nothing else.
    """
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
