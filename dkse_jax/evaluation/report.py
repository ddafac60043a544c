"""The report of an evaluation: its files and its printed lines."""

import hashlib
import json
import pathlib
import re
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from dkse_jax.data.sources import Source
from dkse_jax.errors import UserError
from dkse_jax.evaluation import metrics, pictures
from dkse_jax.evaluation.calibration import calibrated, ece, set_scores
from dkse_jax.evaluation.overlays import file_names
from dkse_jax.files import check_room, explain_disk_errors, sync
from dkse_jax.text import as_bytes, csv_text, plain_text
from dkse_jax.workdir.calibration_file import Calibration

FILES = ("metrics.json", "confusion.csv", "confusion.png", "predictions.csv", "mistakes.png")
SKIPPED = "skipped.csv"  # a further file, where images could not be read
_PICTURES = 8 * 2**20  # bytes: most of what the pictures of a report take
_MAKING = "cannot write a report to"
CALIBRATED = 100  # examples; of fewer, the calibration error is printed in whole per cent
LEFT_OUT = "left out"  # the column of predictions.csv that marks such examples
_MISTAKE_SIDE = 256  # minimum of pixels with which a mistake is decoded


def measure(
    source: Source, log_probabilities: np.ndarray, seed: int, step: int, skipped: int
) -> dict[str, Any]:
    """Returns the content of metrics.json: step, the keys of `metrics.summarise`, skipped.

    Args:
        source: the evaluated examples.
        log_probabilities: (N, K).
        seed: of the bootstrap.
        step: of the weights.
        skipped: number of images that could not be read and are not in the source.

    Raises:
        ValueError: as `metrics.summarise`.
    """
    if len(source.ids) != len(source.labels):
        raise ValueError(
            f"{len(source.ids)} ids and {len(source.labels)} labels do not belong together"
        )
    summary = metrics.summarise(
        log_probabilities, source.labels, source.groups, source.class_names, seed=seed
    )
    return {"step": step} | summary | {"skipped": skipped}


def of_calibration(
    calibration: Calibration | None, split: str, source: Source, log_probabilities: np.ndarray
) -> dict[str, Any]:
    """Returns what the calibration of the weights makes of a split, for metrics.json.

    Args:
        calibration: None if the weights have none.
        split: its name; on val, on which it was fitted, the error is that of groups left out.
        source: the evaluated examples.
        log_probabilities: (N, K).

    Returns:
        calibration (a sentence); temperature, ece_calibrated, and, of the prediction sets,
        set_coverage (share that hold the label) and set_size (mean number of classes): None where
        nothing was fitted.
    """
    sentence = "uncalibrated: fit it by --calibrate"
    if calibration is not None:
        sentence = calibration.sentence()
    if calibration is None or calibration.fitted is None:
        names = ("temperature", "ece_calibrated", "set_coverage", "set_size")
        return {"calibration": sentence, **dict.fromkeys(names)}
    fitted = calibration.fitted
    p = calibrated(log_probabilities, fitted.temperature)
    sets = set_scores(p) <= fitted.set_score
    return {
        "calibration": sentence,
        "temperature": fitted.temperature,
        "ece_calibrated": fitted.errors.ece_after if split == "val" else ece(p, source.labels),
        "set_coverage": float(sets[np.arange(len(sets)), source.labels].mean()),
        "set_size": float(sets.sum(axis=1).mean()),
    }


def write_report(
    folder: pathlib.Path,
    source: Source,
    log_probabilities: np.ndarray,
    result: dict[str, Any],
    skipped: Sequence[tuple[str, str, str]] = (),
    left_out: np.ndarray | None = None,
) -> None:
    """Writes the report of one split: the files of `FILES`, and skipped.csv if images are skipped.

    Each replaces that of an older report whole; all other files in the folder stay. Names are
    plain text in the CSV files (see `text.csv_text`) and unchanged in metrics.json.

    Args:
        folder: to write; its parents are created.
        source: the evaluated examples.
        log_probabilities: (N, K).
        result: of `measure`.
        skipped: (file, class, reason) of each image that could not be read and is not among the
            N; written to skipped.csv if there are any.
        left_out: (N,) bool, of the examples that are only in predictions.csv, and marked there.

    Raises:
        UserError: as `check_folder`.
    """
    check_folder(folder, len(source), source.class_names)
    labels, class_names = source.labels, source.class_names
    probabilities = np.exp(np.asarray(log_probabilities, np.float64))
    predictions = np.asarray(log_probabilities).argmax(axis=1)
    kept = np.ones(len(labels), bool) if left_out is None else ~left_out
    matrix = metrics.confusion(labels[kept], predictions[kept], len(class_names))
    mistakes, total = _mistakes(source, predictions, probabilities, kept)

    texts = {
        "metrics.json": json.dumps(result, indent=2, allow_nan=False) + "\n",
        "confusion.csv": _confusion_csv(matrix, class_names),
        "predictions.csv": _predictions_csv(source, predictions, probabilities, kept),
    }
    if skipped:
        texts[SKIPPED] = csv_text(["file", "label", "reason"], skipped)
    with explain_disk_errors(_MAKING, folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as made:
            new = pathlib.Path(made, folder.name)
            new.mkdir()
            for name, text in texts.items():
                (new / name).write_text(text, encoding="utf-8")
            pictures.confusion_png(new / "confusion.png", matrix, class_names)
            pictures.mistakes_png(
                new / "mistakes.png", mistakes, total=total, examples=int(kept.sum())
            )
            _move(new, folder)


def report_folder(
    workdir: pathlib.Path, split: str, root: pathlib.Path | None = None
) -> pathlib.Path:
    """Returns the folder of a run's report on a split or, for each root, one of its own."""
    if root is None:
        return workdir / "eval" / split
    path = root.resolve()
    name = re.sub(r"[^\w -]", "_", path.name)[:50].strip(" -") or "root"
    return workdir / "eval" / f"{name}-{hashlib.sha256(as_bytes(str(path))).hexdigest()[:8]}"


def check_folder(
    folder: pathlib.Path, examples: int, class_names: Sequence[str], *, gradcam: bool = False
) -> None:
    """Checks that a report can be written to a folder; leaves nothing there.

    Args:
        folder: as of `write_report`.
        examples: N.
        class_names: K names.
        gradcam: whether Grad-CAM overlays follow.

    Raises:
        UserError: it, or its folder of overlays, is a file, it holds files of the report's names
            that are of no report, or it cannot be written, or has no room.
    """
    deepest = folder / "gradcam" if gradcam else folder
    for path in (folder, deepest):
        if path.exists() and not path.is_dir():
            raise UserError(f'{_MAKING} "{path}": it is a file, not a folder')
    names = (*FILES, SKIPPED, *(f"gradcam/{name}" for name in file_names(class_names)))
    whose = [name for name in names if (folder / name).exists()]
    if _older(folder) is not None:
        whose = [name for name in whose if (folder / name).is_dir()]
    if whose:
        raise UserError(
            f'{_MAKING} "{folder}": it holds other things, such as "{whose[0]}"; move it elsewhere'
        )
    with explain_disk_errors(_MAKING, folder):
        check_room(deepest, _PICTURES + examples * (100 + 15 * len(class_names)))


def _older(folder: pathlib.Path) -> dict[str, Any] | None:
    """Returns the metrics of the report in a folder, None without one."""
    try:
        found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"step", "accuracy", "n"} <= found.keys() else None


