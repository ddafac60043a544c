"""Grad-CAM: maps of the image regions that raise the logit of a class.

Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", Eqs. 1 and 2.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dkse_jax.errors import UserError, nearest
from dkse_jax.models.layers import plain_form
from dkse_jax.ops.forms import reduced


def grad_cam(
    model: nn.Module,
    variables: dict[str, Any],
    images: jax.Array,
    classes: jax.Array,
    *,
    stage: str,
) -> jax.Array:
    """Computes ReLU(Σ_k α_k A_k), where α_k is the mean over the pixels of ∂logit / ∂A_k.

    A_k is channel k of the stage, the output of the network's submodule of that name. The network
    runs in evaluation mode and in the plain form: in other forms a layer may bypass the stage
    before it, which then gets no gradient.

    Args:
        model: any network of `dkse_jax.models`.
        variables: of the model; the precomputed ones of `fold` are ignored.
        images: (B, S, S, 3), normalised.
        classes: (B,) integers in [0, K): the class whose logit each image's map explains.
        stage: one of `map_stages`.

    Returns:
        (B, H, W), non-negative, in at least float32; H and W are those of the stage.
    """
    model = plain_form(model)
    weights = {name: tree for name, tree in variables.items() if name != "precomputed"}

    def run(change: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        def add(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
            output = call(*args, **kwargs)
            return output if change is None or _layer(context) != stage else output + change

        with nn.intercept_methods(add):
            logits, stages = model.apply(weights, images, train=False)
        return logits, stages[stage]

    def score(change: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits, maps = run(change)
        # In evaluation, examples are independent: the gradient of the sum has that of each one.
        return jnp.sum(jnp.take_along_axis(logits, classes[:, None], axis=1)), maps

    _, maps = jax.eval_shape(run, None)
    gradients, maps = jax.grad(score, has_aux=True)(jnp.zeros(maps.shape, maps.dtype))
    wide = jnp.promote_types(maps.dtype, jnp.float32)
    alphas = reduced(partial(jnp.mean, axis=(1, 2), keepdims=True, dtype=wide), gradients)
    return nn.relu(reduced(lambda maps: jnp.sum(alphas * maps, axis=-1), maps))


def map_stages(model: nn.Module, image_size: int) -> dict[str, tuple[int, int, int]]:
    """Returns the stages that Grad-CAM can explain, in order of execution: name -> (H, W, C).

    These are the maps that a direct submodule of the network returns under its own name.
    """
    outputs: dict[str | None, Any] = {}
    found: dict[str, tuple[int, int, int]] = {}

    def keep(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        outputs[_layer(context)] = output = call(*args, **kwargs)
        return output

    def trace(key: jax.Array, images: jax.Array) -> None:
        with nn.intercept_methods(keep):
            (_, stages), _ = plain_form(model).init_with_output(key, images)
        for name, maps in stages.items():
            if maps.ndim == 4 and name in outputs and outputs[name] is maps:
                found[name] = maps.shape[1:]

    jax.eval_shape(trace, jax.random.key(0), jnp.zeros((1, image_size, image_size, 3)))
    return found


def choose_stage(model: nn.Module, image_size: int, stage: str | None) -> str:
    """Returns the named stage, by default the last; raises UserError if it has no map."""
    maps = map_stages(model, image_size)
    if stage is None:
        return list(maps)[-1]
    if stage not in maps:
        raise UserError(f'this network has no map "{stage}"{nearest(stage, maps)}')
    return stage


def _layer(context: nn.module.InterceptorContext) -> str | None:
    """Returns the name of the called module, if it is a direct submodule of the network."""
    path = context.module.path
    return path[0] if len(path) == 1 and context.method_name == "__call__" else None
