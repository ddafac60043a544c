"""How arrays are divided; the memory of the CPU's programs, in a process of its own."""

import ctypes
import mmap
import os
import subprocess
import sys
from types import SimpleNamespace
from unittest import mock

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from dkse_jax import files, runtime, sharding
from dkse_jax.errors import UserError

GLIBC = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc alone"
)

PROGRAM = """
import resource
import jax, jax.numpy as jnp
from dkse_jax import sharding, runtime
{setting}
split = sharding.batch_sharding(runtime.default_mesh())
x = jax.device_put(jnp.zeros((len(jax.devices()) * 2**20, 16)), split)
step = jax.jit(lambda x: (x @ jnp.eye(16))[::-1] @ jnp.eye(16)).lower(x).compile()
runtime.return_free_memory()
counts = [0]
for _ in range(15):
    step(x).block_until_ready()
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(min(b - a for a, b in zip(counts[5:], counts[6:])))
"""


@pytest.mark.parametrize(
    ("given", "hook", "folder"),
    [(None, True, "verified"), (None, False, "compiled"), ("elsewhere", True, None)],
)
def test_a_compilation_cache_that_jax_was_given_stays(monkeypatch, given, hook, folder):
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    try:
        jax.config.update(names[0], given)
        monkeypatch.setattr(runtime.compiled, "verify_entries", lambda: hook)
        runtime.use_compilation_cache()
        found = [getattr(jax.config, name) for name in names]
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
    assert found == ([given, 0.0] if given else [str(files.cache_folder(folder)), 0.5])


def _printed(program: str, count: int = 1) -> float:
    own = {"JAX_NUM_CPU_DEVICES": str(count), "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | own,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


@GLIBC
@pytest.mark.parametrize("count", [1, 2])
def test_a_step_gets_the_memory_of_the_one_before(count):
    pages = 2**20 * 16 * 4 // 4096  # of one array of the step, on one device
    assert _printed(PROGRAM.format(setting=""), count) > count * pages
    assert _printed(PROGRAM.format(setting="runtime.reuse_memory()"), count) < pages / 10


def test_a_step_whose_block_no_longer_fits_gives_the_old_one_back(monkeypatch):
    block, base = 64 * len(jax.local_devices()), 1000
    held, given_back = [base], []

    def give_back():
        given_back.append(held[0])
        held[0] = base

    monkeypatch.setattr(runtime, "resident", lambda: held[0])
    monkeypatch.setattr(runtime, "return_free_memory", give_back)
    takes = mock.Mock(side_effect=lambda blocks: held.__setitem__(0, held[0] + blocks * block))
    takes.memory_analysis.return_value = SimpleNamespace(temp_size_in_bytes=64)
    call = runtime.trimmed(takes, runtime.default_mesh())
    for blocks in (1, 1, 0, 1, 1, 1, 0, 1):
        call(blocks)
    # After the first call, then where one block more than allowed is held, which is one more each
    # time: 2 of them after the fourth call, 3 after the last.
    assert given_back == [base + block, base + 2 * block, base + 3 * block]


@GLIBC
def test_the_memory_that_is_held_is_known():
    before = runtime.resident()
    with mmap.mmap(-1, 2**26) as taken:
        np.frombuffer(taken, np.uint8)[:] = 1
        assert 0.9 * 2**26 < runtime.resident() - before < 1.5 * 2**26


@pytest.mark.parametrize(
    ("shape", "fsdp", "expected"),
    [
        ((1, 1, 64, 128), 8, (None, None, None, "fsdp")),  # the largest axis
        ((128, 64), 8, ("fsdp",)),
        ((64, 64), 2, (None, "fsdp")),  # of equals the last
        ((4096, 9), 8, ("fsdp",)),
        ((900, 64), 8, (None, "fsdp")),  # the largest of those that 8 divides
        ((63, 4097), 8, ()),  # 8 divides none
        ((64, 63), 8, ()),  # too small
        ((64, 64), 1, ()),
        ((), 8, ()),
    ],
)
def test_one_rule_says_how_an_array_is_divided(shape, fsdp, expected):
    assert sharding.partition(shape, fsdp) == PartitionSpec(*expected)


def test_the_mesh_divides_batches_over_both_axes_and_the_state_over_one():
    mesh = runtime.default_mesh(4)
    assert dict(mesh.shape) == {"data": 2, "fsdp": 4}
    assert dict(sharding.make_mesh(jax.devices()[:2]).shape) == {"data": 2, "fsdp": 1}
    state = {"kernel": np.zeros((64, 128)), "bias": np.zeros(128)}
    where = sharding.shardings(state, mesh)
    assert where == jax.tree.map(lambda leaf: leaf.sharding, sharding.abstract(state, mesh))
    placed = jax.device_put(state, where)
    assert placed["kernel"].addressable_shards[0].data.shape == (64, 32)
    assert placed["bias"].addressable_shards[0].data.shape == (128,)
    images = jax.device_put(np.zeros((16, 4, 4, 3)), sharding.batch_sharding(mesh))
    assert {shard.data.shape for shard in images.addressable_shards} == {(2, 4, 4, 3)}


@pytest.mark.parametrize(("fsdp", "nearest"), [(3, 2), (7, 8), (16, 8)])
def test_fsdp_that_does_not_divide_the_devices_is_refused(fsdp, nearest):
    with pytest.raises(
        UserError, match=rf"fsdp is {fsdp}, .* 8 devices; .* that does is {nearest}"
    ):
        runtime.default_mesh(fsdp)


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "sentence"),
    [
        (12, 1, r"^config.train.batch_size is 12, which 8 devices cannot share evenly; .* is 16$"),
        (40, 4, r"evenly in config.train.accumulate=4 micro-batches; .* is 32$"),
        (3, 2, r"can is 16$"),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused(batch_size, accumulate, sentence):
    mesh = runtime.default_mesh()
    sharding.check_batch_size(8 * accumulate * 3, accumulate, mesh)
    with pytest.raises(UserError, match=sentence):
        sharding.check_batch_size(batch_size, accumulate, mesh)
