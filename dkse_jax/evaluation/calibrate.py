"""Fitting the calibration of a run's best weights, on val and on the features of train."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jax.sharding import Mesh

from dkse_jax.console import log, with_progress
from dkse_jax.data.sources import Source, subset
from dkse_jax.distributed import processes, watch
from dkse_jax.evaluation import calibration as fits
from dkse_jax.evaluation.distance import fit_distance
from dkse_jax.evaluation.evaluate import check_finite
from dkse_jax.inference import stream
from dkse_jax.trained import Run, Trained, read_run, restore
from dkse_jax.workdir import calibration_file, checkpoint
from dkse_jax.workdir.calibration_file import Calibration, Fitted
from dkse_jax.workdir.checkpoint_digest import digest_of_step

MOST_EXAMPLES = 20_000  # of train whose features are looked at


def answers(trained: Trained, source: Source, doing: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns log-probabilities (N, K) and features (N, C), float32, of a split. Collective."""
    parts = stream(
        trained.answers,
        source,
        trained.transform,
        trained.mesh,
        batch_size=trained.config.eval.batch_size,
        threads=trained.config.data.threads,
    )
    shown = with_progress(parts, len(source), doing, lambda part: len(part[0]))
    log_probabilities, features = zip(*shown, strict=True)
    return np.concatenate(log_probabilities), np.concatenate(features)


def fit(
    on_val: tuple[np.ndarray, np.ndarray], val: Source, on_train: np.ndarray, labels: np.ndarray
) -> Fitted:
    """Fits everything; val is large enough: see `calibration.too_small`.

    Args:
        on_val: log-probabilities (N, K) and features (N, C) of val.
        val: the split.
        on_train: (M, C) features of train.
        labels: (M,) of train.
    """
    log_probabilities, features = on_val
    temperature = fits.fit_temperature(log_probabilities, val.labels)
    probabilities = fits.calibrated(log_probabilities, temperature)
    distance = fit_distance(on_train, labels)
    confidence, distances = probabilities.max(axis=1), distance.of(features)
    thresholds = fits.thresholds(confidence, distances)
    known = (confidence >= thresholds.probability) & (distances <= thresholds.distance)
    return Fitted(
        temperature,
        fits.errors(log_probabilities, val.labels, val.groups),
        thresholds,
        float(1 - known.mean()),
        fits.set_threshold(probabilities, val.labels, val.groups),
        distance,
    )


def calibrate(workdir: Path, train: Source, val: Source, mesh: Mesh, *, anew: bool = False) -> None:
    """Fits a calibration to a run's best weights and writes it to its workdir. Collective.

    Args:
        workdir: of a run with an evaluated checkpoint.
        train: the split, of which at most MOST_EXAMPLES are looked at.
        val: the split.
        mesh: the devices to run on.
        anew: whether to replace an undamaged calibration of these weights.

    Raises:
        UserError: there are no weights, an image cannot be read, or the calibration cannot be
            written.
    """
    run, step = read_run(workdir), checkpoint.best_step(workdir)
    reason = fits.too_small(val.groups)
    if step and not anew and processes.broadcast(lambda: _is_current(run, step)):
        return
    if step and reason:
        _write(run, step, val, reason, None)
        return
    trained = restore(run, mesh)
    if len(train) > MOST_EXAMPLES:
        train = subset(train, np.linspace(0, len(train) - 1, MOST_EXAMPLES).astype(np.int64))
    with watch.working():
        on_val = answers(trained, val, "calibrating on val")
        check_finite(on_val[0], "val", trained.config.model.dtype)
        _, on_train = answers(trained, train, "describing train")
    _write(run, trained.step, val, "", lambda: fit(on_val, val, on_train, train.labels))


def _is_current(run: Run, step: int) -> bool:
    return calibration_file.is_current(run.workdir, digest_of_step(run.workdir, step))


def _write(
    run: Run, step: int, val: Source, reason: str, fitted: Callable[[], Fitted] | None
) -> None:
    """Writes the calibration by process 0, which alone computes it. Collective."""
    if processes.is_first():
        groups = len(set(val.groups))
        with watch.pause():
            found = fitted and fitted()
        calibration = Calibration(
            digest_of_step(run.workdir, step), run.class_names, len(val), groups, reason, found
        )
        calibration_file.save(run.workdir, calibration)
        log(calibration.sentence())
    processes.barrier("the calibration is written")
