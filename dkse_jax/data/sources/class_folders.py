"""Class folders, and folders of splits above class folders."""

import os
import re
from collections import Counter
from collections.abc import Collection, Sequence

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
# Also "labels.csv.gz", and "labels.csv.txt" of a computer that hides suffixes.
_TABLE = re.compile(r"\.(csv|tsv|jsonl|parquet|xlsx?|ods|numbers|mer)(\.\w+)?$", re.IGNORECASE)
_SPLIT_OF_WORD = {word: split for split, words in _WORDS.items() for word in words}
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")  # between the words of "TrainImages"
_WORD = re.compile(r"[^\W\d_]+")
_ENDING = re.compile("(set|data)$")
_ALIKE = 2  # class folders that two folders have in common, from which they look like splits


def split_of_folder(name: str) -> str:
    """Returns the split that a folder's name means, such as "val" for "02 Validation"; or ""."""
    words = _WORD.findall(_CAMEL.sub(" ", clean(name)))
    roots = (_ENDING.sub("", word.lower()) for word in words)
    found = {_SPLIT_OF_WORD[root] for root in roots if root in _SPLIT_OF_WORD}
    return found.pop() if len(found) == 1 else ""


def read_class_folders(found: Scan) -> tuple[list[Example], list[str]]:
    """Returns the examples, and notes on what was taken for classes; counts the other files.

    Folders of splits give the splits.

    Raises:
        UserError: the root is no folder of class folders, or the splits are unclear.
    """
    images = [name for name in found.files if suffix_of(name) in SUFFIXES]
    _check_root_level(found, images)
    classes_of = _classes_of(images)
    splits = _split_folders(found, classes_of)
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
    notes = [
        f'"{found.files[name]}" is not read: only a table named metadata gives labels'
        for name in _other_tables(found)
        if not name.lower().startswith("metadata")  # which the listing reports
    ]
    return examples, notes if splits else notes + _notes(classes_of)


def _notes(classes_of: dict[str, set[str]]) -> list[str]:
    """Returns notes on folders that are taken for classes, but may be splits."""
    if not classes_of:
        return []
    first, *others = classes_of.values()
    notes = [
        f'the folder "{top}" is taken for a class, not for a split'
        for top in sorted(classes_of)
        if clean(top).lower() in _SPLIT_OF_WORD
    ]
    if len(first) >= _ALIKE and others and all(one == first for one in others):
        inner = ", ".join(sorted(first)[:3])
        tops = ", ".join(f'"{top}"' for top in sorted(classes_of)[:3])
        notes.append(
            f"the class folders ({tops}, {len(classes_of):,} in all) have the same folders inside "
            f"({inner}, {len(first):,} in all): if they are splits, name them train, val and test"
        )
    return notes


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
    name = class_names[0]
    if alone and len(class_names) == 1:
        inner = f'; did you mean "{_path(found, name)}"?' if len(found.folders) > 1 else ""
        if remedy := _or_table(found) + inner:
            refuse(f'"{found.root}" has only the class "{name}"{remedy}')
    inner_splits = {split_of_folder(e.id.split("/")[1]) for e in examples if e.id.count("/") > 1}
    if are_paired(inner_splits):
        report(
            f'the class folders of "{found.root}" hold folders of splits, which are no splits '
            "there: put splits above classes (train/ink, test/ink), or give them in the column "
            "split of metadata.csv"
        )
    for name in sorted(set(class_names) - {example.id.split("/")[0] for example in examples}):
        kinds = Counter(suffix_of(file) for file in found.files if file.startswith(f"{name}/"))
        others = f" that are read, but {named(kinds)}" if kinds else ""
        report(
            f'the class folder "{_path(found, name)}" has no images{others}: remove it, or move it '
            "out of the root"
        )


def _check_root_level(found: Scan, images: Sequence[str]) -> None:
    """Raises UserError for a root that has no class folders."""
    if not found.tops() and images:
        above = os.path.dirname(os.path.abspath(found.root))
        remedy = _or_table(found) or f'; did you mean the folder above it, "{above}"?'
        refuse(f'"{found.root}" has images but no class folders{remedy}')
    if any(".array_record-" in name for name in found.files):
        refuse(
            f'"{found.root}" holds packed records, no images: data.source=records reads them, '
            "and data.source=folder reads the folder that was packed"
        )
    if not found.tops():
        refuse(f'"{found.root}" has neither class folders nor metadata.csv')


def _other_tables(found: Scan) -> list[str]:
    """Returns the names of the tables in the root, which are not read."""
    return [name for name in sorted(found.files) if "/" not in name and _TABLE.search(name)]


def _or_table(found: Scan) -> str:
    """Returns the end of a sentence about a table in the root that is not read; "" without one."""
    tables = " or ".join(f'"{name}"' for name in _other_tables(found)[:3])
    if not tables:
        return ""
    return (
        f'; if {tables} has the labels, save it as metadata.csv ("CSV UTF-8") with the columns '
        "file_name and label"
    )


def _classes_of(images: Sequence[str]) -> dict[str, set[str]]:
    """Returns the names of the folders with images in each folder of the root that has images."""
    classes_of: dict[str, set[str]] = {}
    for name in images:
        top, *inner = name.split("/")
        if inner:
            classes_of.setdefault(top, set()).update(map(clean, inner[:-1][:1]))
    return classes_of


def _split_folders(found: Scan, classes_of: dict[str, set[str]]) -> dict[str, str]:
    """Returns the split of each folder in the root that holds images; {} if they are classes."""
    splits = {top: split for top in sorted(classes_of) if (split := split_of_folder(top))}
    others = sorted(set(classes_of) - set(splits))
    paired = are_paired(splits.values())
    if others and not paired and not _are_alike(classes_of, splits):
        return {}
    for top in splits if len(splits) > 1 else ():
        if len(classes_of[top]) == 1 and split_of_folder(*classes_of[top]) == splits[top]:
            (inner,) = classes_of[top]
            refuse(
                f'the folder "{_path(found, top)}" of a split has no class folders but "{inner}": '
                "move what that holds up by one folder"
            )
    if others:
        refuse(
            f'the folders of "{found.root}" look like splits ({", ".join(splits)}), but '
            f'"{others[0]}" is not known as a split: the known names are '
            f"{', '.join(_SPLIT_OF_WORD)}; or move it out of the root, or give the labels, and the "
            "splits in the column split, in a metadata.csv"
        )
    if not any(classes_of[top] for top in splits):
        if splits:
            refuse(
                f'the folders of "{found.root}" ({", ".join(splits)}) are splits, not classes: '
                f"give the splits in the column split of metadata.csv{_or_table(found)}"
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


def are_paired(splits: Collection[str]) -> bool:
    """Returns whether results of `split_of_folder` are those of folders that must be splits."""
    return "train" in splits and not {"val", "test"}.isdisjoint(splits)


def check_rows(found: Scan, examples: Sequence[Example], report: Report) -> None:
    """Reports a table without splits whose files lie in folders of splits.

    Args:
        found: all files.
        examples: of the table.
        report: receives a sentence.
    """
    tops = sorted({example.id.split("/")[0] for example in examples if "/" in example.id})
    of_splits = [top for top in tops if split_of_folder(top)]
    if not examples[0].split and are_paired(set(map(split_of_folder, of_splits))):
        report(
            f'the metadata of "{found.root}" give no splits, but name files in folders of splits '
            f"({', '.join(of_splits)}): add the column split, or rename the folders"
        )


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
