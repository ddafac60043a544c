"""The memory of the CPU's programs, in a process of its own: its settings last for a process."""

import ctypes
import os
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import jax, jax.numpy as jnp
from dkse_jax import devices
{setting}
x = jnp.zeros((2**20, 16))
step = jax.jit(lambda x: (x @ jnp.eye(16))[::-1] @ jnp.eye(16)).lower(x).compile()
devices.return_free_memory()
counts = [0]
for _ in range(15):
    step(x).block_until_ready()
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(min(b - a for a, b in zip(counts[5:], counts[6:])))
"""


def _faults(setting: str) -> int:
    program = PROGRAM.format(setting=setting)
    one_device = os.environ | {"JAX_NUM_CPU_DEVICES": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=one_device, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc alone"
)
def test_a_step_gets_the_memory_of_the_one_before():
    pages = 2**20 * 16 * 4 // 4096  # of one array of the step
    assert _faults("") > pages
    assert _faults("devices.reuse_memory()") < pages / 10
