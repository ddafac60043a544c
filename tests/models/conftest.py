"""The networks by name, on shapes alone."""

import functools

import jax
import jax.numpy as jnp
import pytest

from configs.base import get_config
from dkse_jax.models import configured_model


@functools.cache
def _network(name):
    config = get_config().model
    config.name = name
    net = configured_model(config, 5)
    images = jax.ShapeDtypeStruct((1, 75, 75, 3), jnp.float32)
    return net, jax.eval_shape(net.init, jax.random.key(0), images)


@pytest.fixture(scope="session")
def network():
    """`network(name)`: that network for 5 classes, and the shapes of its variables."""
    return _network
