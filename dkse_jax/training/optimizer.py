"""The learning rate and the update rule. The paper gives neither: these are ours."""

from collections.abc import Sequence

import jax
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from dkse_jax.training.frozen import is_frozen


def warmup_steps(settings: ConfigDict, total_steps: int) -> int:
    """Returns the number of steps of the warm-up."""
    return round(total_steps * settings.warmup_percent / 100)


def make_schedule(settings: ConfigDict, total_steps: int) -> optax.Schedule:
    """Returns a linear warm-up to the learning rate, then a cosine to 0 at the last step."""
    warmup = warmup_steps(settings, total_steps)
    return optax.warmup_cosine_decay_schedule(
        init_value=settings.learning_rate / max(warmup, 1),
        peak_value=settings.learning_rate,
        warmup_steps=warmup,
        decay_steps=total_steps,
    )


def make_optimizer(
    settings: ConfigDict, schedule: optax.Schedule, frozen: Sequence[str] = ()
) -> optax.GradientTransformation:
    """Returns SGD with Nesterov momentum, after clipping, as config.optimizer sets it.

    Parameters whose names, such as separable_3/pointwise/kernel, begin with one of `frozen` (see
    `is_frozen`) stay as they are and count in no norm.
    """
    rule = optax.sgd(schedule, momentum=settings.momentum, nesterov=True)
    if settings.clip_norm:
        rule = optax.chain(optax.clip_by_global_norm(settings.clip_norm), rule)
    if not frozen:
        return rule

    def labels(params):
        return unflatten_dict(
            {
                path: "frozen" if is_frozen(path, frozen) else "trained"
                for path in flatten_dict(params)
            }
        )

    return optax.multi_transform({"trained": rule, "frozen": optax.set_to_zero()}, labels)


def gradient_norm(gradients, frozen: Sequence[str] = ()) -> jax.Array:
    """Returns the L2 norm () over all gradients but those of frozen weights: what is clipped."""
    leaves = flatten_dict(gradients).items()
    return optax.tree.norm([leaf for path, leaf in leaves if not is_frozen(path, frozen)])
