"""Checks of every leaf of a state before it is saved or restored."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dkse_jax.errors import UserError

Tree = Any  # a pytree of arrays; as a target, of jax.ShapeDtypeStruct with shardings


def check_finite(tree: Tree, step: int) -> None:
    """Raises UserError at the first leaf with a NaN or an infinity."""
    for name, leaf in _named(tree).items():
        # On the host, where the leaf goes next; a program for all leaves takes seconds to compile.
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not _is_finite(leaf):
            raise UserError(
                f"step {step} is not saved: {name} is not finite; start again in a new workdir with"
                " a smaller config.optimizer.learning_rate"
            )


def _is_finite(leaf: Any) -> bool:
    """Returns whether this process's part of a leaf is finite."""
    whole = not isinstance(leaf, jax.Array) or leaf.is_fully_addressable
    parts = [leaf] if whole else [shard.data for shard in leaf.addressable_shards]
    return all(np.isfinite(part).all() for part in parts)


def check_leaves(saved: Tree, target: Tree, where: str) -> None:
    """Raises UserError at the first difference; orbax would silently cast a dtype."""
    there, here = (
        {name: f"{leaf.dtype}{leaf.shape}" for name, leaf in _named(tree).items()}
        for tree in (saved, target)
    )
    for name in sorted(there.keys() | here.keys()):
        if name not in here:
            raise UserError(f"{where} has {name}, which this network has not")
        if name not in there:
            raise UserError(f"{where} has no {name}, which this network has")
        if there[name] != here[name]:
            raise UserError(
                f"{where} has {name} of {there[name]}, but this network has it of {here[name]}"
            )


def _named(tree: Tree) -> dict[str, Any]:
    """Returns the leaves by name, such as "params/head/bias"."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
