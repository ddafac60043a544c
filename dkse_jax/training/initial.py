"""Initial weights from published weights or another run, instead of from the seed."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dkse_jax.console import log
from dkse_jax.data.transform import Transform
from dkse_jax.errors import UserError
from dkse_jax.files import expanded
from dkse_jax.trained import Trained, load

HEAD = "logits"  # the last layer of every network


def initial_variables(
    config: ConfigDict, fresh: dict[str, Any], class_names: Sequence[str], mesh: Mesh
) -> dict[str, Any]:
    """Loads the variables of config.init_from, in the structure of `fresh`, arrays or shapes.

    A folder is the workdir of another run, of which the best weights are loaded. A file has
    published weights (`models.importer`). The last layer is that of `fresh` unless the run has the
    same classes, or the file as many. Logs what was taken, and other images than the source's.

    Raises:
        UserError: the source is missing, damaged, or does not fit, with the names of all misfits.
    """
    source = Path(expanded(config.init_from))
    if source.is_dir():
        return _of_run(source, config, fresh, class_names, mesh)
    from dkse_jax.models.importer import import_weights

    found = import_weights(config.model.name, source, fresh, replace_head=True)
    _tell(str(source), fresh, found, f"{len(class_names)} classes")
    expected = "inception" if config.model.name == "inception_v4" else "imagenet"
    if config.data.normalisation != expected:
        log(
            f"caution: published weights need config.data.normalisation={expected}; this run has"
            f" {config.data.normalisation}"
        )
    return found


def _tell(source: str, fresh: dict[str, Any], found: dict[str, Any], classes: str) -> None:
    """Logs how many arrays of the source were taken, and whether the last layer was."""
    own = flatten_dict(fresh)
    taken = [path for path, value in flatten_dict(found).items() if value is not own[path]]
    head = f"the head begins anew ({classes})"
    if any(path[1] == HEAD for path in taken):
        head = "the head among them"
    log(f"weights of {source}: {len(taken)} arrays; {head}")


def _compare(parent: Trained, config: ConfigDict) -> None:
    """Logs a caution if the parent's images were normalised in another way."""
    ours, theirs = Transform.of(config.data), parent.transform
    if theirs != dataclasses.replace(ours, size=theirs.size, views=theirs.views):
        names = ["normalisation", "levels"]
        if theirs.colour_profiles != ours.colour_profiles:
            names.append("colour_profiles")
        before, now = (
            ", ".join(f"data.{name}={str(data[name]).lower()}" for name in names)
            for data in (parent.config.data, config.data)
        )
        log(f"caution: {parent.workdir} was trained with {before}; this run has {now}")
    if theirs.size != ours.size:
        log(f"{parent.workdir} was evaluated at {theirs.size} pixels; this run is at {ours.size}")


def _of_run(
    workdir: Path,
    config: ConfigDict,
    fresh: dict[str, Any],
    class_names: Sequence[str],
    mesh: Mesh,
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
    found = unflatten_dict(
        {
            path: value if keep_head and path[1] == HEAD else theirs[path]
            for path, value in ours.items()
        }
    )
    classes = f"{len(trained.class_names)} -> {len(class_names)} classes"
    if len(trained.class_names) == len(class_names):
        classes = f"{len(class_names)} other classes"
    _tell(f"{workdir}, step {trained.step}", fresh, found, classes)
    _compare(trained, config)
    return found


def started_from(fresh: dict[str, Any], initial: dict[str, Any]) -> dict[str, Any]:
    """Puts `initial` on the devices of `fresh`, whose values replace leaves that are shapes."""

    def leaf(own: jax.Array, value: Any) -> jax.Array:
        kept = isinstance(value, jax.ShapeDtypeStruct)
        return own if kept else jax.device_put(value, own.sharding)

    return jax.tree.map(leaf, fresh, initial)
