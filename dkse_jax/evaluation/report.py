"""The report of an evaluation: its files and its printed lines."""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dkse_jax.data.sources import Source
from dkse_jax.errors import UserError
from dkse_jax.evaluation import metrics, pictures
from dkse_jax.files import replacing
from dkse_jax.text import csv_text, plain_text

FILES = ("metrics.json", "confusion.csv", "confusion.png", "predictions.csv", "mistakes.png")
CALIBRATED = 100  # examples; of fewer, the calibration error is printed in whole per cent
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


def write_report(
    folder: pathlib.Path,
    source: Source,
    log_probabilities: np.ndarray,
    result: dict[str, Any],
    skipped: Sequence[tuple[str, str, str]] = (),
) -> None:
    """Writes the report of one split: all files of `FILES`, or none.

    A complete folder replaces an older report. Names are plain text in the CSV files (see
    `text.csv_text`) and unchanged in metrics.json.

    Args:
        folder: to write; its parents are created.
        source: the evaluated examples.
        log_probabilities: (N, K).
        result: of `measure`.
        skipped: (file, class, reason) of each image that could not be read and is not among the
            N; written to skipped.csv if there are any.

    Raises:
        UserError: the folder holds something that is not a report.
    """
    labels, class_names = source.labels, source.class_names
    probabilities = np.exp(np.asarray(log_probabilities, np.float64))
    predictions = np.asarray(log_probabilities).argmax(axis=1)
    matrix = metrics.confusion(labels, predictions, len(class_names))
    mistakes, total = _mistakes(source, predictions, probabilities)

    folder = pathlib.Path(os.path.abspath(folder))
    _refuse_other_content(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replacing(folder, shared=True) as new:
        new.mkdir()
        texts = {
            "metrics.json": json.dumps(result, indent=2, allow_nan=False) + "\n",
            "confusion.csv": _confusion_csv(matrix, class_names),
            "predictions.csv": _predictions_csv(source, predictions, probabilities),
        }
        if skipped:
            texts["skipped.csv"] = csv_text(["file", "label", "reason"], skipped)
        for name, text in texts.items():
            (new / name).write_text(text, encoding="utf-8")
        pictures.confusion_png(new / "confusion.png", matrix, class_names)
        pictures.mistakes_png(new / "mistakes.png", mistakes, total=total, examples=len(labels))


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
    # The name comes last, since its width on the screen is unknown.
    for name, row in result["per_class"].items():
        shares = (_share(row[key]) for key in ("precision", "recall", "f1"))
        cells = "{:>10} {:>7} {:>7}".format(*shares)
        lines.append(f"{row['n']:>9,} {cells}  {plain_text(name)}")
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _refuse_other_content(folder: pathlib.Path) -> None:
    """Raises UserError if the folder holds something else than a report."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f'cannot write a report to "{folder}": it is a file, not a folder')
    found = {entry.name for entry in folder.iterdir()}
    if found and not found.issuperset(FILES):
        raise UserError(
            f'cannot write a report to "{folder}": it holds other things, such as '
            f'"{plain_text(min(found))}"; name a new folder or the folder of an older report'
        )


def _mistakes(
    source: Source, predictions: np.ndarray, probabilities: np.ndarray
) -> tuple[list[pictures.Example], int]:
    """Returns the most confident mistakes, sorted stably, and the number of all mistakes."""
    wrong = np.flatnonzero(predictions != source.labels)
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


def _predictions_csv(source: Source, predictions: np.ndarray, probabilities: np.ndarray) -> str:
    names = source.class_names
    header = ["file", "label", "prediction", "probability", *(f"p({name})" for name in names)]
    rows = (
        [example, names[label], names[prediction], f"{row[prediction]:.6g}"]
        + [f"{p:.6g}" for p in row]
        for example, label, prediction, row in zip(
            source.ids, source.labels, predictions, probabilities, strict=True
        )
    )
    return csv_text(header, rows)
