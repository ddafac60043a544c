"""A folder of images: one folder for each class, or a metadata.csv beside the images."""

import csv
import dataclasses
import difflib
import functools
import os
import posixpath
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from dkse_jax.data.decode import decode_image
from dkse_jax.data.sources import Source
from dkse_jax.data.splits import SPLITS, assign_splits
from dkse_jax.errors import UserError, nearest

_METADATA = "metadata.csv"
_SUFFIXES = frozenset(
    (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
)
_SPLIT_OF_CELL = {"train": "train", "val": "val", "validation": "val", "test": "test"}


@dataclasses.dataclass(frozen=True, slots=True)
class _Example:
    id: str  # the path relative to the root, with "/" between its parts, in NFC
    path: str
    label: str
    group: str
    split: str  # "" where none is given


def load_folder(root: str, seed: int, val_percent: float, test_percent: float) -> dict[str, Source]:
    """The splits of a folder of images; only file names and metadata.csv are read here.

    The folder has either one folder of images for each class (images in folders deeper down
    count too; hidden files and folders do not), or a metadata.csv with the columns file_name and
    label, and optionally group and split (train, val or validation, test).

    Args:
        root: the folder.
        seed: of the hash that assigns the splits, where the folder does not give them.
        val_percent: share of the groups (files, where there are no groups) for val.
        test_percent: likewise for test.

    Returns:
        The sources "train", "val" and "test", over the same class names; their examples are
        sorted by id, which is the path relative to the root.

    Raises:
        UserError: names the first thing that is wrong with the folder.
    """
    root = _check_root(root)
    files, folders = _scan(root)
    examples = _list_examples(root, files, folders)
    if _METADATA not in files:
        _check_class_folders(root, folders, examples)
    class_names = tuple(sorted({example.label for example in examples}))
    if len(class_names) < 2:
        raise UserError(f'"{root}" has only the class "{class_names[0]}"; at least 2 are needed')
    if examples[0].split:
        split_of = _check_given_splits(root, class_names, examples)
    else:
        classes_of_group: dict[str, set[str]] = {}
        for example in examples:
            classes_of_group.setdefault(example.group, set()).add(example.label)
        split_of = assign_splits(classes_of_group, seed, val_percent, test_percent)
    return {
        split: _make_source(class_names, [e for e in examples if split_of[e.group] == split])
        for split in SPLITS
    }


def load_all(root: str, class_names: Sequence[str]) -> Source:
    """Every image of a folder, whatever its split, labelled in the class order of the weights.

    Raises:
        UserError: as load_folder, or the folder has a class that is not among class_names.
    """
    root = _check_root(root)
    examples = _list_examples(root, *_scan(root))
    names = tuple(_nfc(name) for name in class_names)
    for example in examples:
        if example.label not in names:
            raise UserError(
                f'"{root}" has the class "{example.label}", which the weights do not know'
                + nearest(example.label, names)
            )
    return _make_source(names, examples)


def _make_source(class_names: tuple[str, ...], examples: Sequence[_Example]) -> Source:
    label_of = {name: label for label, name in enumerate(class_names)}
    return Source(
        class_names=class_names,
        ids=tuple(example.id for example in examples),
        labels=np.array([label_of[example.label] for example in examples], np.int32),
        groups=tuple(example.group for example in examples),
        read=functools.partial(_read, tuple(example.path for example in examples)),
    )


def _read(paths: Sequence[str], index: int, min_side: int | None) -> np.ndarray:
    return decode_image(paths[index], min_side)


def _list_examples(root: str, files: Mapping[str, str], folders: Iterable[str]) -> list[_Example]:
    """Every example under the root, sorted by id; at least one."""
    if _METADATA in files:
        examples = _read_metadata(files)
    else:
        examples = _read_class_folders(root, files, folders)
    if not examples:
        raise UserError(f'"{root}" has no images ({", ".join(sorted(_SUFFIXES))})')
    return sorted(examples, key=lambda example: example.id)


def _check_root(root: str) -> str:
    """The root, "~" expanded, which must be a folder."""
    if not root:
        raise UserError("data.root is empty: it must name the folder of the images")
    root = os.path.expanduser(root)
    if os.path.isdir(root):
        return root
    if os.path.lexists(root):
        raise UserError(f'"{root}" is not a folder')
    parent, name = os.path.split(os.path.abspath(root))
    while not os.path.isdir(parent):
        parent, name = os.path.split(parent)
    siblings = [entry for entry in os.listdir(parent) if not entry.startswith(".")]
    raise UserError(
        f'the folder "{root}" does not exist: "{parent}" has no "{name}"' + _close(name, siblings)
    )


def _scan(root: str) -> tuple[dict[str, str], set[str]]:
    """The paths of all visible files under the root by id, and the ids of all folders."""
    files: dict[str, str] = {}
    folders: set[str] = set()
    real_root = os.path.realpath(root)
    pending = [("", root)]
    while pending:
        prefix, folder = pending.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            raise UserError(f'the folder "{folder}" cannot be read: {error.strerror}') from error
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name = prefix + _nfc(entry.name)
            if name in files or name in folders:
                raise UserError(f'"{root}" has "{name}" twice, in two Unicode spellings')
            if entry.is_symlink():
                _check_link(entry, real_root)
            if entry.is_dir():
                folders.add(name)
                pending.append((name + "/", entry.path))
            elif entry.is_file():
                files[name] = entry.path
    return files, folders


def _check_link(entry: os.DirEntry[str], real_root: str) -> None:
    target = os.path.realpath(entry.path)
    if os.path.commonpath((target, real_root)) != real_root:
        raise UserError(f'the link "{entry.path}" leads out of the data root, to "{target}"')
    if entry.is_dir():  # what it leads to is found by itself, and it may be a loop
        raise UserError(f'"{entry.path}" is a link to a folder that is under the data root already')


def _read_class_folders(
    root: str, files: Mapping[str, str], folders: Iterable[str]
) -> list[_Example]:
    class_names = sorted(folder for folder in folders if "/" not in folder)
    images = [name for name in files if posixpath.splitext(name)[1].lower() in _SUFFIXES]
    if not class_names and images:
        raise UserError(
            f'"{root}" has images but no class folders; did you mean the folder above it, '
            f'"{os.path.dirname(os.path.abspath(root))}"?'
        )
    if not class_names:
        raise UserError(f'"{root}" has neither class folders nor {_METADATA}')
    for name in class_names:
        if f"{name}/{_METADATA}" in files:
            raise UserError(
                f'"{root}" has no {_METADATA}, but "{name}" has; '
                f'did you mean "{os.path.join(root, name)}"?'
            )
    if all(name.lower() in (*_SPLIT_OF_CELL, "valid") for name in class_names):
        raise UserError(
            f'the folders of "{root}" ({", ".join(class_names)}) are splits, not classes: '
            f"give the splits in the column split of {_METADATA}"
        )
    return [
        _Example(id=name, path=files[name], label=name.split("/")[0], group=name, split="")
        for name in images
        if "/" in name
    ]


def _check_class_folders(root: str, folders: Iterable[str], examples: Iterable[_Example]) -> None:
    class_names = sorted(folder for folder in folders if "/" not in folder)
    if len(class_names) == 1 and len(set(folders)) > 1:
        name = class_names[0]
        raise UserError(
            f'"{root}" has only the class "{name}"; did you mean "{os.path.join(root, name)}"?'
        )
    for name in sorted(set(class_names) - {example.label for example in examples}):
        raise UserError(f'the class folder "{os.path.join(root, name)}" has no images')


def _read_metadata(files: Mapping[str, str]) -> list[_Example]:
    """The examples that metadata.csv lists; images that it does not list are left out."""
    path = files[_METADATA]
    examples: dict[str, _Example] = {}
    row_of: dict[str, int] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            _check_columns(path, reader.fieldnames or ())
            for number, row in enumerate(reader, start=2):  # the header is row 1
                where = f'row {number} of "{path}"'
                example = _read_row(where, row, files)
                if example.id in examples:
                    raise UserError(f'{where} repeats "{example.id}" of row {row_of[example.id]}')
                examples[example.id] = example
                row_of[example.id] = number
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f'"{path}" is not a CSV file in UTF-8: {error}') from error
    return list(examples.values())


