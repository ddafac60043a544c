"""What tests want of two processes with four devices each: one JSON line from process 0.

Run by tests/faults/launch.py with the flags of dkse_jax.distributed.flags and --workdir.
"""

import json
from pathlib import Path

import numpy as np
from absl import flags

from dkse_jax import cli
from dkse_jax.distributed import flags as distributed_flags
from dkse_jax.errors import UserError

FLAGS = flags.FlagValues()
WORKDIR = flags.DEFINE_string("workdir", None, "A finished run, or nothing.", flag_values=FLAGS)
RUN = flags.DEFINE_string("run", None, "A finished run, the same to both.", flag_values=FLAGS)
distributed_flags.define(FLAGS)
flags.adopt_module_key_flags(distributed_flags, FLAGS)


def refusal(function, *arguments) -> str:
    try:
        function(*arguments)
    except UserError as error:
        return str(error)
    return ""


def main() -> None:
    with distributed_flags.join_by_flags(FLAGS):
        import jax
        import jax.numpy as jnp

        from dkse_jax.distributed import processes
        from dkse_jax.evaluation.run import evaluate
        from dkse_jax.training.loop import train
        from dkse_jax.workdir import description
        from tests.faults.known import judged
        from tests.short import FULL
        from tests.test_tiles import tiled
        from tests.training.test_steps import run

        assert (jax.device_count(), jax.local_device_count()) == (8, 4)
        index = processes.index()
        config = description.load_config(Path(RUN.value))
        config.init_from = RUN.value
        answer = {
            "gathered": processes.allgather({"é": "x" * 1000**index}),
            "first": processes.broadcast(lambda: index),
            "seeds": processes.allgather(
                refusal(processes.check_agreed, {"a": "0", "the seed": str(index)})
            ),
            "splits": processes.allgather(refusal(evaluate, RUN.value, ("test", "val")[index])),
            "workdirs": processes.allgather(refusal(train, config, Path(WORKDIR.value))),
        }
        evaluate(RUN.value, gradcam=2)
        processes.barrier("the report is written")
        with jax.enable_x64(True):
            float64 = run(jnp.float64, 8, 2, 20, 8, 1)[0]
        if FULL:
            answer["float32"] = run(jnp.float32, 8, 1, 5, 64, 3)[0].tolist()
        answer |= {
            "float64": float64.tolist(),
            "tiles": tiled(21),
            "judged": [judged(n, 8) for n in (1, 15, 16, 17, 39, 101)],
        }
        print(json.dumps(answer, default=np.ndarray.tolist))


if __name__ == "__main__":
    cli.run(main, FLAGS)
