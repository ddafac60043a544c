"""What the tests of every op need: numbers, and all derivatives of an op at once."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest


def _noise(*shape: int, dtype: type = np.float64) -> np.ndarray:
    return np.random.default_rng(list(shape)).standard_normal(shape).astype(dtype)


def _outputs_and_gradients(op: Callable, *operands: jax.Array) -> tuple[jax.Array, ...]:
    """(y, the gradients to the operands) for a loss that weighs every output differently."""

    def loss(*operands: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = op(*operands)
        weights = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
        return jnp.sum(weights * y**2), y

    every = tuple(range(len(operands)))
    (_, y), gradients = jax.value_and_grad(loss, argnums=every, has_aux=True)(*operands)
    return y, *gradients


def _assert_forms_equal(op: Callable, cases: list[tuple[jax.Array, ...]]) -> None:
    """op(*operands, form=...): fast equals plain to 1e-12, in float64, with all gradients."""

    def both(cases: list) -> list:
        return [
            [_outputs_and_gradients(partial(op, form=form), *case) for form in ("plain", "fast")]
            for case in cases
        ]

    with jax.enable_x64(True):
        results = jax.jit(both)(cases)
    for plain, fast in results:
        for a, b in zip(plain, fast, strict=True):
            assert a.dtype == b.dtype == np.float64
            np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12 * max(1, np.abs(a).max()))


@pytest.fixture(autouse=True, scope="module")
def at_default_level(optimised):
    """Ops are proved as they are compiled for users."""


@pytest.fixture(scope="session")
def noise():
    """`noise(*shape, dtype=float64)`: standard normal numbers, the same for the same shape."""
    return _noise


@pytest.fixture(scope="session")
def outputs_and_gradients():
    """`outputs_and_gradients(op, *operands)`."""
    return _outputs_and_gradients


@pytest.fixture(scope="session")
def assert_forms_equal():
    """`assert_forms_equal(op, cases)`."""
    return _assert_forms_equal
