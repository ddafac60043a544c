"""Variables for networks without compiling their initialisation, which takes seconds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.base import get_config
from dkse_jax.models import create_model


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


@functools.cache
def _network(name):
    config = get_config().model
    config.name = name
    net = create_model(config, 5)
    images = jax.ShapeDtypeStruct((1, 75, 75, 3), jnp.float32)
    return net, jax.eval_shape(net.init, jax.random.key(0), images)


@pytest.fixture(scope="session")
def network():
    """`network(name)`: that network for 5 classes, and the shapes of its variables."""
    return _network
