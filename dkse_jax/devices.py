"""The devices: their memory, how arrays lie on them, programs compiled for them earlier."""

import contextlib
import ctypes
import sys
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from dkse_jax.errors import UserError
from dkse_jax.user_cache import user_cache


def use_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache folder: a second start compiles nothing."""
    jax.config.update("jax_compilation_cache_dir", str(user_cache("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def reuse_memory() -> None:
    """On a CPU, lets a step have the memory of the one before it; call it before anything else.

    glibc would give the large blocks of a step back to the system, which clears every page of them
    again for the next step: a fifth of a train step's time. Steps are dispatched one by one, or the
    next would take its block before the last has freed its own, and both would be kept.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if jax.default_backend() == "cpu":
        _glibc("mallopt", -4, 0)  # M_MMAP_MAX: no block is mapped by itself
        _glibc("mallopt", -1, -1)  # M_TRIM_THRESHOLD: what is free stays


def return_free_memory() -> None:
    """Gives what is free to the system, once: after compiling, which needs much for a while."""
    _glibc("malloc_trim", 0)


def _glibc(name: str, *arguments: int) -> None:
    """Calls a function of glibc; does nothing where the C library is another."""
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*arguments)


def check_batch_size(batch_size: int) -> None:
    """Refuses a batch that cannot be divided evenly over the devices."""
    devices = jax.device_count()
    if batch_size % devices:
        nearest = max(round(batch_size / devices), 1) * devices
        raise UserError(
            f"config.train.batch_size is {batch_size}, which {devices} devices cannot share"
            f" evenly; the nearest that they can is {nearest}"
        )


@contextlib.contextmanager
def memory_shortage_told(config: ConfigDict) -> Iterator[None]:
    """Turns what too little memory raises inside into a sentence about the config's batches."""
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(
            f"there is too little memory for batches of config.train.batch_size="
            f"{config.train.batch_size} images of {config.data.image_size} pixels; choose a smaller"
            " batch_size"
        ) from error


def enough_for_all(batch_size: int) -> int:
    """The least batch of at least that size that can be divided evenly over the devices."""
    return -(-batch_size // jax.device_count()) * jax.device_count()


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The devices, by default all there are, on one axis named data.

    Auto axes: flax's Dropout and BatchNorm do not trace with Explicit ones.
    """
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array: weights, statistics, optimiser state."""
    return NamedSharding(mesh, PartitionSpec())


def split_by_example(mesh: Mesh) -> NamedSharding:
    """The first axis is divided over the devices: batches."""
    return NamedSharding(mesh, PartitionSpec("data"))


def abstract(tree, mesh: Mesh):
    """The shapes and dtypes of a tree, each leaf replicated: a target to restore into."""
    sharding = replicated(mesh)
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype, sharding=sharding), tree
    )
