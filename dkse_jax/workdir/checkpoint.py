"""Checkpoints: what a step saved, proved undamaged before it is used.

Step s is the folder `<workdir>/checkpoints/<s>/`, written by orbax, with the items `variables`
(params and batch_stats, all that evaluation needs) and `training` (the rest), and the record
`<workdir>/checkpoints/<s>.json` with its metrics and the sha256 of every file. The record is
written last: a step without one does not exist. Orbax alone would restore most flipped bits of
the weights without an error.

Of several processes each writes and reads its own part of the arrays, in the same folder; process 0
does the rest. `save`, `write_metrics`, `latest_step`, `best_step` and `restore_newest` are
collective.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import orbax.checkpoint as ocp

from dkse_jax.console import log
from dkse_jax.distributed import processes, watch
from dkse_jax.errors import UserError
from dkse_jax.files import explain_disk_errors, reason_of, reserve, sync
from dkse_jax.workdir.checkpoint_digest import (
    FOLDER,
    DamagedCheckpoint,
    digests,
    own_digest,
    read_record,
    record_path,
    verify,
    write_record,
)
from dkse_jax.workdir.checkpoint_leaves import Tree, check_finite, check_leaves


def save(
    workdir: str | os.PathLike[str],
    step: int,
    variables: Tree,
    training: Tree,
    metrics: dict[str, float],
) -> None:
    """Saves a step, then keeps only the two newest and the best step.

    When it returns, the step is on the disk; when it is killed, the step does not exist and what
    it left is removed at the next save. A step saved before is replaced.

    Args:
        workdir: an existing folder.
        step: the number of steps done.
        variables: {"params", "batch_stats"}.
        training: the rest of the state, such as {"opt_state"}.
        metrics: "accuracy" and "loss" on the validation split; empty if not evaluated.

    Raises:
        UserError: when a value is not finite, or the disk is full or cannot be written; what was
            saved before is then untouched.
    """
    check_finite({**variables, **training}, step)
    root = _root(workdir)
    folder = root / str(step)
    with explain_disk_errors(f"cannot save step {step} in", root), watch.pause():
        if processes.is_first():
            leaves = jax.tree.leaves((variables, training))
            _make_room(root, step, sum(leaf.nbytes for leaf in leaves))
        processes.barrier("a checkpoint is begun")
        try:
            _write_arrays(folder, variables, training)
        except TimeoutError:  # orbax measures by a clock that may jump, over days, within a save
            if not processes.alone():
                raise
            _remove_leftovers(root)
            _write_arrays(folder, variables, training)
        if processes.is_first():
            for path in (root, folder, *folder.rglob("*")):
                sync(path)
            write_record(root, {"step": step, "metrics": metrics, "files": digests(folder)})
            _thin_out(root)
        processes.barrier("a checkpoint is complete")


def latest_step(workdir: str | os.PathLike[str]) -> int | None:
    """Returns the newest undamaged step, None without one; raises UserError as `best_step`."""
    root = _root(workdir)
    good = (step for step in reversed(_steps(root)) if _is_good(root, step))
    return _agreed(root, "newest", lambda: next(good, None))


def best_step(workdir: str | os.PathLike[str]) -> int | None:
    """Returns the undamaged step of the highest accuracy, of equals that of the lowest loss.

    None without one. Raises UserError where not all processes see the same checkpoint.
    """
    root = _root(workdir)
    good = (step for step in _ranked(root) if _is_good(root, step))
    return _agreed(root, "best", lambda: next(good, None))


def read_metrics(workdir: str | os.PathLike[str], step: int) -> dict[str, float]:
    """Returns the metrics of a saved step; empty if it was not evaluated."""
    return read_record(_root(workdir), step)["metrics"]


def write_metrics(workdir: str | os.PathLike[str], step: int, metrics: dict[str, float]) -> None:
    """Adds the metrics to a step that was saved before it was evaluated.

    Raises:
        UserError: when the disk is full or cannot be written; the step then stands as it was.
    """
    root = _root(workdir)
    if processes.is_first():
        with explain_disk_errors(f"cannot save the metrics of step {step} in", root):
            write_record(root, read_record(root, step) | {"metrics": metrics})
        _thin_out(root)
    processes.barrier("the metrics of a checkpoint are written")


def restore(
    workdir: str | os.PathLike[str],
    step: int,
    variables_target: Tree,
    training_target: Tree | None = None,
) -> tuple[Tree, Tree | None]:
    """Returns (variables, training) of a step, in the structure and shardings of the targets.

    Without a training_target only the variables are read, and training is None.

    Raises:
        DamagedCheckpoint: a file is not what was saved, or the step does not exist.
        UserError: a name, shape or dtype differs from the target's, or orbax cannot read the files.
    """
    verify(_root(workdir), step)
    return _restore(workdir, step, variables_target, training_target)


def restore_newest(
    workdir: str | os.PathLike[str], variables_target: Tree, training_target: Tree
) -> tuple[int, Tree, Tree] | None:
    """Returns (step, variables, training) of the newest undamaged step, None without one.

    Damaged newer steps are reported and kept aside as `<step>.damaged`.

    Raises:
        UserError: a name, shape or dtype differs from the target's, or not all processes see the
            same checkpoints.
    """
    root = _root(workdir)
    step = _agreed(root, "newest", lambda: _newest_good(root))
    if step is None:
        return None
    return step, *_restore(workdir, step, variables_target, training_target)


def _newest_good(root: Path) -> int | None:
    """Returns the newest undamaged step; sets damaged newer ones aside."""
    for step in reversed(_steps(root)):
        try:
            verify(root, step)
        except DamagedCheckpoint as error:
            log(f"{error}; it is set aside as {step}.damaged")
            _set_aside(root, step)
        else:
            return step
    return None


def _agreed(root: Path, which: str, find: Callable[[], int | None]) -> int | None:
    """Returns what process 0 finds; raises UserError unless all see the same step. Collective."""
    step = processes.broadcast(find)
    try:
        seen = f"step {step} ({own_digest(read_record(root, step))[:12]})" if step else "none"
    except DamagedCheckpoint:
        seen = "another"
    processes.check_agreed({f"the {which} checkpoint": seen})
    return step


def _make_room(root: Path, step: int, size: int) -> None:
    """Removes what killed saves left, and the step if it is there, if there is room for it."""
    root.mkdir(exist_ok=True)
    _remove_leftovers(root)
    reserve(root, size)
    record_path(root, step).unlink(missing_ok=True)
    if (root / str(step)).exists():
        shutil.rmtree(root / str(step))


def _write_arrays(folder: Path, variables: Tree, training: Tree) -> None:
    if processes.alone():
        variables, training = jax.tree.map(_by_one_device, (variables, training))
    with _checkpointer() as checkpointer:
        checkpointer.save(
            folder,
            args=ocp.args.Composite(
                variables=ocp.args.StandardSave(variables),
                training=ocp.args.StandardSave(training),
            ),
        )


def _by_one_device(array: jax.Array) -> jax.Array:
    """Returns one device's copy of a replicated array; orbax would compile to split it."""
    return array.addressable_data(0) if array.is_fully_replicated else array


