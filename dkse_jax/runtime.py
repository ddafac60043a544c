"""The process's runtime: default devices, compilation cache and memory allocator."""

import contextlib
import ctypes
import mmap
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dkse_jax import compiled
from dkse_jax.errors import UserError
from dkse_jax.files import cache_folder
from dkse_jax.sharding import make_mesh

CPU_INFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}  # as Linux names them


def default_mesh(fsdp: int = 1) -> Mesh:
    """Builds the mesh of all devices that JAX finds: see `sharding.make_mesh`."""
    return make_mesh(jax.devices(), fsdp=fsdp)


def configure() -> None:
    """Configures the process of a command; call it once, before anything else uses JAX."""
    reuse_memory()
    use_compilation_cache()


def use_compilation_cache() -> None:
    """Caches compiled programs in the user's cache folder, for later starts, with digests.

    Keeps a cache that is configured already, as by JAX_COMPILATION_CACHE_DIR, and as it is.
    """
    if jax.config.jax_compilation_cache_dir is None:
        name = "verified" if compiled.verify_entries() else "compiled"  # entries differ
        jax.config.update("jax_compilation_cache_dir", str(cache_folder(name)))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
        # Programs that call oneDNN cannot be stored (jaxlib 0.12.0.1); each start compiles them.
        stored = r"Error writing persistent compilation cache entry for '.*': MemoryError"
        warnings.filterwarnings("ignore", stored)


def reuse_memory() -> None:
    """Lets a step on CPU reuse the memory of the previous one; call it before other uses of JAX.

    glibc would return the large blocks of a step to the system, which clears all their pages for
    the next step: a fifth of a train step's time. Steps are dispatched synchronously, since the
    next would otherwise allocate its block before the last frees its own.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if jax.config.jax_num_cpu_devices > 1:
        # Each device has a thread, and a thread's own heap always maps large blocks.
        _glibc("mallopt", -8, 1)  # M_ARENA_MAX: one heap for all later threads
    if jax.default_backend() == "cpu":
        _glibc("mallopt", -4, 0)  # M_MMAP_MAX: no block is mapped separately
        _glibc("mallopt", -1, -1)  # M_TRIM_THRESHOLD: free memory is kept


def bfloat16_flags() -> set[str]:
    """Returns the processor's kinds of products of bfloat16, known on Linux on x86 alone."""
    return BFLOAT16_FLAGS & set(CPU_INFO.read_text().split()) if CPU_INFO.exists() else set()


def multiplies_bfloat16() -> bool:
    """Returns whether the processor has products of bfloat16."""
    return bool(bfloat16_flags())


def return_free_memory() -> None:
    """Returns free memory to the system once, as after compiling."""
    _glibc("malloc_trim", 0)


def trimmed(program: jax.stages.Compiled, mesh: Mesh) -> Callable[..., Any]:
    """Wraps a compiled step; on CPU, returns freed pages that the next step cannot reuse.

    glibc allocates slightly more than an aligned block and leaves a remainder; once a small block
    occupies it, the next step's large block does not fit and takes as much again (glibc's bug
    30723, fixed in 2.39), which resident memory shows. Returned pages must be cleared again, so
    each return raises the limit by one block.
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
    """Calls a function of glibc; does nothing with another C library."""
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*arguments)


@contextlib.contextmanager
def explain_out_of_memory(config: ConfigDict) -> Iterator[None]:
    """Turns errors of too little memory into a sentence about the config's batches."""
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
