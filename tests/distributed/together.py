"""What a test wants of two processes with four devices each: one JSON line from process 0.

Run by tests/faults/launch.py with the flags of dkse_jax.distributed.flags.
"""

import hashlib
import json

import numpy as np
from absl import flags

from dkse_jax import cli
from dkse_jax.distributed import flags as distributed_flags

FLAGS = flags.FlagValues()
distributed_flags.define(FLAGS)
flags.adopt_module_key_flags(distributed_flags, FLAGS)


def main() -> None:
    with distributed_flags.join_by_flags(FLAGS):
        import jax
        import jax.numpy as jnp
        from jax._src import cache_key

        from dkse_jax.distributed import processes
        from tests.conftest import FULL
        from tests.faults.known import judged
        from tests.training.test_steps import run

        assert (jax.device_count(), jax.local_device_count()) == (8, 4)
        digest = hashlib.sha256()
        cache_key._hash_accelerator_config(digest, np.array(jax.devices()))
        answer = {"machines": processes.allgather(digest.hexdigest())}
        with jax.enable_x64(True):
            float64 = run(jnp.float64, 8, 2, 20, 8, 1)[0]
        if FULL:
            answer["float32"] = run(jnp.float32, 8, 1, 5, 64, 3)[0].tolist()
        answer |= {
            "float64": float64.tolist(),
            "judged": [judged(n, 8) for n in (1, 15, 16, 17, 39, 101)],
        }
        print(json.dumps(answer, default=np.ndarray.tolist))


if __name__ == "__main__":
    cli.run(main, FLAGS)
