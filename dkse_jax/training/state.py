"""The state of a training, as one pytree."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from dkse_jax.sharding import shardings
from dkse_jax.workdir import checkpoint


@flax.struct.dataclass
class TrainState:
    """The state after `step` updates.

    It has no random state: a step's key is folded from the seed and the step.
    """

    step: jax.Array  # () int32
    params: Any
    batch_stats: Any  # {} of a network without norms
    opt_state: Any

    def variables(self) -> dict[str, Any]:
        """Returns the network's variables: weights and BatchNorm statistics, if any."""
        statistics = {"batch_stats": self.batch_stats} if self.batch_stats else {}
        return {"params": self.params, **statistics}


def create_state(
    model: nn.Module, optimizer: optax.GradientTransformation, image_size: int, seed: int
) -> TrainState:
    """Creates initial weights and optimiser state; to be traced: see `initialise`."""
    images = jnp.zeros((1, image_size, image_size, 3), jnp.float32)
    variables = model.init(jax.random.key(seed), images)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(variables["params"]),
    )


def initialise(fresh_state: Callable[[], TrainState], mesh: Mesh) -> TrainState:
    """Computes a state on the mesh, sharded by `shardings`, from a bound `create_state`."""
    # The program runs once; on a CPU, compiling it with optimisation takes 4 times as long.
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    options = {"xla_backend_optimization_level": 0} if on_cpu else None

    def to_global_array() -> TrainState:
        state = fresh_state()
        return jax.lax.with_sharding_constraint(state, shardings(state, mesh))

    return jax.jit(to_global_array, compiler_options=options)()


def training_part(state: TrainState) -> dict[str, Any]:
    """Returns the part of the state beside its variables, which only training needs."""
    return {"step": state.step, "opt_state": state.opt_state}


def restored_state(workdir: Path, target: TrainState) -> tuple[TrainState | None, int]:
    """Restores the newest undamaged state in a workdir and its step; (None, 0) without one."""
    found = checkpoint.restore_newest(workdir, target.variables(), training_part(target))
    if found is None:
        return None, 0
    step, variables, training = found
    return TrainState(**{"batch_stats": {}} | variables, **training), step
