"""Listing of a folder of images: the examples of its class folders or of its metadata.

Mistakes go to a `Report`. It may raise (`errors.refuse`), which ends the listing, or collect them,
and the listing continues without the example concerned.
"""

import dataclasses
import difflib
import os
import posixpath
import re
from collections.abc import Collection, Iterable, Sequence

from dkse_jax.data.formats import SUFFIXES
from dkse_jax.data.formats.suffixes import PICTURE_SUFFIXES
from dkse_jax.data.sources.class_folders import (
    check_class_folders,
    check_rows,
    read_class_folders,
    split_of_folder,
)
from dkse_jax.data.sources.example import Example
from dkse_jax.data.sources.left_out import LeftOut, Reason, suffix_of
from dkse_jax.data.sources.metadata import disagreement, is_table, read_tables
from dkse_jax.data.sources.scanning import Scan, scan
from dkse_jax.data.splits import Report
from dkse_jax.errors import UserError, nearest, refuse
from dkse_jax.files import expanded
from dkse_jax.text import plain_text

_STEM = re.compile(r"(^|/)metadata\.\w+$", re.IGNORECASE)
_LIKE = re.compile(
    r"(^|/)metadata(\.\w+$|[^/]*\.(csv|tsv|jsonl|parquet|xlsx?|ods)\b)", re.IGNORECASE
)


@dataclasses.dataclass(frozen=True)
class Listing:
    """What is found under a root.

    Attributes:
        examples: sorted by id.
        given: what gives their splits, such as "metadata.csv"; "" if nothing does.
        left_out: the files that are no examples.
        notes: lines on how the examples were found.
        troubles: lines on what may be wrong, beside what `left_out` has.
    """

    examples: Sequence[Example]
    given: str
    left_out: LeftOut
    notes: Sequence[str] = ()
    troubles: Sequence[str] = ()

    def remarks(self) -> tuple[str, ...]:
        """Returns lines on what was found besides the examples."""
        return (*self.left_out.troubles(), *self.troubles, *self.notes, *self.left_out.others())


def list_root(
    root: str, report: Report, check_folders: bool = False, alone: bool = True
) -> Listing:
    """Lists every example under the root; at least one.

    Args:
        root: the folder.
        report: receives a sentence about each example that is left out.
        check_folders: whether to report class folders without images.
        alone: whether the root must hold several classes.

    Raises:
        UserError: nothing can be listed.
    """
    root = check_root(root)
    found = scan(root, report)
    tables = _tables(found)
    notes: list[str] = []
    if tables:
        examples, named, notes = read_tables(found, tables, report)
        _count_others(found, examples, named, tables)
    else:
        if not found.files and any(why is Reason.REFUSED for why, _ in found.left_out.counts):
            refuse(f'"{root}" has no other files')
        examples, notes = read_class_folders(found)
    if not examples:
        lines = "".join(f"; {line}" for line in found.left_out.troubles())
        names = ", ".join(map(posixpath.basename, tables))
        where = f"in the rows of {names}" if tables else f"({', '.join(sorted(SUFFIXES))})"
        refuse(f'"{root}" has no images {where}{lines}')
    if check_folders and tables:
        check_rows(found, examples, report)
    elif check_folders:
        check_class_folders(found, examples, report, alone)
    given = ""
    if examples[0].split:
        given = " and ".join(sorted(set(map(posixpath.basename, tables)))) or "folders"
    examples = sorted(examples, key=lambda example: example.id)
    unread, troubles = _unread_tables(found, tables, examples)
    return Listing(examples, given, found.left_out, notes + unread, troubles)


def _tables(found: Scan) -> dict[str, str]:
    """Returns the ids of the tables of metadata to be read -> the split that their folders mean."""
    by_folder: dict[str, list[str]] = {}
    for name in sorted(filter(is_table, found.files)):
        by_folder.setdefault(posixpath.dirname(name), []).append(name)
    if "" in by_folder:
        return dict.fromkeys(_only(found, by_folder[""]), "")
    holding = [folder for folder in found.tops() if folder in by_folder]
    if not holding:
        return {}
    tops = {name.split("/")[0] for name in found.files if suffix_of(name) in SUFFIXES}
    splits = {folder: split_of_folder(folder) for folder in tops.union(holding) & found.folders}
    lacking = sorted(set(splits) - set(holding))
    if not all(splits[folder] for folder in holding):
        roots = ",".join(os.path.join(found.root, folder) for folder in holding)
        name = posixpath.basename(by_folder[holding[0]][0])
        both = f' or one {name} in the root, for "{lacking[0]}" too' if lacking else ""
        refuse(
            f'"{found.root}" has no {name}, but "{holding[0]}" has; did you mean "{roots}"{both}?'
        )
    if lacking:
        refuse(
            f'the folder "{holding[0]}" of "{found.root}" has metadata, but "{lacking[0]}" has '
            "none: give both a metadata.csv, or the root one for all"
        )
    return {_only(found, by_folder[folder])[0]: splits[folder] for folder in holding}


def _only(found: Scan, tables: list[str]) -> list[str]:
    """Returns the table of a folder; raises UserError if it has several."""
    if len(tables) > 1:
        refuse(
            f'"{found.files[tables[0]]}" and "{posixpath.basename(tables[1])}" lie side by side: '
            "remove or rename all but one"
        )
    return tables


def _count_others(
    found: Scan, examples: Iterable[Example], named: Collection[str], tables: Collection[str]
) -> None:
    """Counts the files that are no examples of the tables; `named` are those with a row."""
    listed = {found.file_of(example.id) for example in examples}
    for name in found.files:
        if name in tables:
            found.left_out.add(Reason.TABLE, name)
        elif name not in named:
            found.left_out.add(Reason.UNLISTED, name)
        elif name not in listed:
            found.left_out.add(Reason.REFUSED, name)


def _unread_tables(
    found: Scan, tables: Collection[str], examples: Iterable[Example]
) -> tuple[list[str], list[str]]:
    """Returns a note on tables that are not read, and troubles: they disagree, or are needed."""
    named = _STEM if tables else _LIKE  # a copy beside a table that is read is no trouble
    others = [name for name in found.files if named.search(name) and name not in tables]
    unread = [name for name in sorted(others) if is_table(name)]
    by_id = {example.id: example for example in examples} if unread else {}
    troubles = list(filter(None, (disagreement(found, name, by_id) for name in unread)))
    troubles += [
        f'"{name}" is not read: save it as metadata.csv ("CSV UTF-8"), or rename it'
        for name in sorted(set(others) - set(unread))
        if suffix_of(name) not in PICTURE_SUFFIXES
    ]
    if not unread:
        return [], troubles
    are = "table of metadata is" if len(unread) == 1 else "tables of metadata are"
    first = found.files[unread[0]]
    return [f'{len(unread):,} further {are} not read (first: "{first}")'], troubles


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
    close = difflib.get_close_matches(name, siblings, n=1)
    sentence = f'the folder "{root}" does not exist: "{parent}" has no "{name}"'
    raise UserError(plain_text(sentence + nearest(name, close)))
