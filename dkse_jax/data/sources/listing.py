"""Listing of a folder of images: the examples of its class folders or of its metadata.csv.

Mistakes go to a `Report`. It may raise (`errors.refuse`), which ends the listing, or collect them,
and the listing continues without the example concerned.
"""

import csv
import dataclasses
import difflib
import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence

from dkse_jax.data.formats import SUFFIXES
from dkse_jax.data.names import check_alike, clean, nfc
from dkse_jax.data.splits import SPLITS, Report
from dkse_jax.errors import UserError, nearest, refuse
from dkse_jax.files import expanded
from dkse_jax.text import plain_text

METADATA = "metadata.csv"
_SUGGESTIONS = 20  # rows for which a close file name is searched: slow among many files
_SPLIT_OF_CELL = {"train": "train", "val": "val", "validation": "val", "test": "test"}


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """An image file with its label, group and split; the file itself is not read."""

    id: str  # the path relative to the root, with "/" between its parts, in NFC
    path: str
    label: str
    group: str
    split: str  # "" where none is given


def list_examples(
    root: str, files: Mapping[str, str], folders: Iterable[str], report: Report
) -> list[Example]:
    """Lists every example under the root, sorted by id; at least one.

    Args:
        root: the result of `check_root`.
        files: of `scan`.
        folders: of `scan`.
        report: receives a sentence about each example that is left out.

    Raises:
        UserError: nothing can be listed.
    """
    if METADATA in files:
        examples = _read_metadata(files, report)
    else:
        examples = _read_class_folders(root, files, folders)
    if not examples:
        refuse(f'"{root}" has no images ({", ".join(sorted(SUFFIXES))})')
    return sorted(examples, key=lambda example: example.id)


def check_root(root: str) -> str:
    """Returns the root, "~" expanded; raises UserError if it is not a folder."""
    if not root:
        refuse("data.root is empty: it must name the folder of the images")
    root = expanded(root)
    if os.path.isdir(root):
        return root
    if os.path.lexists(root):
        refuse(f'"{root}" is not a folder')
    parent, name = os.path.split(os.path.abspath(root))
    while not os.path.isdir(parent):
        parent, name = os.path.split(parent)
    siblings = [entry for entry in os.listdir(parent) if not entry.startswith(".")]
    sentence = f'the folder "{root}" does not exist: "{parent}" has no "{name}"'
    raise UserError(plain_text(sentence + _close(name, siblings)))


def scan(root: str, report: Report) -> tuple[dict[str, str], set[str]]:
    """Returns the paths of all visible files under the root by id, and the ids of all folders."""
    files: dict[str, str] = {}
    folders: set[str] = set()
    real_root = os.path.realpath(root)
    pending = [("", root)]
    while pending:
        prefix, folder = pending.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            report(f'the folder "{folder}" cannot be read: {error.strerror}')
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name = prefix + nfc(entry.name)
            if name in files or name in folders:
                report(f'"{root}" has "{name}" twice, in two Unicode spellings')
            elif mistake := entry.is_symlink() and _mistake_of_link(entry, real_root):
                report(mistake)
            elif entry.is_dir():
                folders.add(name)
                pending.append((name + "/", entry.path))
            elif entry.is_file():
                files[name] = entry.path
    return files, folders


def _mistake_of_link(entry: os.DirEntry[str], real_root: str) -> str:
    """Returns the sentence that refuses a link; "" if it may be followed."""
    target = os.path.realpath(entry.path)
    if os.path.commonpath((target, real_root)) != real_root:
        return (
            f'the link "{entry.path}" leads out of the data root, to "{target}": copy the files '
            f"there into the root, or list them in the {METADATA} of a root that holds both"
        )
    if entry.is_dir():  # its target is scanned anyway, and the link may be a loop
        return f'"{entry.path}" is a link to a folder that is under the data root already'
    return ""


def _read_class_folders(
    root: str, files: Mapping[str, str], folders: Iterable[str]
) -> list[Example]:
    class_names = sorted(folder for folder in folders if "/" not in folder)
    images = [name for name in files if posixpath.splitext(name)[1].lower() in SUFFIXES]
    if not class_names and images:
        refuse(
            f'"{root}" has images but no class folders; did you mean the folder above it, '
            f'"{os.path.dirname(os.path.abspath(root))}"?'
        )
    if any(".array_record-" in name for name in files):
        refuse(
            f'"{root}" holds packed records, no images: data.source=records reads them, '
            "and data.source=folder reads the folder that was packed"
        )
    if not class_names:
        refuse(f'"{root}" has neither class folders nor {METADATA}')
    for name in class_names:
        if f"{name}/{METADATA}" in files:
            refuse(
                f'"{root}" has no {METADATA}, but "{name}" has; '
                f'did you mean "{os.path.join(root, name)}"?'
            )
    label_of = {name: clean(name) for name in class_names}
    for name, label in label_of.items():
        if not label:
            refuse(f'the class folder "{os.path.join(root, name)}" has a name of spaces alone')
    if all(label.lower() in (*_SPLIT_OF_CELL, "valid") for label in label_of.values()):
        refuse(
            f'the folders of "{root}" ({", ".join(class_names)}) are splits, not classes: '
            f"give the splits in the column split of {METADATA}"
        )
    return [
        Example(name, files[name], label_of[name.split("/")[0]], group=name, split="")
        for name in images
        if "/" in name
    ]


