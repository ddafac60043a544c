"""Answers as IIIF annotations: an AnnotationPage of our own for each canvas that shows a picture.

They are OUT/annotations/ID.json, to be put into the canvases of a manifest; index.csv has the
canvas of each. Nothing of a manifest is read here.
"""

import csv
import json
import shutil
import uuid
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dkse_jax.console import log
from dkse_jax.files import explain_disk_errors, replacing
from dkse_jax.prediction.item import Item
from dkse_jax.prediction.publish import Options, in_decimals, is_written, numbers, probability
from dkse_jax.prediction.row import Row

FOLDER, INDEX = "annotations", "index.csv"
_CONTEXT = "http://iiif.io/api/presentation/3/context.json"
_WRITTEN, _BELOW = "written", "not known or not probable enough"
_WITHOUT = "of pictures that no manifest shows"


def write_annotations(rows: Iterable[Row], items: Iterable[Item], options: Options) -> None:
    """Writes OUT/annotations anew: a page for each canvas with a known and probable answer.

    Args:
        rows: the answers.
        items: the pictures of the rows, in the same order.
        options: see `Options`; its canvases are the targets.
    """
    counts = Counter(dict.fromkeys((_WRITTEN, _BELOW, _WITHOUT), 0))
    options.out.mkdir(parents=True, exist_ok=True)
    folder = options.out / FOLDER
    with explain_disk_errors("cannot write annotations into", folder), replacing(folder) as draft:
        shutil.rmtree(draft, ignore_errors=True)  # of a call that was killed
        draft.mkdir()
        with (draft / INDEX).open("w", encoding="utf-8", newline="") as file:
            index = csv.writer(file, lineterminator="\n")
            index.writerow(("canvas", "page", "file"))
            for row, item in zip(rows, items, strict=True):
                canvases = options.canvases.get(item.file, ())
                if not canvases or not is_written(row, options):
                    counts[_BELOW if canvases else _WITHOUT] += 1
                for canvas in canvases if is_written(row, options) else ():
                    index.writerow((canvas, _write_page(draft, canvas, row, options), item.file))
                    counts[_WRITTEN] += 1
    log(f"annotation pages: {numbers(counts)}")


def _write_page(folder: Path, canvas: str, row: Row, options: Options) -> str:
    """Writes the page of a canvas; returns the name of its file."""
    page = annotation_page(canvas, row, options)
    path = folder / f"{page['id'].removeprefix('urn:uuid:')}.json"
    path.write_text(
        json.dumps(page, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", newline="\n"
    )
    return path.name


def annotation_page(canvas: str, row: Row, options: Options) -> dict[str, Any]:
    """Returns the page of a canvas: the class as a tag, and the URI of its term if it has one.

    The ids of the canvas and of the term are as they are given, letter by letter.
    """
    label = options.label(row.class_name)
    shown = f"{label}, probability {in_decimals(probability(row))}"
    tag = {"type": "TextualBody", "value": label, "purpose": "tagging", "format": "text/plain"}
    annotations = [_annotation(canvas, "tagging", tag, shown)]
    term = options.terms.get(row.class_name)
    if term is not None:  # by itself, since viewers show each body of a tagging as a tag
        body = {"type": "SpecificResource", "source": term.uri}
        annotations.append(_annotation(canvas, "classifying", body, shown))
    return {
        "@context": _CONTEXT,
        "id": _id(canvas, "page"),
        "type": "AnnotationPage",
        "label": {"en": [f"{options.software}, weights {options.model}, {options.date}"]},
        "items": annotations,
    }


def _annotation(canvas: str, motivation: str, body: dict[str, str], label: str) -> dict[str, Any]:
    return {
        "id": _id(canvas, motivation),
        "type": "Annotation",
        "label": {"en": [label]},
        "motivation": motivation,
        "body": body,
        "target": canvas,
    }


def _id(canvas: str, what: str) -> str:
    """Returns an id that is always the same for a canvas; no address is made up."""
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{canvas} {what}')}"
