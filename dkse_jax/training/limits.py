"""Settings that cannot train, which are refused, and odd ones, of which a line warns."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dkse_jax.errors import UserError
from dkse_jax.models.layers import BatchNorm
from dkse_jax.training.frozen import frozen_prefixes, is_standing
from dkse_jax.training.optimizer import warmup_steps

LEAST_VALUES = 8  # of a channel in a norm; below, its statistics are mostly noise


def check_warmup(config: ConfigDict, last_step: int) -> None:
    """Raises UserError if no step of the run comes after the warm-up."""
    if warmup_steps(config.optimizer, last_step) >= last_step:
        raise UserError(
            f"config.optimizer.warmup_percent is {config.optimizer.warmup_percent}, which makes a"
            f" warm-up of all {last_step} steps; lower it, or raise config.train.epochs"
        )


def check_norms(config: ConfigDict, model: nn.Module) -> None:
    """Raises UserError if a norm sees one value a channel, which it makes 0 for any image."""
    name, values = fewest_values(config, model)
    if values == 1:
        raise UserError(
            f"the norm {name} sees one value a channel in {_batch(config)}, and makes 0 of it;"
            " raise config.train.batch_size or config.data.image_size"
        )


def odd_settings(config: ConfigDict, model: nn.Module, examples: int, last_step: int) -> list[str]:
    """Returns a caution, one line, about each setting that trains, but hardly as one expects."""
    found = []
    name, values = fewest_values(config, model)
    if values < LEAST_VALUES:
        found.append(
            f"caution: the norm {name} sees only {values} values a channel in {_batch(config)}"
        )
    batch_size, promised = config.train.batch_size, config.train.epochs
    epochs = last_step * batch_size / examples
    if batch_size > examples or (last_step == 1 and abs(epochs - promised) > promised / 2):
        steps = "1 step" if last_step == 1 else f"{last_step} steps"
        found.append(
            f"caution: a step of config.train.batch_size={batch_size} is"
            f" {batch_size / examples:.3g} epochs of {examples} images: this run takes {steps},"
            f" {epochs:.3g} epochs where config.train.epochs is {promised:g}"
        )
    return found


def fewest_values(config: ConfigDict, model: nn.Module) -> tuple[str, int]:
    """Returns the norm that sees the fewest values a channel in a step, and their number.

    Frozen norms do not count. Returns ("", LEAST_VALUES) where no norm sees fewer.
    """
    images = config.train.batch_size // config.train.accumulate
    fewest = "", LEAST_VALUES
    if images >= LEAST_VALUES:
        return fewest
    prefixes, size = frozen_prefixes(config), config.data.image_size

    def note(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        nonlocal fewest
        norm = context.module
        if isinstance(norm, BatchNorm) and context.method_name == "__call__":
            values = args[0].size // args[0].shape[-1]
            if values < fewest[1] and not is_standing(norm, prefixes):
                fewest = "/".join(norm.path), values
        return call(*args, **kwargs)

    def step(key: jax.Array, images: jax.Array) -> None:
        variables = model.init(key, images)
        with nn.intercept_methods(note):
            model.apply(
                variables, images, train=True, mutable=["batch_stats"], rngs={"dropout": key}
            )

    batch = jax.ShapeDtypeStruct((images, size, size, 3), jnp.float32)
    jax.eval_shape(step, jax.random.key(0), batch)
    return fewest


def _batch(config: ConfigDict) -> str:
    """Returns what a norm sees at once, in words."""
    images = config.train.batch_size // config.train.accumulate
    text = f"a batch of {images}" if images > 1 else "a batch of one image"
    if config.train.accumulate > 1:
        text += f" (config.train.batch_size={config.train.batch_size} in"
        text += f" config.train.accumulate={config.train.accumulate} parts)"
    return f"{text} of {config.data.image_size} pixels"
