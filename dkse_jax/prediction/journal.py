"""The rows that are on disk: appended batch by batch, found again after any end of the program.

A journal is a file with one line for each row: the CRC-32 of the rest, a blank, and the row as
JSON. A line that was half written, or is damaged, does not exist: its picture is predicted again.
"""

import dataclasses
import hashlib
import json
import os
import zlib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dkse_jax.console import log
from dkse_jax.errors import UserError
from dkse_jax.files import explain_disk_errors
from dkse_jax.prediction.item import Item
from dkse_jax.prediction.row import Row

FILE = "rows.jsonl"
UNREAD = "unread"  # the stamp of a row whose file could not be opened: it is tried again


class Journal:
    """The rows in one or more files, of which the first is appended to.

    A row has an index, and belongs to an item if both have the same file and stamp. Takes 32 bytes
    of memory for each row.

    Args:
        path: of the file that is appended to, in an existing folder.
        others: paths of further files, which are only read.
        retry: whether a file that could not be opened is to be tried again.

    Raises:
        UserError: a file cannot be read or written.
    """

    def __init__(self, path: Path, others: Sequence[Path] = (), *, retry: bool = True):
        self._path, self._retry = path, retry
        self._places, self._numbers = array("Q"), array("I")  # of rows in files, and of the files
        keys = array("Q")
        with explain_disk_errors("cannot write", path):
            self._append = path.open("ab", buffering=0)
            self._files = [open(file, "rb") for file in (path, *others)]  # noqa: SIM115
            for number, file in enumerate(self._files):
                keys.extend(self._indexed(number, file))
        self._order = np.argsort(np.array(keys, np.uint64), kind="stable")
        self._keys = np.array(keys, np.uint64)[self._order]

    def _indexed(self, number: int, file: BinaryIO) -> Iterator[int]:
        """Yields the key of each row of a file; cuts off a half-written line of its own file."""
        place, damaged = 0, 0
        for line in file:
            if not line.endswith(b"\n"):
                break
            if row := _row(line):
                self._places.append(place)
                self._numbers.append(number)
                yield _key(row.file, row.stamp)
            damaged += row is None
            place += len(line)
        if number == 0:
            self._append.truncate(place)
            self._end = place
        if damaged:
            log(f"{damaged} damaged rows in {file.name} are predicted again")

    def index(self, item: Item) -> int:
        """Returns the index of the newest row of an item, -1 without one."""
        for stamp in (item.stamp, *(() if self._retry else (UNREAD,))):
            key = np.uint64(_key(item.file, stamp))
            place = int(np.searchsorted(self._keys, key, side="right")) - 1
            if place >= 0 and self._keys[place] == key:
                return int(self._order[place])
        return -1

    def is_own(self, index: int) -> bool:
        """Returns whether a row is in the file that is appended to."""
        return self._numbers[index] == 0

    def row(self, index: int) -> Row:
        """Reads a row."""
        file = self._files[self._numbers[index]]
        with explain_disk_errors("cannot read", Path(file.name)):
            file.seek(self._places[index])
            row = _row(file.readline())
        if row is None:
            raise UserError(f"{file.name} changed while it was read; start again")
        return row

    def append(self, rows: Sequence[Row]) -> list[int]:
        """Writes rows and returns their indices; they then stay whatever happens to the program."""
        lines = [_line(row) for row in rows]
        rest = b"".join(lines)
        with explain_disk_errors("cannot write", self._path):
            while rest:  # a nearly full disk accepts a part, and refuses the next one
                rest = rest[self._append.write(rest) :]
        first = len(self._places)
        for line in lines:
            self._places.append(self._end)
            self._numbers.append(0)
            self._end += len(line)
        return list(range(first, len(self._places)))

    def close(self) -> None:
        """Waits until the rows are on the disk, and closes the files."""
        with explain_disk_errors("cannot write", self._path):
            os.fsync(self._append.fileno())
        for file in (self._append, *self._files):
            file.close()


def _key(file: str, stamp: str) -> int:
    text = f"{file}\0{stamp}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _line(row: Row) -> bytes:
    text = json.dumps(list(dataclasses.astuple(row)), separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _row(line: bytes) -> Row | None:
    """Returns the row of a line; None of a half-written or damaged one."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
        return None
    file, status, class_name, probabilities, known, names, note, stamp = json.loads(text)
    cells = file, status, class_name, tuple(probabilities), known, tuple(names), note, stamp
    return Row(*cells)
