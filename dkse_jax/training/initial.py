"""Initial weights from published weights or another run, instead of from the seed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dkse_jax.errors import UserError, nearest
from dkse_jax.files import expanded
from dkse_jax.trained import load

HEAD = "logits"  # the last layer of every network


def initial_variables(
    config: ConfigDict, fresh: dict[str, Any], class_names: Sequence[str], mesh: Mesh
) -> dict[str, Any]:
    """Loads the variables of config.init_from, in the structure of `fresh`, arrays or shapes.

    A folder is the workdir of another run, of which the best weights are loaded. A file has
    published weights (`models.importer`). The last layer is that of `fresh` unless the run has the
    same classes, or the file as many.

    Raises:
        UserError: the source is missing, damaged, or does not fit, with the names of all misfits.
    """
    source = Path(expanded(config.init_from))
    if source.is_dir():
        return _of_run(source, fresh, class_names, mesh)
    from dkse_jax.models.importer import import_weights

    return import_weights(config.model.name, source, fresh, replace_head=True)


def _of_run(
    workdir: Path, fresh: dict[str, Any], class_names: Sequence[str], mesh: Mesh
) -> dict[str, Any]:
    trained = load(workdir, mesh=mesh)
    ours, theirs = flatten_dict(fresh), flatten_dict(trained.variables)
    keep_head = trained.class_names != tuple(class_names)
    misfits = [
        "/".join(path)
        for path in sorted(ours.keys() | theirs.keys())
        if not (keep_head and path[1] == HEAD)
        and np.shape(ours.get(path)) != np.shape(theirs.get(path))
    ]
    if misfits:
        raise UserError(
            f"config.init_from={workdir} is another network; these are not in both, or of another"
            f" shape: {', '.join(misfits)}"
        )
    return unflatten_dict(
        {
            path: value if keep_head and path[1] == HEAD else theirs[path]
            for path, value in ours.items()
        }
    )


def started_from(fresh: dict[str, Any], initial: dict[str, Any]) -> dict[str, Any]:
    """Puts `initial` on the devices of `fresh`, whose values replace leaves that are shapes."""

    def leaf(own: jax.Array, value: Any) -> jax.Array:
        kept = isinstance(value, jax.ShapeDtypeStruct)
        return own if kept else jax.device_put(value, own.sharding)

    return jax.tree.map(leaf, fresh, initial)


def check_frozen(prefixes: Sequence[str], params: dict[str, Any]) -> None:
    """Raises UserError for a prefix of config.frozen without a parameter."""
    names = ["/".join(path) for path in flatten_dict(params)]
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            raise UserError(
                f'config.frozen has "{prefix}", with which no parameter begins'
                + nearest(prefix, list(params))
            )
