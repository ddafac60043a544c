"""Examples of a table of metadata, in the root or one in each folder of a split."""

import contextlib
import posixpath
from collections.abc import Mapping

from dkse_jax.data.names import check_alike, clean
from dkse_jax.data.sources import tables
from dkse_jax.data.sources.example import Example
from dkse_jax.data.sources.file_names import FileNames
from dkse_jax.data.sources.scanning import Scan
from dkse_jax.data.splits import SPLITS, Report
from dkse_jax.errors import UserError, nearest, refuse

TABLES = frozenset(f"metadata{suffix}" for suffix in tables.SUFFIXES)
_SPLIT_OF_CELL = {"train": "train", "val": "val", "validation": "val", "test": "test"}


def is_table(name: str) -> bool:
    """Returns whether a file is a table of metadata by its name, in any case."""
    return posixpath.basename(name).lower() in TABLES


def read_tables(
    found: Scan, split_of: Mapping[str, str], report: Report
) -> tuple[list[Example], set[str], list[str]]:
    """Reads tables of metadata; file names are relative to the folder of their table.

    Args:
        found: all files.
        split_of: the id of each table -> the split of its folder, or "" for a table that gives the
            splits itself, or none.
        report: receives a sentence about each row that is left out.

    Returns:
        The examples, the ids of all files that rows name, and remarks on how they were found.

    Raises:
        UserError: a table cannot be read, or lacks a column.
    """
    examples: dict[str, Example] = {}
    rows: dict[str, str] = {}  # id -> its row, for sentences
    named: set[str] = set()
    remarks = []
    for table, split in split_of.items():
        path = found.files[table]
        folder = table.removesuffix(posixpath.basename(table))
        names = FileNames(found, folder)
        optional = ("group", "split")
        for row in tables.read_table(path, ("file_name", "label"), optional, report):
            where = f'row {row.number} of "{path}"'
            try:
                example = _example(where, row.cells, found, names, split)
            except UserError as mistake:
                report(str(mistake))
                continue
            if example.id in examples:
                report(f'{where} repeats "{example.id}" of {rows[example.id]}')
                continue
            examples[example.id] = example
            rows[example.id] = where.removesuffix(f' of "{path}"')
        named |= names.named
        if names.respelt:
            number = f"{names.respelt:,} rows" if names.respelt > 1 else "1 row"
            remarks.append(f'{number} of "{path}" found in another spelling: {names.example}')
    groups = dict.fromkeys(e.group for e in examples.values() if e.group)
    check_alike("groups", groups, " and ".join(f'"{found.files[t]}"' for t in split_of), report)
    return list(examples.values()), named, remarks


def _example(
    where: str, cells: Mapping[str, str], found: Scan, names: FileNames, folder_split: str
) -> Example:
    if not clean(cells["file_name"]):
        refuse(f"{where} has no file_name")
    try:
        name = names.find(cells["file_name"])
    except UserError as mistake:
        refuse(f"{where} {mistake}")
    label = clean(cells["label"])
    if not label:
        refuse(f"{where} has no label")
    split = _split(where, cells.get("split"), folder_split)
    group = clean(cells.get("group", ""))
    return Example(name, found.files[found.file_of(name)], label, group, split)


def _split(where: str, cell: str | None, folder_split: str) -> str:
    """Returns the split of a row; "" where neither its cell nor its folder gives one."""
    if cell is None or (folder_split and not clean(cell)):
        return folder_split
    word = clean(cell).lower()
    if word not in _SPLIT_OF_CELL:
        refuse(f'{where} has the split "{cell}"' + nearest(word, SPLITS))
    if folder_split not in ("", _SPLIT_OF_CELL[word]):
        refuse(f'{where} has the split "{cell}", but is in the folder of {folder_split}')
    return _SPLIT_OF_CELL[word]


def disagreement(found: Scan, table: str, examples: Mapping[str, Example]) -> str:
    """Returns a sentence about the first row of a further table that disagrees; "" without one.

    Args:
        found: all files.
        table: the id of a table that gives no example.
        examples: those of the other tables, by id.
    """
    with contextlib.suppress(UserError):
        for one in read_tables(found, {table: ""}, lambda mistake: None)[0]:
            other = examples.get(one.id, one)
            for field in ("label", "group", "split"):
                this, that = getattr(one, field), getattr(other, field)
                if this and that and this != that:
                    return (
                        f'"{table}", which is not read, has the {field} "{this}" of "{one.id}", '
                        f'not "{that}": correct the table that is wrong'
                    )
    return ""
