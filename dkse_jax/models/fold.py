"""The inference form of a network: all values that depend on weights alone, computed once."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dkse_jax.ops.forms import ANY


def fold(
    model: nn.Module, variables: dict[str, Any], image_size: int, *, transform_kernels: bool = True
) -> dict[str, Any]:
    """Returns the variables with a collection "precomputed" added, for faster evaluation.

    It holds kernels with BatchNorm folded in, and one kernel each for linear branches and for a
    merged stem (see `DKSENet`). `model.apply(folded, images, train=False)` equals
    `model.apply(variables, images, train=False)` to rounding, for images of any size.

    Args:
        model: a network of `dkse_jax.models`.
        variables: its params and batch_stats; fold again when they change.
        image_size: any size in pixels that the network accepts.
        transform_kernels: whether to transform also the kernels that the model convolves by
            Winograd's algorithm: those of a model whose target is a CPU, or whose ops are fast.
    """
    if not transform_kernels and getattr(model, "ops", "plain") != "plain":
        model = model.clone(ops="auto", target=ANY)  # which leaves Winograd to lowering
    weights = {name: tree for name, tree in variables.items() if name != "precomputed"}
    return {**weights, "precomputed": _precomputed(model, image_size, weights)}


@partial(jax.jit, static_argnums=(0, 1))
def _precomputed(model: nn.Module, image_size: int, variables: dict[str, Any]) -> Any:
    images = jnp.zeros((1, image_size, image_size, 3))
    _, state = model.apply(variables, images, train=False, mutable=["precomputed"])
    return state["precomputed"]
