"""The pictures of all inputs in order, of which an `Item` is made when it is asked for."""

import dataclasses
import functools
import os
import posixpath
import stat
from array import array
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

from dkse_jax.data.decode import read_image_file
from dkse_jax.data.names import nfc, split_page
from dkse_jax.data.splits import Report
from dkse_jax.prediction.archives import Archive
from dkse_jax.prediction.item import Item
from dkse_jax.prediction.texts import Texts


@dataclasses.dataclass(frozen=True)
class Place:
    """Where pictures are: a folder or an archive.

    Attributes:
        folder: the absolute path; "" where names are absolute paths.
        archive: in its stead, or None.
        prefix: what ids of an archive's members begin with.
        reason: why none of its pictures can be read; "" if they can.
    """

    folder: str = ""
    archive: Archive | None = None
    prefix: str = ""
    reason: str = ""


@dataclasses.dataclass
class Entries:
    """The place and the name of each picture, in little memory.

    Attributes:
        places: all of them.
        place_of: the index of an entry's place.
        names: an entry's name in its place, with #n of page n > 1.
        root: the absolute path to which ids are relative.
    """

    places: list[Place] = dataclasses.field(default_factory=list)
    place_of: array = dataclasses.field(default_factory=lambda: array("H"))
    names: Texts = dataclasses.field(default_factory=Texts)
    root: str = ""

    def place(self, place: Place) -> int:
        """Returns the index of a place, which is added if it is new."""
        if place not in self.places:
            self.places.append(place)
        return self.places.index(place)

    def add(self, place: int, name: str) -> None:
        """Adds an entry."""
        self.place_of.append(place)
        self.names.append(name)

    def id(self, index: int) -> str:
        """Returns the id of an entry: see `Item.file`."""
        place, name = self.places[self.place_of[index]], self.names[index]
        if place.archive:
            return place.prefix + name
        return nfc(_relative(os.path.join(place.folder, name), self.root))

    def item(self, index: int) -> Item:
        """Returns the item of an entry; a file is looked at now."""
        place, name, full = self.places[self.place_of[index]], self.names[index], self.id(index)
        if place.archive:
            return place.archive.item(name, full)
        path, page = os.path.join(place.folder, name), 1
        if "#" in name and not os.path.lexists(path):
            path, page = split_page(path)
        stamp, reason = _look(path)
        read = functools.partial(read_image_file, path, full)
        return Item(full, path, read, stamp, page, place.reason or reason)


class Items(Sequence[Item]):
    """The items of entries, made when they are asked for; a slice is of the same entries.

    Args:
        entries: all of them.
        indices: of those that have an item.
    """

    def __init__(self, entries: Entries, indices: "range | np.ndarray"):
        self._entries = entries
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> "Items": ...

    def __getitem__(self, index: int | slice) -> "Item | Items":
        if isinstance(index, slice):
            return Items(self._entries, self._indices[index])
        return self._entries.item(int(self._indices[index]))

    def __iter__(self) -> Iterator[Item]:
        return (self._entries.item(int(index)) for index in self._indices)

    def ids(self) -> Iterator[str]:
        """Yields the id of each item, without a look at its file."""
        return (self._entries.id(int(index)) for index in self._indices)


def distinct(entries: Entries, report: Report) -> "tuple[range | np.ndarray, list[str]]":
    """Finds the entries whose id no entry before them has.

    Args:
        entries: all of them.
        report: receives a sentence about each entry that has the id of another file.

    Returns:
        Their indices in order, and the ids of those that name a file again.
    """
    count = len(entries.names)
    hashes = np.fromiter((hash(entries.id(i)) for i in range(count)), np.int64, count)
    order = np.argsort(hashes, kind="stable")
    alike = hashes[order[1:]] == hashes[order[:-1]]
    if not alike.any():
        return range(count), []
    suspicious = np.unique(np.concatenate([order[1:][alike], order[:-1][alike]]))
    first: dict[str, int] = {}
    kept = np.ones(count, bool)
    again = []
    for index in suspicious.tolist():
        other = first.setdefault(entries.id(index), index)
        if other == index:
            continue
        kept[index] = False
        one, two = (_where(entries, i) for i in (other, index))
        if one == two:
            again.append(entries.id(index))
        else:
            report(f'"{one}" and "{two}" have one name, "{entries.id(index)}": rename one of them')
    return np.flatnonzero(kept), again


def _where(entries: Entries, index: int) -> str:
    place, name = entries.places[entries.place_of[index]], entries.names[index]
    return os.path.join(place.archive.path if place.archive else place.folder, name)


def _relative(path: str, root: str) -> str:
    """Returns a path relative to a folder above it, or else without the root of its disk."""
    start = root.rstrip(os.sep) + os.sep
    if path.startswith(start):
        return path[len(start) :].replace(os.sep, "/")
    return posixpath.normpath("/" + path.replace(os.sep, "/")).lstrip("/")


def _look(path: str) -> tuple[str, str]:
    """Returns the stamp of a file, and the reason why it cannot be read; either is ""."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return "", "it does not exist"
    except (OSError, ValueError) as error:  # a ValueError of a name that no file can have
        return "", (error.strerror if isinstance(error, OSError) else "") or "no file has its name"
    if stat.S_ISDIR(status.st_mode):
        return "", "it is a folder, not a file"
    if not stat.S_ISREG(status.st_mode):
        return "", "it is not a file"
    return f"{status.st_size}-{status.st_mtime_ns}", ""