def _move(new: pathlib.Path, folder: pathlib.Path) -> None:
    """Replaces the files of an older report by new ones, the metrics first; keeps all others."""
    for path in new.iterdir():
        sync(path)
    if not folder.exists():
        new.rename(folder)
    else:
        older = _older(folder)
        if older and older.get("skipped") and not (new / SKIPPED).exists():
            (folder / SKIPPED).unlink(missing_ok=True)
        for path in sorted(new.iterdir(), key=lambda path: path.name != "metrics.json"):
            path.replace(folder / path.name)
        sync(folder)
    sync(folder.parent)


def summary(result: dict[str, Any]) -> str:
    """Formats the metrics of one split: a summary, then a table of the classes."""
    interval = result.get("interval95_reason")
    if result["interval95"]:
        low, high = result["interval95"]
        interval = f"95% interval {low:.2%} to {high:.2%}"
    top2 = "" if result["top2"] is None else f", top-2 accuracy {result['top2']:.2%}"
    decimals = 2 if result["n"] >= CALIBRATED else 0
    lines = [
        f"accuracy {result['accuracy']:.2%} ({interval})"
        f" on {result['n']:,} examples in {result['groups']:,} groups"
        + (f"; {result['skipped']:,} could not be read" if result["skipped"] else ""),
        f"loss {result['loss']:.4f}{top2}, calibration error {result['ece']:.{decimals}%}",
        f"{'n':>9} {'precision':>10} {'recall':>7} {'F1':>7}  class",
    ]
    if result.get("temperature"):
        lines.insert(
            2,
            f"calibrated at temperature {result['temperature']:.3f}: calibration error"
            f" {result['ece_calibrated']:.{decimals}%}; sets hold the class of"
            f" {result['set_coverage']:.0%}, with {result['set_size']:.2f} classes on average",
        )
    elif "calibration" in result:
        lines.insert(2, result["calibration"])
    # The name comes last, since its width on the screen is unknown.
    for name, row in result["per_class"].items():
        shares = (_share(row[key]) for key in ("precision", "recall", "f1"))
        cells = "{:>10} {:>7} {:>7}".format(*shares)
        lines.append(f"{row['n']:>9,} {cells}  {plain_text(name)}")
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _mistakes(
    source: Source, predictions: np.ndarray, probabilities: np.ndarray, kept: np.ndarray
) -> tuple[list[pictures.Example], int]:
    """Returns the most confident mistakes, sorted stably, and the number of all mistakes."""
    wrong = np.flatnonzero((predictions != source.labels) & kept)
    order = np.argsort(-probabilities[wrong, predictions[wrong]], kind="stable")
    shown = [
        pictures.Example(
            image=source.read(i, _MISTAKE_SIDE),
            label=source.class_names[source.labels[i]],
            prediction=source.class_names[predictions[i]],
            probability=float(probabilities[i, predictions[i]]),
            file=source.ids[i],
        )
        for i in wrong[order][: pictures.MAX_MISTAKES].tolist()
    ]
    return shown, len(wrong)


def _confusion_csv(matrix: np.ndarray, class_names: Sequence[str]) -> str:
    rows = ([name, *counts] for name, counts in zip(class_names, matrix.tolist(), strict=True))
    return csv_text(["true \\ predicted", *class_names], rows)


def _predictions_csv(
    source: Source, predictions: np.ndarray, probabilities: np.ndarray, kept: np.ndarray
) -> str:
    names = source.class_names
    header = ["file", "label", "prediction", "probability", *(f"p({name})" for name in names)]
    marks: list[list[str]] = [[]] * len(kept)
    if not kept.all():
        header.append(LEFT_OUT)
        marks = [["" if one else "seen"] for one in kept]
    rows = (
        [example, names[label], names[prediction], f"{row[prediction]:.6g}"]
        + [f"{p:.6g}" for p in row]
        + mark
        for example, label, prediction, row, mark in zip(
            source.ids, source.labels, predictions, probabilities, marks, strict=True
        )
    )
    return csv_text(header, rows)
