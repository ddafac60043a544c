"""Evaluation of a run: from its workdir to a report, without flags of the training."""

import datetime
import os
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dkse_jax import provenance, runtime
from dkse_jax.console import log, say
from dkse_jax.data.identity import digest_of_rows, rows_of
from dkse_jax.data.pipeline import fingerprint
from dkse_jax.data.sources import Source, load_all, load_splits, subset
from dkse_jax.data.sources.roots import roots_of
from dkse_jax.data.split_checks import caution_of_missing
from dkse_jax.data.splits import SPLITS
from dkse_jax.distributed import processes, watch
from dkse_jax.errors import UserError, nearest
from dkse_jax.evaluation.calibrate import calibrate
from dkse_jax.evaluation.card import write_card
from dkse_jax.evaluation.evaluate import check_finite, predict
from dkse_jax.evaluation.gradcam import choose_stage
from dkse_jax.evaluation.metrics import caution
from dkse_jax.evaluation.overlays import (
    MAX_EXAMPLES,
    make_explain,
    remove_overlays,
    write_overlays,
)
from dkse_jax.evaluation.report import (
    check_folder,
    measure,
    of_calibration,
    report_folder,
    summary,
    write_report,
)
from dkse_jax.evaluation.unseen import data_of_run, is_unchanged, seen_of
from dkse_jax.files import expanded
from dkse_jax.inference import make_forward
from dkse_jax.readable import readable
from dkse_jax.trained import Run, Trained, read_run, restore
from dkse_jax.workdir import calibration_file, description
from dkse_jax.workdir.calibration_file import Calibration
from dkse_jax.workdir.checkpoint_digest import digest_of_step


def evaluate(
    workdir: str | os.PathLike[str],
    split: str = "test",
    root: str | os.PathLike[str] | None = None,
    *,
    gradcam: int | None = None,
    stage: str | None = None,
    on_bad_image: str | None = None,
    mesh: Mesh | None = None,
) -> dict[str, Any]:
    """Evaluates a run's best checkpoint on a split of its data, or on all images under root.

    Writes workdir/eval/<split>, or for each root a folder of its own in workdir/eval, and the model
    card, and prints a summary. Each of several processes returns the metrics; only process 0
    writes.

    Args:
        workdir: of the run.
        split: train, val or test; all, with a root.
        root: a folder of other images than the run's; with train, val or test, the place to which
            the run's data were moved.
        gradcam: number of examples of each class to explain (see `overlays.write_overlays`).
        stage: the map that Grad-CAM explains; by default the network's last.
        on_bad_image: error or skip; by default as config.data.on_bad_image. Skipped images are
            listed and counted, however many they are.
        mesh: the devices to run on; by default all.

    Returns:
        The content of metrics.json: see `report.measure` and `report.of_calibration`; and seen (the
        number of examples that the weights were trained or chosen on, which are left out but of
        train and val), history (whether all of that is known), split, root, date (UTC), data (a
        digest of ids, labels, groups and contents) and weights (the SHA-256 of the checkpoint's
        record).

    Raises:
        UserError: the run, checkpoint, split, folder or stage does not exist, the data changed, or
            the report cannot be written; or an image cannot be read, or the weights have seen all
            examples.
    """
    run, root = read_run(workdir), None if root is None else Path(expanded(root))
    stage = _stage_to_explain(run.network, run.transform.size, gradcam, stage)
    splits, source = choose_source(run, split, root)
    folder = report_folder(run.workdir, split, root if split == "all" else None)
    if processes.is_first():
        check_folder(folder, len(source), run.class_names, gradcam=gradcam is not None)
    inputs = {"class_names": run.class_names, "splits": run.splits}
    facts = description.facts(run.config, inputs)
    facts["the evaluated data"] = f"{split} ({fingerprint(source)[:12]})"
    processes.check_agreed(facts)
    history = data_of_run(run, splits)
    trained = restore(run, runtime.default_mesh() if mesh is None else mesh)
    # Other images may have the names of a split: their findings are not kept.
    kept_in = run.workdir if root is None else None
    whole, data_config = source, _on_bad_image(run.config.data, on_bad_image)
    source, skipped = readable(kept_in, whole, data_config, run.transform.size)
    log(f"evaluating step {trained.step} on {split}: {len(source)} images")
    for line in whole.remarks if split == "all" else ():
        log(line)
    for line in caution_of_missing(source, split if root is None else f'"{root}"'):
        log(line)
    with watch.working():
        log_probabilities = predict(
            make_forward(trained.network, run.transform, trained.mesh),
            trained.variables,
            source,
            run.transform,
            trained.mesh,
            batch_size=run.config.eval.batch_size,
            threads=data_config.threads,
        )
    check_finite(log_probabilities, split, run.config.model.dtype)
    seen, history_is = seen_of(history, split, source)
    left_out = seen & (split not in ("train", "val"))
    counted, of_counted = source, log_probabilities
    if left_out.any():
        counted = subset(source, np.flatnonzero(~left_out))
        of_counted = log_probabilities[~left_out]
    metrics = {
        **measure(counted, of_counted, run.config.seed, trained.step, len(skipped)),
        **of_calibration(_calibration(trained), split, counted, of_counted),
        "seen": int(seen.sum()),
        "history": history_is,
        **_origin(trained, split, root, whole),
    }
    if not processes.is_first():
        return metrics
    if split != "all":
        provenance.add_contents(run.workdir, split, whole)
    write_report(folder, source, log_probabilities, metrics, skipped, left_out)
    write_card(run.workdir)
    say(summary(metrics))
    if sentence := caution(metrics["groups"], "the folder" if split == "all" else split):
        log(sentence)
    log(f"report: {folder}")
    remove_overlays(folder / "gradcam", source.class_names)
    if gradcam is not None and stage is not None:
        _explain(trained, folder / "gradcam", counted, of_counted, gradcam, stage)
    log(f"{split} accuracy {metrics['accuracy']:.4f}; look at {folder / 'confusion.png'}")
    return metrics


