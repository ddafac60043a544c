"""Tables of texts as people save them: CSV of any usual kind, TSV, JSON Lines, Parquet."""

import codecs
import csv
import difflib
import io
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from dkse_jax.data.names import clean
from dkse_jax.data.splits import Report
from dkse_jax.errors import nearest, refuse
from dkse_jax.files import reason_of
from dkse_jax.text import as_bytes

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
_DELIMITERS = ",;\t|"
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[ \t]*(?:\r\n|\r|\n|\Z)', re.IGNORECASE)  # of Excel
MARKS = (  # UTF-32 first: its mark begins as that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_SAVE = 'save it as "CSV UTF-8"'
_SHOWN = 80  # characters of a cell in a sentence
# What pandas writes for a missing value, and spreadsheets for a formula that fails.
NO_VALUE = re.compile(r"nan|NaN|NaT|<NA>|#(?:N/[AD]|NV|[A-ZÀ-Ý/0]+[!?])")

csv.field_size_limit(2**31 - 1)  # by default, a longer text in any column ends the reading


class Row(NamedTuple):
    """A row of a table: its number as spreadsheets show it, and column -> cell, "" if empty."""

    number: int
    cells: dict[str, str]


def read_table(
    path: str, required: Sequence[str], optional: Sequence[str], report: Report
) -> Iterator[Row]:
    """Yields the rows of a table that are not empty, with the wanted columns that it has.

    Columns are found by their names in any case, also padded with spaces. The delimiter of a text
    file (comma, semicolon, tab or bar) is found by its header or by a first line such as `sep=;`;
    its encoding is UTF-8, or UTF-16 or UTF-32 with a byte order mark.

    Args:
        path: a file with one of SUFFIXES.
        required: the names of columns, in lower case, that must be there.
        optional: the names of columns that may be there.
        report: receives a sentence about each row that cannot be read, which is left out.

    Raises:
        UserError: the file is no such table, lacks a column, or has one that may be misspelt.
    """
    wanted = (*required, *optional)
    if path.lower().endswith(".parquet"):
        columns, rows = _parquet(path, wanted)
    elif path.lower().endswith(".jsonl"):
        columns, rows = _json_lines(path, wanted)
    else:
        columns, rows = _delimited(path, wanted)
    keys = [clean(column).lower() for column in columns]
    _check_columns(path, list(map(clean, columns)), keys, required, optional)
    places = {key: place for place, key in enumerate(keys) if key in wanted}
    for number, row in rows:
        if not any(map(_has_text, row)):
            continue
        if any(map(_has_text, row[len(columns) :])):
            report(f'row {number} of "{path}" has more cells than the header')
            continue
        row = [*row, *[""] * (len(columns) - len(row))]
        cells = {key: _text(row[place]) for key, place in places.items()}
        if broken := [key for key, cell in cells.items() if cell is None]:
            what = f"a {broken[0]} that is no text and no number: write it as text"
            report(f'row {number} of "{path}" has {what}')
            continue
        if wrong := [key for key, cell in cells.items() if NO_VALUE.fullmatch(clean(cell or ""))]:
            what = f'the {wrong[0]} "{cells[wrong[0]]}", written where a value is missing or wrong'
            report(f'row {number} of "{path}" has {what}: correct the cell, or empty it')
            continue
        yield Row(number, {key: cell or "" for key, cell in cells.items()})


def _check_columns(
    path: str,
    columns: Sequence[str],
    keys: Sequence[str],
    required: Sequence[str],
    optional: Sequence[str],
) -> None:
    for column in required:
        if column not in keys:
            choices = nearest(column, filter(None, columns)) or ": it is empty"
            refuse(f'"{path}" has no column "{column}"{choices}')
    for column in (*required, *optional):
        if keys.count(column) > 1:
            refuse(f'"{path}" has the column "{column}" twice')
    # A misspelt optional column would be ignored silently, and test images leak into train.
    for column in set(optional) - set(keys):
        for name, key in zip(columns, keys, strict=True):
            if key not in required and difflib.get_close_matches(key, [column], 1, 0.8):
                refuse(f'"{path}" has a column "{name}"; did you mean "{column}"?')


def _delimited(
    path: str, wanted: Sequence[str]
) -> tuple[list[str], Iterator[tuple[int, Sequence[Any]]]]:
    """Returns the header and the numbered rows of a text file of cells."""
    text, delimiter = _with_delimiter(_decoded(path, wanted), wanted)
    records = _records(path, text, delimiter)
    header = next((cells for _, cells in records if any(map(_has_text, cells))), [])
    return list(header), records


def _with_delimiter(text: str, wanted: Sequence[str]) -> tuple[str, str]:
    """Returns the text from its header on, and the delimiter of its cells."""
    if found := _SEPARATOR_LINE.match(text):
        return text[found.end() :], found[1]
    return text, max(_DELIMITERS, key=lambda one: _fitness(text, one, wanted))


def _fitness(text: str, delimiter: str, wanted: Sequence[str]) -> tuple[int, int]:
    """Returns how many wanted columns, and how many cells, the header has with a delimiter."""
    records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        header = next((cells for cells in records if any(map(_has_text, cells))), [])
    except csv.Error:
        return 0, 0
    return len({clean(cell).lower() for cell in header} & set(wanted)), len(header)


def _records(path: str, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the records of a text, numbered from 1; blank lines count."""
    lines = io.StringIO(text, newline="")
    # Strict: otherwise a quote without an end takes in the rows after it, without an error.
    padded = f'{delimiter} "' in text
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=padded, strict=True)
    for number in itertools.count(1):
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            refuse(
                f'row {number} of "{path}" is no row of a CSV file ({error}): a quote (") must '
                "enclose the whole cell, and be doubled inside it"
            )


def _json_lines(path: str, wanted: Sequence[str]) -> tuple[list[str], Iterator[Any]]:
    """Returns the columns of a file with a JSON object on each line, and its numbered rows."""
    columns: dict[str, None] = {}
    objects: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(re.split(r"\r\n|\r|\n", _decoded(path, wanted)), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            refuse(f'row {number} of "{path}" is not JSON ({error}): write one object on each line')
        if not isinstance(values, dict):
            refuse(f'row {number} of "{path}" is no JSON object, such as {{"file_name": "1.jpg"}}')
        columns.update(dict.fromkeys(values))
        kept = {key: value for key, value in values.items() if clean(key).lower() in wanted}
        objects.append((number, kept))
    names = list(columns)
    return names, ((number, [kept.get(name, "") for name in names]) for number, kept in objects)


def _parquet(path: str, wanted: Sequence[str]) -> tuple[list[str], Iterator[Any]]:
    """Returns the columns of a Parquet file, and its numbered rows."""
    try:
        import pyarrow.parquet
    except ImportError:
        refuse(f'"{path}" can only be read with the package pyarrow: pip install pyarrow')
    try:
        file = pyarrow.parquet.ParquetFile(path)
        names = file.schema_arrow.names
        read = [name for name in names if clean(name).lower() in wanted]
        columns = file.read(columns=read).to_pydict()
    except Exception as error:  # what the reader raises can be anything
        refuse(f'"{path}" is no Parquet file that can be read: {reason_of(error)}')
    # The columns that are not read keep their places in the header, with empty cells.
    cells = [columns.get(name, itertools.repeat("")) for name in names]
    rows = zip(*cells, strict=False) if read else iter(())
    return names, enumerate(rows, start=1)


def _has_text(cell: Any) -> bool:
    return bool(cell) and bool(clean(str(cell)))


def _text(cell: Any) -> str | None:
    """Returns a cell as text, "" for an empty one; None for what is no text and no number."""
    if cell is None or cell != cell:  # a missing number
        return ""
    if not isinstance(cell, str | int | float):
        return None
    text = str(cell)
    try:
        as_bytes(text)
    except UnicodeEncodeError:  # half a character, which JSON can express
        return None
    return text


def _decoded(path: str, wanted: Sequence[str]) -> str:
    """Returns the text of a file; raises UserError if it is not in UTF-8, nor has another mark."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        refuse(f'"{path}" cannot be read: {error.strerror}')
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
    if encoding.startswith("utf-8") and b"\0" in content:  # a workbook, or UTF-16 without a mark
        refuse(f'"{path}" is not text in UTF-8, since it holds zero bytes: {_SAVE}')
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            refuse(f'"{path}" begins as {encoding.upper()}, but is not: {_SAVE}')
        save = "save it in UTF-8" if path.lower().endswith(".jsonl") else _SAVE
        refuse(f"{_code_page(path, content, error.start, wanted)}: {save}")
    if "\0" in text:
        refuse(f'"{path}" is not text, since it holds zero characters: {_SAVE}')
    return text


def _code_page(path: str, content: bytes, place: int, wanted: Sequence[str]) -> str:
    """Returns the beginning of the sentence about a cell that is not UTF-8, at a byte."""
    before = content[:place].decode("latin-1")
    if path.lower().endswith(".jsonl"):
        number = len(re.split(r"\r\n|\r|\n", before))
    else:
        before, delimiter = _with_delimiter(before, wanted)
        number = sum(1 for _ in csv.reader(io.StringIO(before, newline=""), delimiter=delimiter))
    start = max(content.rfind(end, 0, place) for end in b',;\t\r\n"') + 1
    cell = re.split(rb'[,;\t\r\n"]', content[start:], maxsplit=1)[0]
    words = cell.decode("cp1252", "replace").strip()[:_SHOWN]
    return f'row {number} of "{path}" is not UTF-8; in Windows-1252 it would read "{words}"'