def _checkpointer() -> ocp.Checkpointer:
    """Returns one that knows both items; without their handlers it could not read metadata."""
    return ocp.Checkpointer(
        ocp.CompositeCheckpointHandler(
            variables=ocp.StandardCheckpointHandler(), training=ocp.StandardCheckpointHandler()
        )
    )


def _restore(
    workdir: str | os.PathLike[str], step: int, variables: Tree, training: Tree | None
) -> tuple[Tree, Tree | None]:
    root = _root(workdir)
    targets = {"variables": variables} | ({} if training is None else {"training": training})
    where = f"step {step} in {root}"
    arguments = {item: ocp.args.StandardRestore(target) for item, target in targets.items()}
    try:
        with _checkpointer() as checkpointer:
            saved = checkpointer.metadata(root / str(step)).item_metadata
            for item, target in targets.items():  # first: no array is larger than the target's
                if saved[item] is None:
                    raise ValueError(f"it has no {item}")
                check_leaves(saved[item].tree, target, where)
            restored = checkpointer.restore(root / str(step), args=ocp.args.Composite(**arguments))
    except UserError:
        raise
    except (OSError, ValueError, LookupError) as error:  # other types are mistakes of a caller
        raise UserError(
            f"{where} is undamaged, but cannot be read, as if written by another version of orbax:"
            f" {reason_of(error)}"
        ) from error
    return restored["variables"], None if training is None else restored["training"]


def _root(workdir: str | os.PathLike[str]) -> Path:
    return Path(workdir).absolute() / FOLDER


def _steps(root: Path) -> list[int]:
    """Returns the steps that have a record, damaged or not, in increasing order."""
    return sorted(int(path.stem) for path in root.glob("*.json") if path.stem.isdecimal())


def _ranked(root: Path) -> list[int]:
    """Returns the evaluated steps, the best first, by their records alone."""
    ranks = []
    for step in _steps(root):
        try:
            metrics = read_record(root, step)["metrics"]
        except DamagedCheckpoint:
            continue
        if metrics:
            ranks.append((metrics["accuracy"], -metrics["loss"], step))
    return [step for *_, step in sorted(ranks, reverse=True)]


def _thin_out(root: Path) -> None:
    """Keeps the newest step, the one before it, in case the newest gets damaged, and the best."""
    steps = _steps(root)
    for old in set(steps) - {*steps[-2:], *_ranked(root)[:1]}:
        record_path(root, old).unlink()
        shutil.rmtree(root / str(old), ignore_errors=True)


def _is_good(root: Path, step: int) -> bool:
    try:
        verify(root, step)
    except DamagedCheckpoint:
        return False
    return True


def _remove_leftovers(root: Path) -> None:
    """Removes what killed saves left: folders without a record, and temporary files."""
    steps = _steps(root)
    for path in root.iterdir():
        if path.name.endswith(".json.tmp"):
            path.unlink()
        elif path.is_dir() and (
            ".orbax-checkpoint-tmp" in path.name
            or (path.name.isdecimal() and int(path.name) not in steps)
        ):
            shutil.rmtree(path)


def _set_aside(root: Path, step: int) -> None:
    aside = root / f"{step}.damaged"
    shutil.rmtree(aside, ignore_errors=True)
    if (root / str(step)).exists():
        os.replace(root / str(step), aside)
    os.replace(record_path(root, step), root / f"{step}.damaged.json")
