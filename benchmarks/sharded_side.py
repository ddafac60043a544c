"""The backend of a train step over all devices: python -m benchmarks.sharded_side

The state is initialised on the mesh, as in training: with a state copied from one device, as in
`benchmarks.jax_side`, steps on eight devices took a tenth longer.
"""

from typing import Any

import jax
import numpy as np

from benchmarks.jax_side import STEPS, make_model
from benchmarks.serving import Task, serve
from dkse_jax import runtime, sharding
from dkse_jax.config import from_json
from dkse_jax.data.transform import Transform
from dkse_jax.training.optimizer import make_optimizer, make_schedule
from dkse_jax.training.state import create_state, initialise
from dkse_jax.training.steps import make_train_step


def build(config: str, fsdp: int) -> Task:
    """Builds the task of one update, with `fsdp` devices for each copy of the state."""
    settings = from_json(config)
    mesh = runtime.default_mesh(fsdp)
    model = make_model(settings, mesh)
    transform = Transform.of(settings.data)
    schedule = make_schedule(settings.optimizer, STEPS)
    optimizer = make_optimizer(settings.optimizer, schedule)
    state = initialise(lambda: create_state(model, optimizer, transform.size, 0), mesh)
    rng, size, examples = np.random.default_rng(0), transform.size, settings.train.batch_size
    images, labels = jax.device_put(
        (
            rng.integers(0, 256, (examples, size, size, 3), np.uint8),
            rng.integers(0, settings.data.synthetic.kinds, examples, np.int32),
        ),
        sharding.batch_sharding(mesh),
    )
    step: Any = make_train_step(model, optimizer, schedule, settings, transform, mesh)
    program = runtime.trimmed(step.lower(state, images, labels).compile(), mesh)
    runtime.return_free_memory()

    def call() -> None:
        nonlocal state
        state, _ = jax.block_until_ready(program(state, images, labels))

    def logits() -> np.ndarray:
        raise NotImplementedError("nothing is compared")

    return Task(call, logits)


if __name__ == "__main__":
    runtime.reuse_memory()
    serve(build)
