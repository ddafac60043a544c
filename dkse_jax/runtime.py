"""The machine at hand: its devices, and the process's settings of cache and memory allocator."""

import contextlib
import ctypes
import mmap
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dkse_jax.errors import UserError
from dkse_jax.files import cache_folder
from dkse_jax.sharding import make_mesh


def default_mesh(fsdp: int = 1) -> Mesh:
    """Builds the mesh of all devices that JAX finds: see `sharding.make_mesh`."""
    return make_mesh(jax.devices(), fsdp=fsdp)


def configure() -> None:
    """Sets up the process for a script; called once, before anything else uses JAX."""
    reuse_memory()
    use_compilation_cache()


def use_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache folder: a second start compiles nothing.

    A cache that JAX has already been given, as by JAX_COMPILATION_CACHE_DIR, stays as it is.
    """
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder("compiled")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def reuse_memory() -> None:
    """Reuses, on CPU, the memory of one step for the next; must come before other uses of JAX.

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


def trimmed(program: jax.stages.Compiled, mesh: Mesh) -> Callable[..., Any]:
    """Wraps a step compiled for the mesh; on CPU, returns freed pages that the next cannot reuse.

    glibc asks for a little more than a block in order to align it, and leaves the rest behind it;
    once a small block has taken that rest, the next step's large block does not fit there and takes
    as much again (glibc's bug 30723, mended in 2.39). Where that happens shows in the memory held.
    To give it back costs the time to clear as much anew, so each time allows one block more.
    """
    if mesh.devices.flat[0].platform != "cpu":
        return program
    analysis: Any = program.memory_analysis()
    block = analysis.temp_size_in_bytes * len(mesh.local_devices)
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
    """Returns the process's resident memory in bytes; 0 without /proc, which only Linux has."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * mmap.PAGESIZE if statm.exists() else 0


def _glibc(name: str, *arguments: int) -> None:
    """Calls a function of glibc; does nothing where the C library is another."""
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*arguments)


@contextlib.contextmanager
def explain_out_of_memory(config: ConfigDict) -> Iterator[None]:
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