def check_class_folders(
    root: str, folders: Iterable[str], examples: Iterable[Example], report: Report
) -> None:
    """Reports the class folders without images, and a root that is one folder too high."""
    class_names = sorted(folder for folder in folders if "/" not in folder)
    if len(class_names) == 1 and len(set(folders)) > 1:
        name = class_names[0]
        refuse(f'"{root}" has only the class "{name}"; did you mean "{os.path.join(root, name)}"?')
    for name in sorted(set(class_names) - {example.id.split("/")[0] for example in examples}):
        report(f'the class folder "{os.path.join(root, name)}" has no images')


def _read_metadata(files: Mapping[str, str], report: Report) -> list[Example]:
    """Reads the examples of metadata.csv; images that it does not list are left out."""
    path = files[METADATA]
    examples: dict[str, Example] = {}
    row_of: dict[str, int] = {}
    mistakes = 0
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            reader.fieldnames = [clean(column) for column in reader.fieldnames or ()]
            _check_columns(path, reader.fieldnames)
            for number, row in enumerate(reader, start=2):  # the header is row 1
                where = f'row {number} of "{path}"'
                try:
                    example = _read_row(where, row, files, suggest=mistakes < _SUGGESTIONS)
                except UserError as mistake:
                    mistakes += 1
                    report(str(mistake))
                    continue
                if example.id in examples:
                    report(f'{where} repeats "{example.id}" of row {row_of[example.id]}')
                    continue
                examples[example.id] = example
                row_of[example.id] = number
    except (UnicodeDecodeError, csv.Error) as error:
        refuse(f'"{path}" is not a CSV file in UTF-8: {error}')
    given = dict.fromkeys(e.group for e in examples.values() if e.group != e.id)
    check_alike("groups", given, f'"{path}"', report)
    return list(examples.values())


def _check_columns(path: str, columns: Sequence[str]) -> None:
    for column in ("file_name", "label"):
        if column not in columns:
            refuse(f'"{path}" has no column "{column}"' + nearest(column, columns))
    for column in ("file_name", "label", "group", "split"):
        if columns.count(column) > 1:
            refuse(f'"{path}" has the column "{column}" twice')
    # A misspelt group or split column would be ignored silently, and test images leak into train.
    others = [column for column in columns if column not in ("file_name", "label")]
    for column in ("group", "split"):
        for other in others:
            if column not in others and difflib.get_close_matches(other.lower(), [column], 1, 0.8):
                refuse(f'"{path}" has a column "{other}"; did you mean "{column}"?')


def _read_row(
    where: str, row: Mapping[str | None, str], files: Mapping[str, str], suggest: bool
) -> Example:
    if None in row:
        refuse(f"{where} has more cells than the header")
    if not row["file_name"]:
        refuse(f"{where} has no file_name")
    label = clean(row["label"])
    if not label:
        refuse(f"{where} has no label")
    name = nfc(posixpath.normpath(row["file_name"]))
    if name.startswith(("/", "../")) or name == "..":
        refuse(f'{where} names "{row["file_name"]}", which is outside of the data root')
    if name not in files:
        close = _close_file(name, files) if suggest else ""
        refuse(f'{where} names "{row["file_name"]}", which does not exist{close}')
    split = ""
    if "split" in row:
        word = clean(row["split"]).lower()
        if word not in _SPLIT_OF_CELL:
            refuse(f'{where} has the split "{row["split"]}"' + nearest(word, SPLITS))
        split = _SPLIT_OF_CELL[word]
    group = clean(row["group"]) if "group" in row else ""
    return Example(name, files[name], label, group or name, split)


def _close_file(name: str, files: Iterable[str]) -> str:
    folder, base = posixpath.split(name)
    near = [f for f in files if posixpath.dirname(f) == folder or posixpath.basename(f) == base]
    return _close(name, near or list(files))


def _close(name: str, choices: Sequence[str]) -> str:
    """Returns `nearest` without the list of all choices, which may be thousands of files."""
    return nearest(name, difflib.get_close_matches(name, choices, n=1))
