"""The model card of a run: what its workdir's files have measured, each number with its file."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dkse_jax.data.identity import ROW
from dkse_jax.data.splits import SPLITS
from dkse_jax.files import explain_disk_errors, write_atomically
from dkse_jax.markdown import code, table
from dkse_jax.workdir import data_file
from dkse_jax.workdir.description import CONFIG_FILE, INPUTS_FILE

CARD = "card.md"
LICENCE = "licence.txt"  # of the pictures; the user writes it
_CALIBRATION = "calibration.json"
_PAIRS = 5  # of classes that are confused most
_LICENCE_CHARACTERS = 1000
_HEADER = ("what", "value", "source")
_MODEL = (  # of config.json
    *("model.name", "model.attention", "model.width", "data.source", "data.image_size"),
    *("train.epochs", "train.batch_size", "init_from", "seed"),
)
_METRICS = (
    *("split", "date", "weights", "step", "n", "groups", "skipped", "seen", "history"),
    *("accuracy", "interval95.0", "interval95.1", "interval95_reason", "top2", "loss", "ece"),
)
_CALIBRATED = (
    *("weights", "uncalibrated", "examples", "groups", "temperature", "ece_before", "ece_after"),
    *("loss_before", "loss_after", "refused", "known_from_probability", "known_up_to_distance"),
)


def write_card(workdir: Path) -> None:
    """Writes workdir/card.md, in place of an older one.

    Raises:
        UserError: it cannot be written, or data.npy is damaged.
    """
    path = workdir / CARD
    with explain_disk_errors("cannot write", path):
        write_atomically(path, card_text(workdir))


def card_text(workdir: Path) -> str:
    """Returns the card as Markdown: every number is in a table beside or below its file.

    Args:
        workdir: of a run.
    """
    inputs = _json(workdir / INPUTS_FILE)
    names = [str(name) for name in inputs.get("class_names", [])]
    parts = [
        "# Model card",
        "Every number here is copied or counted from the named file of this folder, at the end of "
        f"`dkse-train` and `dkse-eval`. {code('eval/test/metrics.json: n')} is the field n of that "
        "file; floats are rounded to 4 digits.",
        "## Licence of the pictures",
        _licence(workdir / LICENCE),
        "## Model",
        _table(CONFIG_FILE, _json(workdir / CONFIG_FILE), _MODEL),
        "## Classes",
        _table(INPUTS_FILE, inputs, [f"splits.{split}.examples" for split in SPLITS]),
        *_classes(workdir, names),
        *(part for folder in _reports(workdir) for part in _evaluation(workdir, folder, names)),
        "## Calibration and unknown pictures",
        *_calibration(workdir),
    ]
    return "\n\n".join(parts) + "\n"


def _licence(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace").strip()
    except OSError:
        text = ""
    if not text:
        return (
            f"**Missing.** Nothing in this folder states it, and it is not guessed. Write it to the"
            f" file {code(LICENCE)} here, as in {code('CC BY 4.0, Museum of Prints')}, and evaluate"
            " again. Until then, do not assume that the pictures or the weights may be passed on."
        )
    lines = map(code, filter(None, map(str.strip, text[:_LICENCE_CHARACTERS].splitlines())))
    return "  \n".join((f"As {code(LICENCE)} has it, unchecked:", *lines))


def _classes(workdir: Path, names: Sequence[str]) -> Iterator[str]:
    """Yields the table of images and groups by class and split."""
    rows = data_file.load(workdir, ROW)
    if rows is None:
        yield f"Images and groups of each class are not known: there is no {code(data_file.FILE)}."
        return
    header = [f"{split} {what}" for split in SPLITS for what in ("images", "groups")]
    counts = []
    for label, name in enumerate(names):
        own = [rows[(rows["label"] == label) & (rows["split"] == s)] for s in range(len(SPLITS))]
        cells = [number for one in own for number in (len(one), len(np.unique(one["group"])))]
        counts.append([name, *map(_value, cells)])
    yield f"Source: {code(data_file.FILE)}, counted by split, label and group."
    yield table(["class", *header], counts, range(1, len(header) + 1))


def _reports(workdir: Path) -> list[Path]:
    """Returns the folders of the reports, that of test first."""
    found = [path.parent for path in (workdir / "eval").glob("*/metrics.json")]
    return sorted(found, key=lambda folder: (folder.name != "test", folder.name))


def _evaluation(workdir: Path, folder: Path, names: Sequence[str]) -> Iterator[str]:
    place = folder.relative_to(workdir).as_posix()
    file = f"{place}/metrics.json"
    metrics = _json(folder / "metrics.json")
    yield f"## Evaluation {code(place)}"
    if not metrics:
        yield f"{code(file)} cannot be read."
        return
    if metrics.get("history") is False:
        yield "It is not known of all weights what they were trained and chosen on."
    yield _table(file, metrics, _METRICS)
    keys = ("n", "precision", "recall", "f1")
    of_class = metrics.get("per_class", {})
    cells = [[name, *(_value(row.get(key)) for key in keys)] for name, row in of_class.items()]
    yield f"Source: {code(f'{file}: per_class')}."
    yield table(["class", *keys], cells, range(1, len(keys) + 1))
    if pairs := _confused(folder / "confusion.csv", names):
        yield f"The classes confused most; source: {code(f'{place}/confusion.csv')}."
        yield table(["class", "taken for", "images"], pairs, (2,))


def _confused(path: Path, names: Sequence[str]) -> list[list[str]]:
    """Returns the class, the predicted class and the number of the most frequent mistakes."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row[1:] for row in csv.reader(file)][1:]
        matrix = np.array(rows, np.int64).reshape(len(names), len(names))
    except (OSError, ValueError):
        return []
    pairs = [(-matrix[i, j], i, j) for i, j in np.argwhere(matrix).tolist() if i != j]
    return [[names[i], names[j], _value(int(-count))] for count, i, j in sorted(pairs)[:_PAIRS]]


def _calibration(workdir: Path) -> Iterator[str]:
    found = _json(workdir / _CALIBRATION)
    if not found:
        yield (
            f"Uncalibrated: there is no {code(_CALIBRATION)}. Probabilities are the network's own, "
            "and unknown pictures are not recognised."
        )
        return
    yield f"{code('refused')} is the share of val that would be called unknown."
    yield _table(_CALIBRATION, found, _CALIBRATED)


def _table(file: str, tree: Mapping[str, Any], fields: Sequence[str]) -> str:
    """Formats those of the fields that a tree has, each with its source."""
    found = ((field, _field(tree, field)) for field in fields)
    rows = [(field, _value(value), f"{file}: {field}") for field, value in found]
    return table(_HEADER, [row for row in rows if row[1] not in ("", "-")], (1,))


def _field(tree: Any, field: str) -> Any:
    """Returns a field by its path, such as splits.test.examples or interval95.0; None without."""
    for key in field.split("."):
        if isinstance(tree, list) and key.isdecimal() and int(key) < len(tree):
            tree = tree[int(key)]
        else:
            tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _json(path: Path) -> dict[str, Any]:
    """Returns an object of a file; an empty one where there is none that can be read."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}
