"""The learning rate and the update rule. The paper gives neither: these are ours."""

from collections.abc import Sequence

import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict


def make_schedule(settings: ConfigDict, total_steps: int) -> optax.Schedule:
    """Returns a linear warm-up to the learning rate, then a cosine to 0 at the last step."""
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
    """Returns SGD with Nesterov momentum, after clipping, as config.optimizer sets it.

    Parameters whose names, such as separable_3/pointwise/kernel, begin with one of `frozen` stay
    as they are and count in no norm.
    """
    rule = optax.sgd(schedule, momentum=settings.momentum, nesterov=True)
    if settings.clip_norm:
        rule = optax.chain(optax.clip_by_global_norm(settings.clip_norm), rule)
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
