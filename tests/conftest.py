"""Eight CPU devices, strict shapes, warnings as errors (pyproject), and nothing of the user's.

Programs are compiled without LLVM's optimisation, which takes longer than they run; the tests that
ask for the fixture `optimised` have XLA's default. What one process has compiled, in this run or an
earlier one, the others find in .pytest_cache/compiled.
"""

import os
from pathlib import Path

os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(__file__).parents[1] / ".pytest_cache/compiled")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["PYTHONWARNINGS"] = "ignore:Error reading persistent compilation cache"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUM_CPU_DEVICES"] = "8"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
os.environ["PLANTED_SECRET"] = "planted-4f1d2c86"  # tests/test_security.py looks for it in runs

import contextlib
from collections.abc import Iterator

import hypothesis
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import base
from tests.short import FULL, short_network

# The same examples in every run, and no complaint where the machine is busy.
hypothesis.settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    max_examples=50,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("repeatable")


def pytest_configure(config):
    config.addinivalue_line("markers", "full: only in `make faults`")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("full") and not FULL:
            item.add_marker(pytest.mark.skip(reason="only in make faults"))


@contextlib.contextmanager
def default_optimisation() -> Iterator[None]:
    """Compiles inside as XLA does by default, library functions included."""
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", True)
        jax.clear_caches()


@pytest.fixture(scope="module")
def optimised():
    """For the whole module: `default_optimisation`."""
    with default_optimisation():
        yield


@pytest.fixture(autouse=True, scope="session")
def user_cache_of_its_own(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def config() -> ConfigDict:
    """A thin network on a few small painted pictures: 10 steps of 8 images."""
    return thin_config()


def thin_config() -> ConfigDict:
    config = base.get_config()
    config.model.width = 4
    config.data.image_size = 32
    config.data.synthetic.kinds = 3
    config.data.synthetic.train_per_kind = 9
    config.data.synthetic.val_per_kind = 5
    config.data.synthetic.test_per_kind = 7
    config.train.batch_size = 8
    config.train.epochs = 3.0
    config.train.checkpoint_every_steps = 4
    config.eval.batch_size = 8
    config.log.tensorboard = False
    return config


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """The workdir of a finished run of the thin config, shortened; to be read, not written."""
    from dkse_jax.training.loop import train

    workdir = tmp_path_factory.mktemp("runs") / "trained"
    with short_network():
        train(thin_config(), workdir)
    return workdir


@pytest.fixture(scope="module")
def short():
    """For the whole module: `short_network`, which the workdir `trained` is of."""
    with short_network():
        yield


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
    """`variables_of(module, x)`: numpy variables of the shapes that module.init would give.

    Without compiling the initialisation, which takes seconds.
    """
    return _variables_of