def calibrate_again(
    workdir: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    mesh: Mesh | None = None,
) -> None:
    """Fits the calibration of a run anew, as after an earlier version's training. Collective.

    Args:
        workdir: of the run.
        root: the place to which the run's data were moved, if they were.
        mesh: the devices to run on; by default all.

    Raises:
        UserError: as `calibrate.calibrate`, or the data changed.
    """
    run, place = read_run(workdir), None if root is None else Path(expanded(root))
    readables = {}
    for name in ("train", "val"):
        _, source = choose_source(run, name, place)
        kept_in = run.workdir if place is None else None
        readables[name], _ = readable(kept_in, source, run.config.data, run.transform.size)
    mesh = runtime.default_mesh() if mesh is None else mesh
    calibrate(run.workdir, readables["train"], readables["val"], mesh, anew=True)
    if processes.is_first():
        write_card(run.workdir)


def _calibration(trained: Trained) -> Calibration | None:
    """Returns that of the weights; None, with a line, where it is missing, damaged or foreign."""
    try:
        return calibration_file.load(trained.workdir, digest_of_step(trained.workdir, trained.step))
    except UserError as error:
        log(f"{error}; until then the weights are uncalibrated")
        return None


def _origin(trained: Trained, split: str, root: Path | None, source: Source) -> dict[str, str]:
    """Returns what a report is of, for metrics.json: see `evaluate`."""
    return {
        "split": split,
        "root": _absolute(trained.config.data.root if root is None else os.fspath(root)),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "data": digest_of_rows(rows_of(source, 0)),
        "weights": digest_of_step(trained.workdir, trained.step),
    }


def _explain(
    trained: Trained,
    folder: Path,
    source: Source,
    log_probabilities: np.ndarray,
    count: int,
    stage: str,
) -> None:
    """Writes the Grad-CAM overlays of `count` examples of each class."""
    mesh = trained.mesh.local_mesh  # the other processes have returned
    paths = write_overlays(
        folder,
        explain=make_explain(trained.network, trained.variables, trained.transform, stage, mesh),
        stage=stage,
        source=source,
        log_probabilities=log_probabilities,
        transform=trained.transform,
        count=count,
        threads=trained.config.data.threads,
        mesh=mesh,
    )
    log(f"Grad-CAM at {stage}: {len(paths)} pictures in {folder}")


def _on_bad_image(data_config: ConfigDict, chosen: str | None) -> ConfigDict:
    """Returns config.data with the choice, if there is one, and then without a limit of skips."""
    if chosen is None:
        return data_config
    if chosen not in ("error", "skip"):
        raise UserError(f'--on_bad_image is "{chosen}"{nearest(chosen, ("error", "skip"))}')
    changed = data_config.copy_and_resolve_references()
    changed.on_bad_image, changed.max_bad_percent = chosen, 100.0
    return changed


def _stage_to_explain(
    model: nn.Module, image_size: int, count: int | None, stage: str | None
) -> str | None:
    """Returns the stage for Grad-CAM; None if no examples are to be explained."""
    if count is None:
        if stage is not None:
            raise UserError(f"--stage={stage} needs --gradcam=N, the examples of each class")
        return None
    if not 1 <= count <= MAX_EXAMPLES:
        raise UserError(f"--gradcam is {count}, but must be from 1 to {MAX_EXAMPLES}")
    return choose_stage(model, image_size, stage)


def choose_source(run: Run, split: str, root: Path | None) -> tuple[dict[str, Source], Source]:
    """Loads the split of the run's data, checked to be unchanged, or all images under root.

    Returns:
        All splits of the run's data, none for other images; and the examples to evaluate.
    """
    if split not in (*SPLITS, "all"):
        raise UserError(f'--split is "{split}"{nearest(split, (*SPLITS, "all"))}')
    painted = run.config.data.source == "synthetic"
    if (root is None) == (split == "all") and (root is None or painted):
        raise UserError("--split=all and --root=IMAGES go together: name both or neither")
    if root is not None and split == "all":
        return {}, load_all(str(root), run.class_names, run.transform.colour_profiles)
    splits = _load_splits(run, root)
    if not len(splits[split]) and not run.splits[split]["examples"]:
        raise UserError(
            f"the run's data have no {split} split: name --split=val, or other images with"
            " --split=all --root=IMAGES"
        )
    provenance.check(run.workdir, {split: splits[split]})
    if not is_unchanged(run, split, splits[split]):
        raise UserError(
            f"the {split} data changed since the training, which saw"
            f" {run.splits[split]['examples']} examples (now {len(splits[split])}); restore them,"
            " or begin a new run in another --workdir"
        )
    return splits, splits[split]


def _load_splits(run: Run, root: Path | None) -> dict[str, Source]:
    """Loads a run's data, from another root if they were moved."""
    config = run.config.data.copy_and_resolve_references().unlock()
    config.root = config.root if root is None else str(root)
    try:
        return load_splits(config, run.config.seed)
    except UserError as error:
        there = all(map(os.path.exists, roots_of(config.root)))
        if root is None and config.root and not there:
            remedy = "if the data were moved, name their new place: --root=FOLDER --split=..."
            joint = " I" if str(error).endswith("?") else "; i"
            raise UserError(f"{error}{joint}{remedy[1:]}") from error
        raise


def _absolute(root: str) -> str:
    """Returns data.root with absolute paths."""
    if not root or "://" in root:
        return root
    return ",".join(map(os.path.abspath, roots_of(root)))
