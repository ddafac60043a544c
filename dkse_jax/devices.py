"""The devices: their memory, how arrays lie on them, programs compiled for them earlier."""

import contextlib
import ctypes
import math
import mmap
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from dkse_jax.errors import UserError
from dkse_jax.user_cache import user_cache

DATA, FSDP = "data", "fsdp"  # the axes of the mesh
LEAST_SHARDED = 2**12  # elements; gathering fewer costs more time than it saves memory


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
    if jax.config.jax_num_cpu_devices > 1:
        # Each has a thread of its own, and in a thread's own heap a large block is mapped anyhow.
        _glibc("mallopt", -8, 1)  # M_ARENA_MAX: one heap for all threads that come after
    if jax.default_backend() == "cpu":
        _glibc("mallopt", -4, 0)  # M_MMAP_MAX: no block is mapped by itself
        _glibc("mallopt", -1, -1)  # M_TRIM_THRESHOLD: what is free stays


def return_free_memory() -> None:
    """Gives what is free to the system, once: after compiling, which needs much for a while."""
    _glibc("malloc_trim", 0)


def trimmed(program: jax.stages.Compiled) -> Callable[..., Any]:
    """The program; on a CPU a call that leaves the process larger than it need be gives that back.

    glibc asks for a little more than a block in order to align it, and leaves the rest behind it;
    once a small block has taken that rest, the next step's large block does not fit there and takes
    as much again (glibc's bug 30723, mended in 2.39). Where that happens shows in the memory held.
    To give it back costs the time to clear as much anew, so each time allows one block more.
    """
    if jax.default_backend() != "cpu":
        return program
    analysis: Any = program.memory_analysis()
    block = analysis.temp_size_in_bytes * jax.local_device_count()
    limit, allowed = 0, block + block // 2

    def call(*arguments: Any) -> Any:
        nonlocal limit, allowed
        results = program(*arguments)
        if resident() > limit:
            return_free_memory()
            limit = resident() + allowed
            allowed += block
        return results

    return call


def resident() -> int:
    """Bytes of memory that this process holds; 0 where there is no /proc, which Linux alone has."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * mmap.PAGESIZE if statm.exists() else 0


def _glibc(name: str, *arguments: int) -> None:
    """Calls a function of glibc; does nothing where the C library is another."""
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*arguments)


def check_batch_size(batch_size: int, accumulate: int = 1) -> None:
    """Refuses a batch whose micro-batches, so many, cannot be divided evenly over the devices."""
    devices = jax.device_count()
    shares = devices * accumulate
    if batch_size % shares:
        parts = f" in config.train.accumulate={accumulate} micro-batches" if accumulate > 1 else ""
        raise UserError(
            f"config.train.batch_size is {batch_size}, which {devices} devices cannot share evenly"
            f"{parts}; the nearest that they can is {max(round(batch_size / shares), 1) * shares}"
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


def make_mesh(devices: Sequence[jax.Device] | None = None, *, fsdp: int = 1) -> Mesh:
    """The devices, by default all there are, on the axes data and fsdp, of which fsdp has so many.

    Batches are divided over both, the state over fsdp alone: see `partition`. Auto axes: flax's
    Dropout and BatchNorm do not trace with Explicit ones. Raises UserError for an fsdp that does
    not divide the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    count = len(devices)
    if count % fsdp:
        divisors = [number for number in range(1, count + 1) if count % number == 0]
        raise UserError(
            f"config.devices.fsdp is {fsdp}, which does not divide the {count} devices; the nearest"
            f" that does is {min(divisors, key=lambda number: abs(number - fsdp))}"
        )
    return jax.make_mesh(
        (count // fsdp, fsdp), (DATA, FSDP), axis_types=(AxisType.Auto,) * 2, devices=devices
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def split_by_example(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """That axis is divided over all devices: batches."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, (DATA, FSDP)))


def partition(shape: Sequence[int], fsdp: int) -> PartitionSpec:
    """The one rule by which weights, statistics and optimiser state lie on so many devices.

    An array of at least LEAST_SHARDED elements is divided along the largest of its axes that fsdp
    divides, of equals the last; if it has none, or is smaller, every device holds all of it.
    """
    axes = [axis for axis, length in enumerate(shape) if length % fsdp == 0]
    if fsdp == 1 or not axes or math.prod(shape) < LEAST_SHARDED:
        return PartitionSpec()
    largest = max(axes, key=lambda axis: (shape[axis], axis))
    return PartitionSpec(*[None] * largest, FSDP)


def own_rows(mesh: Mesh, batch_size: int) -> np.ndarray:
    """The places in a batch, in order, of the examples that this process's devices get."""
    parts = split_by_example(mesh).addressable_devices_indices_map((batch_size,))
    return np.unique(np.concatenate([np.arange(batch_size)[index] for index in parts.values()]))


def on_mesh(rows: np.ndarray, batch_size: int, mesh: Mesh) -> jax.Array:
    """A batch on all devices, of which this process gives its `own_rows`."""
    shape = (batch_size, *rows.shape[1:])
    return jax.make_array_from_process_local_data(split_by_example(mesh), rows, shape)


def shardings(tree, mesh: Mesh):
    """Where each leaf of a tree lies by the rule of `partition`."""
    fsdp = mesh.shape[FSDP]
    return jax.tree.map(lambda leaf: NamedSharding(mesh, partition(np.shape(leaf), fsdp)), tree)


def abstract(tree, mesh: Mesh):
    """The shapes, dtypes and `shardings` of a tree: a target to restore into."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype, sharding=sharding),
        tree,
        shardings(tree, mesh),
    )
