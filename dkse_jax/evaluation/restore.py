"""The weights that a run is judged by."""

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from dkse_jax import sharding
from dkse_jax.errors import UserError
from dkse_jax.workdir import checkpoint


def restore_best(
    workdir: Path, model: nn.Module, image_size: int, mesh: Mesh
) -> tuple[int, dict[str, Any]]:
    """The step of a run's best weights, and its network's variables, on every device of the mesh.

    Raises UserError where no checkpoint was evaluated, or where it is damaged or of another model.
    """
    step = checkpoint.best_step(workdir)
    if step is None:
        raise UserError(f"{workdir} has no evaluated checkpoint yet; train it first")
    images = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    target = sharding.abstract(jax.eval_shape(model.init, jax.random.key(0), images), mesh)
    return step, checkpoint.restore_variables(workdir, step, target)
