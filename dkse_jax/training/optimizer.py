"""The learning rate and the update rule. The paper gives neither: these are ours."""

from collections.abc import Sequence

import jax
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from dkse_jax.errors import UserError, nearest


def make_schedule(settings: ConfigDict, total_steps: int) -> optax.Schedule:
    """A linear warm-up to the learning rate, then a cosine to 0 at the last step."""
    warmup_steps = round(total_steps * settings.warmup_percent / 100)
    return optax.warmup_cosine_decay_schedule(
        init_value=settings.learning_rate / max(warmup_steps, 1),
        peak_value=settings.learning_rate,
        warmup_steps=warmup_steps,
        decay_steps=total_steps,
    )


def make_optimizer(
    settings: ConfigDict, schedule: optax.Schedule, frozen: Sequence[str] = ()
) -> optax.GradientTransformation:
    """The update rule that config.optimizer describes.

    Parameters whose names, such as separable_3/pointwise/kernel, begin with one of `frozen` stay
    as they are and count in no norm.
    """
    rule = _rule(settings, schedule)
    if not frozen:
        return rule

    def labels(params):
        paths = flatten_dict(params)
        return unflatten_dict(
            {
                path: "frozen" if "/".join(path).startswith(tuple(frozen)) else "trained"
                for path in paths
            }
        )

    return optax.multi_transform({"trained": rule, "frozen": optax.set_to_zero()}, labels)


def _rule(settings: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    if settings.name == "sgd":
        update = optax.sgd(schedule, momentum=settings.momentum, nesterov=True)
    elif settings.name == "adamw":
        update = optax.adamw(schedule, weight_decay=settings.weight_decay, mask=_kernels)
    else:
        raise UserError(
            f'config.optimizer.name is "{settings.name}"{nearest(settings.name, ["sgd", "adamw"])}'
        )
    if settings.clip_norm:
        return optax.chain(optax.clip_by_global_norm(settings.clip_norm), update)
    return update


def _kernels(params):
    """Weight decay is for kernels: not for biases, nor for BatchNorm's scale and shift."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
