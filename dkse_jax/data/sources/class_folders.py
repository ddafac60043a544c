"""Class folders, and folders of splits above class folders."""

import os
import re
from collections import Counter
from collections.abc import Sequence

from dkse_jax.data.formats import SUFFIXES
from dkse_jax.data.names import clean
from dkse_jax.data.sources.example import Example
from dkse_jax.data.sources.left_out import Reason, named, suffix_of
from dkse_jax.data.sources.scanning import Scan
from dkse_jax.data.splits import Report
from dkse_jax.errors import refuse

# The words in the names of folders of splits; those of Hugging Face and a few more.
_WORDS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "tst", "eval", "evaluation"),
}
_SPLIT_OF_WORD = {word: split for split, words in _WORDS.items() for word in words}
_ALIKE = 2  # class folders that two folders have in common, from which they look like splits


def split_of_folder(name: str) -> str:
    """Returns the split that a folder's name means, such as "val" for "02 Validation"; or ""."""
    words = re.findall("[a-z]+", clean(name).lower())
    found = {_SPLIT_OF_WORD[word] for word in words if word in _SPLIT_OF_WORD}
    return found.pop() if len(found) == 1 else ""


def read_class_folders(found: Scan) -> list[Example]:
    """Returns the examples; counts the other files. Folders of splits give the splits.

    Raises:
        UserError: the root is no folder of class folders, or the splits are unclear.
    """
    images = [name for name in found.files if suffix_of(name) in SUFFIXES]
    _check_root_level(found, images)
    splits = _split_folders(found, images)
    depth = 1 if splits else 0  # of the class folders
    examples = []
    for name, path in found.files.items():
        folders = name.split("/")[:-1]
        if suffix_of(name) not in SUFFIXES:
            found.left_out.add(Reason.UNREAD, name)
        elif len(folders) <= depth:
            found.left_out.add(Reason.LOOSE, name)
        else:
            split = splits[folders[0]] if splits else ""
            examples.append(Example(name, path, clean(folders[depth]), group="", split=split))
    for name in sorted(folder for folder in found.folders if folder.count("/") == depth):
        if not clean(name.split("/")[-1]):
            refuse(f'the class folder "{_path(found, name)}" has a name of spaces alone')
    return examples


def check_class_folders(
    found: Scan, examples: Sequence[Example], report: Report, alone: bool
) -> None:
    """Reports the class folders without images; refuses a root that is one folder too high.

    Args:
        found: all files.
        examples: of `read_class_folders`.
        report: receives a sentence about each folder.
        alone: whether the root must hold several classes, since there is no other root.
    """
    if examples[0].split:
        return
    class_names = found.tops()
    if alone and len(class_names) == 1 and len(found.folders) > 1:
        name = class_names[0]
        refuse(f'"{found.root}" has only the class "{name}"; did you mean "{_path(found, name)}"?')
    for name in sorted(set(class_names) - {example.id.split("/")[0] for example in examples}):
        kinds = Counter(suffix_of(file) for file in found.files if file.startswith(f"{name}/"))
        others = f" that are read, but {named(kinds)}" if kinds else ""
        report(f'the class folder "{_path(found, name)}" has no images{others}')


def _check_root_level(found: Scan, images: Sequence[str]) -> None:
    """Raises UserError for a root that has no class folders."""
    if not found.tops() and images:
        refuse(
            f'"{found.root}" has images but no class folders; did you mean the folder above it, '
            f'"{os.path.dirname(os.path.abspath(found.root))}"?'
        )
    if any(".array_record-" in name for name in found.files):
        refuse(
            f'"{found.root}" holds packed records, no images: data.source=records reads them, '
            "and data.source=folder reads the folder that was packed"
        )
    if not found.tops():
        refuse(f'"{found.root}" has neither class folders nor metadata.csv')


def _split_folders(found: Scan, images: Sequence[str]) -> dict[str, str]:
    """Returns the split of each folder in the root that holds images; {} if they are classes."""
    classes_of: dict[str, set[str]] = {}
    for name in images:
        top, *inner = name.split("/")
        if inner:
            classes_of.setdefault(top, set()).update(map(clean, inner[:-1][:1]))
    splits = {top: split for top in sorted(classes_of) if (split := split_of_folder(top))}
    others = sorted(set(classes_of) - set(splits))
    if others and not _are_alike(classes_of, splits):
        return {}
    known = ", ".join(_SPLIT_OF_WORD)
    remedy = f"the known names are {known}; or give the splits in the column split of metadata.csv"
    if others:
        refuse(
            f'the folders of "{found.root}" hold the same class folders, but "{others[0]}" is not '
            f"known as a split: {remedy}"
        )
    if not any(classes_of[top] for top in splits):
        if splits:
            refuse(
                f'the folders of "{found.root}" ({", ".join(splits)}) are splits, not classes: '
                "give the splits in the column split of metadata.csv"
            )
        return {}
    for top in splits:
        if not classes_of[top]:
            refuse(
                f'the folder "{_path(found, top)}" has images but no class folders, which the '
                "other splits have: sort them into class folders, or move them out of the root"
            )
    if len(splits) == 1:
        (top,) = splits
        refuse(f'"{found.root}" has only the split "{top}"; did you mean "{_path(found, top)}"?')
    for top, split in splits.items():
        twin = next(other for other in splits if splits[other] == split)
        if twin != top:
            refuse(
                f'the folders "{twin}" and "{top}" of "{found.root}" both mean {split}: rename '
                "one of them to train, val or test"
            )
    return splits


def _are_alike(classes_of: dict[str, set[str]], splits: dict[str, str]) -> bool:
    """Returns whether a folder of a split's name has class folders in common with another."""
    return any(
        len(classes_of[top] & classes_of[other]) >= _ALIKE
        for top in splits
        for other in classes_of
        if other != top
    )


def _path(found: Scan, name: str) -> str:
    return os.path.join(found.root, name)
