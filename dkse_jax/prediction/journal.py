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
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dkse_jax.console import log
from dkse_jax.files import explain_disk_errors
from dkse_jax.prediction.item import Item
from dkse_jax.prediction.row import Row

FILE = "rows.jsonl"
UNREAD = "unread"  # the stamp of a row whose file could not be opened: it is tried again


class Journal:
    """The rows in one or more files, of which the first is appended to.

    A row belongs to an item if both have the same file and stamp. Memory: 20 bytes a row.

    Args:
        path: of the file that is appended to, in an existing folder.
        others: paths of further files, which are only read.
        retry: whether a file that could not be opened is to be tried again.

    Raises:
        UserError: a file cannot be read or written.
    """

    def __init__(self, path: Path, others: Sequence[Path] = (), *, retry: bool = True):
        self._path, self._retry = path, retry
        keys, places, files = array("Q"), array("Q"), array("I")
        with explain_disk_errors("cannot write", path):
            self._append = path.open("ab", buffering=0)
            self._files = [open(file, "rb") for file in (path, *others)]  # noqa: SIM115
            for number, file in enumerate(self._files):
                damaged, end = 0, 0
                for place, line in _lines(file):
                    row = _row(line)
                    end = place + len(line) if line.endswith(b"\n") else place
                    damaged += row is None and line.endswith(b"\n")
                    if row is not None:
                        keys.append(_key(row.file, row.stamp))
                        places.append(place)
                        files.append(number)
                if number == 0:
                    self._append.truncate(end)
                if damaged:
                    log(f"{damaged} damaged rows in {file.name} are predicted again")
        order = np.argsort(np.array(keys, np.uint64), kind="stable")
        self._keys = np.array(keys, np.uint64)[order]
        self._places = np.array(places, np.uint64)[order]
        self._numbers = np.array(files, np.uint32)[order]

    def __contains__(self, item: Item) -> bool:
        return self._index(item) is not None

    def find(self, item: Item) -> tuple[Row, bool]:
        """Returns the row of an item that is in the journal, and whether it is in its own file."""
        index = self._index(item)
        if index is None:
            raise KeyError(item.file)
        number = int(self._numbers[index])
        with explain_disk_errors("cannot read", Path(self._files[number].name)):
            self._files[number].seek(int(self._places[index]))
            row = _row(self._files[number].readline())
        if row is None or row.file != item.file:
            raise AssertionError(f"another row than that of {item.file}")
        return row, number == 0

    def append(self, rows: Iterable[Row]) -> None:
        """Writes rows; when it returns, they stay whatever happens to the program."""
        rest = b"".join(map(_line, rows))
        with explain_disk_errors("cannot write", self._path):
            while rest:  # a nearly full disk accepts a part, and refuses the next one
                rest = rest[self._append.write(rest) :]

    def close(self) -> None:
        """Waits until the rows are on the disk, and closes the files."""
        with explain_disk_errors("cannot write", self._path):
            os.fsync(self._append.fileno())
        for file in (self._append, *self._files):
            file.close()

    def _index(self, item: Item) -> int | None:
        for stamp in (item.stamp, *(() if self._retry else (UNREAD,))):
            key = np.uint64(_key(item.file, stamp))
            index = int(np.searchsorted(self._keys, key))
            if index < len(self._keys) and self._keys[index] == key:
                return index
        return None


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    place = 0
    for line in file:
        yield place, line
        place += len(line)


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
