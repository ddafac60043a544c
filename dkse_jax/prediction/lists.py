"""Names of files from lists: lines of a text, also of stdin, or a column of a table."""

import codecs
import io
import os
import sys
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from dkse_jax.data.names import clean
from dkse_jax.data.sources import tables
from dkse_jax.data.splits import Report
from dkse_jax.errors import UserError, refuse
from dkse_jax.files import expanded

_HEAD = 2**16  # bytes that show what a list is; longer than a path may be
_COLUMN = "file_name"  # of a table, where none is named; as in metadata.csv
_SINGLE = 8  # names of one character, which nobody has in a row


def names_of(spelling: str, report: Report) -> Iterator[str]:
    """Yields the names that a list holds, unchanged, without empty ones.

    Args:
        spelling: FILE or FILE:COLUMN, of a table, or "-" for stdin. A text has one name on each
            line, or names that end with a zero byte, as `find -print0` writes them.
        report: receives a sentence about each row of a table that cannot be read.

    Raises:
        UserError: the list cannot be read.
    """
    if spelling == "-":
        if sys.stdin is None or sys.stdin.isatty():
            refuse('"-" reads a list of files from a pipe, as in: find scans -type f | ...')
        yield from _from_text(sys.stdin.buffer, "stdin")
        return
    path, column = split_column(spelling)
    if path.lower().endswith(tables.SUFFIXES):
        yield from _from_table(path, column, report)
        return
    if column:
        refuse(f'"{path}" is no table ({", ".join(tables.SUFFIXES)}), but "{column}" is a column')
    try:
        with open(path, "rb") as file:
            yield from _from_text(file, path)
    except OSError as error:
        refuse(f'the list "{path}" cannot be read: {error.strerror}')


def split_column(spelling: str) -> tuple[str, str]:
    """Returns the file and the column of FILE:COLUMN; "" for the column where none is named."""
    path = expanded(spelling)
    if os.path.lexists(path) or ":" not in path:
        return path, ""
    file, _, column = path.rpartition(":")
    return (file, column) if os.path.lexists(file) else (path, "")


def _from_table(path: str, column: str, report: Report) -> Iterator[str]:
    key = clean(column).lower() or _COLUMN
    try:
        for row in tables.read_table(path, (key,), (), report):
            yield row.cells[key]
    except UserError as error:
        if column or "has no column" not in str(error):
            raise
        refuse(f"{error}; name the column of the files: --list={path}:COLUMN")


def _from_text(file: BinaryIO, path: str) -> Iterator[str]:
    head = file.read(_HEAD)
    if head.startswith(b"PK\3\4"):
        refuse(f'the list "{path}" is a workbook or an archive: save it as "CSV UTF-8"')
    encoding = next((name for mark, name in tables.MARKS if head.startswith(mark)), "utf-8")
    zeros = b"\0" in head and encoding.startswith("utf-8")
    chunks = _chunks(head, file)
    if zeros and max(map(len, head.removeprefix(codecs.BOM_UTF8).split(b"\0")[:_SINGLE])) < 2:
        refuse(f'the list "{path}" is UTF-16 without a mark: save it in UTF-8')
    decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
    try:
        texts = (decoder.decode(chunk, final=not chunk) for chunk in chunks)
        yield from filter(str.strip, _split(texts, "\0" if zeros else None))
    except UnicodeError:
        refuse(f'the list "{path}" begins as {encoding.upper()}, but is not: save it in UTF-8')


def _chunks(head: bytes, file: BinaryIO) -> Iterator[bytes]:
    """Yields the content of a file whose head is read, and b"" at its end."""
    yield head
    while chunk := file.read(_HEAD):
        yield chunk
    yield b""


def _split(texts: Iterable[str], end: str | None) -> Iterator[str]:
    """Yields the parts of a text that end with `end`, or with any usual end of a line."""
    lines = io.IncrementalNewlineDecoder(None, translate=end is None)
    rest = ""
    for text in texts:
        *whole, rest = (rest + lines.decode(text)).split(end or "\n")
        yield from whole
    yield from (rest + lines.decode("", final=True)).split(end or "\n")