def _check_columns(path: str, columns: Sequence[str]) -> None:
    for column in ("file_name", "label"):
        if column not in columns:
            raise UserError(f'"{path}" has no column "{column}"' + nearest(column, columns))
    # A misspelt group or split would be ignored in silence, and test images leak into train.
    others = [column for column in columns if column not in ("file_name", "label")]
    for column in ("group", "split"):
        for other in others:
            if column not in others and difflib.get_close_matches(other.lower(), [column], 1, 0.8):
                raise UserError(f'"{path}" has a column "{other}"; did you mean "{column}"?')


def _read_row(where: str, row: Mapping[str | None, str], files: Mapping[str, str]) -> _Example:
    if None in row:
        raise UserError(f"{where} has more cells than the header")
    if not row["file_name"]:
        raise UserError(f"{where} has no file_name")
    if not row["label"]:
        raise UserError(f"{where} has no label")
    name = _nfc(posixpath.normpath(row["file_name"]))
    if name.startswith(("/", "../")) or name == "..":
        raise UserError(f'{where} names "{row["file_name"]}", which is outside of the data root')
    if name not in files:
        folder, base = posixpath.split(name)
        near = [f for f in files if posixpath.dirname(f) == folder or posixpath.basename(f) == base]
        raise UserError(
            f'{where} names "{row["file_name"]}", which does not exist'
            + _close(name, near or list(files))
        )
    split = ""
    if "split" in row:
        if row["split"] not in _SPLIT_OF_CELL:
            raise UserError(
                f'{where} has the split "{row["split"]}"' + nearest(row["split"], SPLITS)
            )
        split = _SPLIT_OF_CELL[row["split"]]
    group = _nfc(row["group"]) if "group" in row else ""
    return _Example(name, files[name], _nfc(row["label"]), group or name, split)


def _check_given_splits(
    root: str, class_names: Iterable[str], examples: Iterable[_Example]
) -> dict[str, str]:
    """The split of each group, where the user gave splits."""
    split_of: dict[str, str] = {}
    found = set()
    for example in examples:
        split = split_of.setdefault(example.group, example.split)
        if split != example.split:
            raise UserError(
                f'the group "{example.group}" is in both {split} and {example.split}: '
                "a group must be whole, or the test measures memory"
            )
        found.add((example.label, split))
    for name in class_names:
        for split in SPLITS:
            if (name, split) not in found:
                raise UserError(f'the class "{name}" of "{root}" has no images in {split}')
    return split_of


def _close(name: str, choices: Sequence[str]) -> str:
    """As nearest, but without a list of all choices, which may be thousands of files."""
    return nearest(name, difflib.get_close_matches(name, choices, n=1))


_nfc: Callable[[str], str] = functools.partial(unicodedata.normalize, "NFC")
