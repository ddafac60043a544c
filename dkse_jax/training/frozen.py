"""Frozen weights: which they are, and the norms that stand still with them."""

import contextlib
import math
import re
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from dkse_jax.errors import UserError, nearest
from dkse_jax.models.layers import BatchNorm

_SHOWN = 8  # layers named in a line


def frozen_prefixes(config: ConfigDict) -> tuple[str, ...]:
    """Returns the beginnings of parameter names in config.frozen."""
    return tuple(filter(None, map(str.strip, config.frozen.split(","))))


def is_frozen(path: Sequence[str], prefixes: Sequence[str]) -> bool:
    """Returns whether the parameter of a path begins with one of the prefixes.

    A prefix ends where a word or a number ends: layer3_1 is no beginning of layer3_10.
    """
    name = "/".join(path)
    end = r"(?!(?<=\d)\d|(?<=[^\W\d_])[^\W\d_])"
    return any(re.match(re.escape(prefix) + end, name) for prefix in prefixes)


def is_standing(norm: BatchNorm, prefixes: Sequence[str]) -> bool:
    """Returns whether a norm's scale and bias are frozen."""
    return all(is_frozen((*norm.path, leaf), prefixes) for leaf in ("scale", "bias"))


def standing_norms(prefixes: Sequence[str]) -> contextlib.AbstractContextManager[None]:
    """Lets frozen norms, inside, normalise by their running statistics, which then stay."""

    def call(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        norm = context.module
        if isinstance(norm, BatchNorm) and context.method_name == "__call__":
            call = norm.by_running_statistics if is_standing(norm, prefixes) else call
        return call(*args, **kwargs)

    return nn.intercept_methods(call) if prefixes else contextlib.nullcontext()


def check_frozen(prefixes: Sequence[str], params: dict[str, Any]) -> None:
    """Raises UserError for a prefix of config.frozen without a parameter, or if all are frozen."""
    paths = flatten_dict(params)
    for prefix in prefixes:
        if not any(is_frozen(path, (prefix,)) for path in paths):
            raise UserError(
                f'config.frozen has "{prefix}", with which no parameter begins'
                + nearest(prefix, list(params))
            )
    if all(is_frozen(path, prefixes) for path in paths):
        raise UserError(
            f"config.frozen={','.join(prefixes)} leaves nothing to train; take out the last layer,"
            f" {list(params)[-1]}, or another"
        )


def trained(prefixes: Sequence[str], params: dict[str, Any]) -> tuple[int, str]:
    """Returns the number of parameters that are not frozen, and the names of their layers."""
    every = flatten_dict(params).items()
    left = {path: leaf for path, leaf in every if not is_frozen(path, prefixes)}
    names = []
    for layer in dict.fromkeys(path[0] for path in left):
        whole = len(flatten_dict(params[layer])) == sum(path[0] == layer for path in left)
        names.append(layer if whole else f"{layer} in part")
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return sum(math.prod(leaf.shape) for leaf in left.values()), ", ".join(names[:_SHOWN]) + more
