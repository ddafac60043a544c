"""Variables for small networks without compiling their initialisation, which takes seconds."""

import jax
import numpy as np
import pytest


def _variables_of(module, x):
    """Random variables of the module for the input x; its norms, too, do something."""
    rng = np.random.default_rng(0)

    def leaf(path, spec):
        values = rng.standard_normal(spec.shape)
        if path[-1].key == "kernel":
            values *= np.sqrt(2 / np.prod(spec.shape[:-1]))
        elif path[-1].key in ("scale", "var"):
            values = 1 + 0.2 * np.abs(values)
        else:
            values *= 0.2
        return values.astype(spec.dtype)

    return jax.tree.map_with_path(leaf, jax.eval_shape(module.init, jax.random.key(0), x))


@pytest.fixture(scope="session")
def variables_of():
    """`variables_of(module, x)`: numpy variables of the shapes that module.init would give."""
    return _variables_of
