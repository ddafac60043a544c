"""The inference form of a network: everything that its weights alone decide, computed once."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


def prepare(model: nn.Module, variables: dict[str, Any], image_size: int) -> dict[str, Any]:
    """The variables and beside them, in the collection "prepared", what judging images needs.

    That is kernels with BatchNorm folded in, linear branches and the first two layers merged, and
    Winograd kernels transformed. `model.apply(prepared, images, train=False)` then gives the logits
    of the same network to rounding, for images of any size. Prepare again when the weights change.
    image_size: a size in pixels that the network takes; it does not decide anything.
    """
    return {**variables, "prepared": _prepared(model, image_size, variables)}


@partial(jax.jit, static_argnums=(0, 1))
def _prepared(model: nn.Module, image_size: int, variables: dict[str, Any]) -> Any:
    images = jnp.zeros((1, image_size, image_size, 3))
    _, state = model.apply(variables, images, train=False, mutable=["prepared"])
    return state["prepared"]
