"""The formats of the table of predictions, and the two that libraries write at the end."""

import importlib.util
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import batched
from pathlib import Path
from typing import Any

from dkse_jax.errors import UserError, nearest
from dkse_jax.prediction.row import DECIMALS, Row
from dkse_jax.prediction.tables import Cell, cells, columns, numbers
from dkse_jax.text import plain_text

PACKAGES = {"csv": "", "jsonl": "", "parquet": "pyarrow", "xlsx": "xlsxwriter"}
SHEET_ROWS = 1_048_575  # of a sheet of Excel, below the header
_GROUP = 2**13  # rows of a row group of Parquet
_LIKE_ESCAPE = re.compile("_x[0-9A-Fa-f]{4}_")  # as XLSX writes a character that XML has not


def parse_formats(text: str, *, decimal_comma: bool = False) -> tuple[str, ...]:
    """Returns the formats of --format.

    Raises:
        UserError: a format is unknown, or its package is missing.
    """
    formats = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",")))
    for name in formats:
        if name not in PACKAGES:
            raise UserError(f'--format has "{name}"{nearest(name, PACKAGES)}')
        if PACKAGES[name] and importlib.util.find_spec(PACKAGES[name]) is None:
            package = PACKAGES[name]
            raise UserError(f"--format={name} needs {package}: pip install {package}")
    if decimal_comma and "csv" not in formats:
        raise UserError("--decimal-comma is of csv alone: add csv to --format")
    return formats


def write_parquet(path: Path, rows: Iterable[Row], class_names: Sequence[str]) -> None:
    """Writes rows as Parquet: texts, and probabilities as float64."""
    import pyarrow
    import pyarrow.parquet

    types = [pyarrow.string()] * len(columns(class_names))
    for place in numbers(class_names):
        types[place] = pyarrow.float64()
    names = map(plain_text, columns(class_names))
    schema = pyarrow.schema(list(zip(names, types, strict=True)))
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for some in batched(rows, _GROUP):
            lists = zip(*(cells(row, class_names) for row in some), strict=True)
            arrays = [pyarrow.array(c, t) for c, t in zip(lists, types, strict=True)]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))


def write_xlsx(path: Path, rows: Callable[[], Iterable[Row]], class_names: Sequence[str]) -> None:
    """Writes rows as XLSX: all texts as text, on further sheets where one has no room for them.

    Args:
        path: of the new file.
        rows: returns the rows; called twice.
        class_names: the names of the classes.

    Raises:
        UserError: a cell that XLSX has no room for.
    """
    import xlsxwriter

    # Little memory needs strings that are not shared, in which openpyxl leaves escapes as they are.
    escaped = any(
        _LIKE_ESCAPE.search(cell)
        for row in rows()
        for cell in cells(row, class_names)
        if isinstance(cell, str)
    )
    head = [plain_text(name) for name in columns(class_names)]
    escaped = escaped or any(map(_LIKE_ESCAPE.search, head))
    with xlsxwriter.Workbook(path, {"constant_memory": not escaped}) as book:
        form = book.add_format({"num_format": "0." + "0" * DECIMALS})
        for number, row in enumerate(rows()):
            place = number % SHEET_ROWS
            if place == 0:
                sheet = _sheet(book, head)
            for column, value in enumerate(cells(row, class_names)):
                _write(sheet, place + 1, column, value, form)


def _sheet(book: Any, head: Sequence[str]) -> Any:
    """Adds a sheet with the header, which stays in view."""
    sheet = book.add_worksheet()
    sheet.freeze_panes(1, 0)
    for column, name in enumerate(head):
        _write(sheet, 0, column, name, None)
    return sheet


def _write(sheet: Any, row: int, column: int, value: Cell, form: Any) -> None:
    """Writes a cell; xlsxwriter reports a cell that has no room by a number alone."""
    if value is None:
        return
    if isinstance(value, str):
        code = sheet.write_string(row, column, value)
    else:
        code = sheet.write_number(row, column, value, form)
    if code:
        raise UserError(
            f"row {row + 1} has a cell that XLSX has no room for; use --format=csv,parquet"
        )
