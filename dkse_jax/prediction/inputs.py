"""The pictures that a command names: folders, files, lists, archives and manifests."""

import dataclasses
import difflib
import os
from collections.abc import Mapping, Sequence

from dkse_jax.data.formats import SUFFIXES
from dkse_jax.data.names import nfc
from dkse_jax.data.sources import tables
from dkse_jax.data.sources.left_out import LeftOut, Reason, suffix_of
from dkse_jax.data.sources.listing import check_root
from dkse_jax.data.sources.scanning import Scan, walk
from dkse_jax.data.splits import Report
from dkse_jax.errors import nearest, refuse
from dkse_jax.files import expanded
from dkse_jax.prediction.archives import open_archive
from dkse_jax.prediction.entries import Entries, Items, Place, distinct
from dkse_jax.prediction.iiif_manifest import read_manifest
from dkse_jax.prediction.lists import names_of, split_column
from dkse_jax.prediction.locating import Locator

_STDIN = "-"
_NOT_FETCHED = "it is not on disk beside the manifest, and nothing is fetched"


@dataclasses.dataclass(frozen=True)
class Listed:
    """What inputs hold.

    Attributes:
        items: in order; an item is made, and its file looked at, when it is asked for.
        left_out: lines on what is not among them.
        roots: the absolute paths to which ids are relative: of a folder, and of archives.
        canvases: file of an item -> the ids of the canvases that show it, letter by letter.
    """

    items: Items
    left_out: Sequence[str]
    roots: Sequence[str]
    canvases: Mapping[str, Sequence[str]]


def list_items(inputs: Sequence[str], lists: Sequence[str], report: Report) -> Listed:
    """Lists pictures: those of folders sorted by id, those of lists in the order of the list.

    Ids are relative to the lowest folder that holds all that is named. With lists or
    manifests, the folders among the inputs are not listed: they are where names are searched, and
    hold all of them.

    Args:
        inputs: folders, files, ZIP archives, IIIF manifests (.json), or "-": a list on stdin.
        lists: text files with a name on each line, or FILE:COLUMN of tables.
        report: receives a sentence about each file and row that cannot be taken.

    Raises:
        UserError: an input does not exist, cannot be read, is not safe to read, or all are empty.
    """
    folders = [os.path.abspath(one) for one in map(expanded, inputs) if os.path.isdir(one)]
    selected = bool(lists) or any(one == _STDIN or _is_manifest(one) for one in inputs)
    listing = _Listing(folders if selected else [], report)
    for one in inputs:
        path = expanded(one)
        if one == _STDIN:
            listing.add_list(one)
        elif os.path.isdir(path):
            if not selected:
                listing.add_folder(os.path.abspath(path))
        elif path.lower().endswith(".zip"):
            listing.add_archive(_existing_file(path))
        elif _is_manifest(path):
            listing.add_manifest(_existing_file(path))
        elif path.lower().endswith((*tables.SUFFIXES, ".txt")):
            refuse(f'"{path}" is no picture: if it lists pictures, name it as --list={path}')
        else:
            listing.add_file(_existing(path))
    for one in lists:
        listing.add_list(one)
    return listing.listed([*inputs, *lists])


def _is_manifest(path: str) -> bool:
    return path.lower().endswith(".json")


def _existing(path: str) -> str:
    """Returns the absolute path; raises UserError if there is none."""
    if not os.path.lexists(path):
        folder, name = os.path.split(path)
        siblings = os.listdir(check_root(folder or "."))
        close = difflib.get_close_matches(name, siblings, n=1)
        refuse(f'"{path}" does not exist{nearest(name, close)}')
    return os.path.abspath(path)


def _existing_file(path: str) -> str:
    """Returns the absolute path; raises UserError for a pipe, of which the end may never come."""
    if os.path.exists(path) and not os.path.isfile(path):
        refuse(f'"{path}" is a pipe, a socket or a device: name a file')
    return _existing(path)


class _Listing:
    """Collects entries.

    Args:
        pinned: folders to which all names of lists belong; [] for any.
        report: as of `list_items`.
    """

    def __init__(self, pinned: Sequence[str], report: Report):
        self._pinned = pinned
        self._real = [(one, base) for one in pinned for base in (one, os.path.realpath(one))]
        self._report = report
        self._entries = Entries()
        self._held: list[str] = []  # at most two: the lowest folder of files found, of others
        self._canvases: dict[int, str] = {}
        self._left_out = LeftOut()
        self._notes: list[str] = []
        self._root = os.path.commonpath(pinned) if pinned else ""
        self._fallback = ""

    def add_folder(self, root: str) -> None:
        """Adds the pictures of a folder, sorted by id."""
        scan = Scan(root)
        start = len(root.rstrip(os.sep)) + 1
        names = []
        for name, path in walk(scan, self._report):
            if suffix_of(name) in SUFFIXES:
                names.append(path[start:])
            else:
                scan.left_out.add(Reason.UNREAD, name)
        names.sort(key=nfc)
        place = self._entries.place(Place(root))
        for name in names:
            self._entries.add(place, name)
        self._hold(root)
        self._left_out.join(scan.left_out, "")
        if not names:
            self._notes.append(f'"{root}" has no pictures')

    def add_file(self, path: str) -> None:
        """Adds a file by its absolute path, with #n of a page; or what is known to be none."""
        reason = ""
        if self._pinned:
            path, inside = self._inside(path)
            root = self._root
            reason = "" if inside else f'it lies outside of "{root}", which was named'
        self._entries.add(self._entries.place(Place(reason=reason)), path)
        self._hold(os.path.dirname(path))

    def add_list(self, spelling: str) -> None:
        """Adds the files that a list names, in its order."""
        where = os.getcwd()
        if spelling != _STDIN:
            where = os.path.dirname(os.path.abspath(split_column(spelling)[0]))
        locator = Locator([*self._pinned, where, os.getcwd()], self._pinned)
        before = len(self._entries.names)
        for name in names_of(spelling, self._report):
            if found := locator.find(name):
                self.add_file(found)
            else:
                self._add_missing(locator.missing(name))
        if len(self._entries.names) == before:
            self._notes.append(f'"{spelling}" names no file')
        self._note_spellings(locator, spelling)

    def add_archive(self, path: str) -> None:
        """Adds the pictures of a ZIP archive, sorted by id."""
        found = LeftOut()
        archive = open_archive(path, SUFFIXES, self._report, found)
        stem = os.path.splitext(os.path.basename(path))[0]
        place = self._entries.place(Place(archive=archive, prefix=f"{nfc(stem)}/"))
        for name in archive.members:
            self._entries.add(place, name)
        self._left_out.join(found, "")
        if not archive.members:
            self._notes.append(f'"{path}" has no pictures')

    def add_manifest(self, path: str) -> None:
        """Adds the pictures of a IIIF manifest, in its order."""
        folder = os.path.dirname(path)
        locator = Locator([folder, *self._pinned], [*self._pinned, folder])
        before = len(self._entries.names)
        for painted in read_manifest(path):
            self._canvases[len(self._entries.names)] = painted.canvas
            found = locator.find(painted.path) if painted.path else ""
            found = found or next(filter(None, map(locator.tail, painted.tails)), "")
            if found:
                self.add_file(found)
            elif painted.path:
                self._add_missing(locator.missing(painted.path))
            else:
                tail = painted.tails[0] if painted.tails else painted.canvas
                self._entries.add(self._entries.place(Place(reason=_NOT_FETCHED)), tail)
        if len(self._entries.names) == before:
            self._notes.append(f'"{path}" has no pictures')
        self._note_spellings(locator, path)

    def listed(self, named: Sequence[str]) -> Listed:
        """Returns what was added; raises UserError if that is nothing."""
        entries, notes = self._entries, self._notes
        if not entries.names:
            lines = "; ".join([*notes, *self._left_out.troubles()])
            refuse(f"there is no picture to predict: {lines or 'nothing is named'}")
        archives = [place.archive.path for place in entries.places if place.archive]
        entries.root = self._root or self._fallback
        if len(entries.places) == len(archives) == 1:
            entries.places = [dataclasses.replace(entries.places[0], prefix="")]
        indices, again = distinct(entries, self._report)
        if again:
            are = "name is" if len(again) == 1 else "names are"
            notes.append(f'{len(again):,} {are} of files named before (first: "{again[0]}")')
        if not self._pinned and not any(map(os.path.isdir, map(expanded, named))) and entries.root:
            notes.append(f'names are relative to "{entries.root}"; name a folder too to choose it')
        canvases: dict[str, list[str]] = {}
        for index, canvas in self._canvases.items():
            canvases.setdefault(entries.id(index), []).append(canvas)
        left_out = [*self._left_out.troubles(), *notes, *self._left_out.others()]
        roots = [root for root in (entries.root, *archives) if root]
        return Listed(Items(entries, indices), left_out, roots, canvases)

    def _add_missing(self, path: str) -> None:
        self._entries.add(self._entries.place(Place()), path)
        self._fallback = _lowest(self._fallback, os.path.dirname(path))

    def _hold(self, folder: str) -> None:
        """Lowers the root, unless folders fix it, to one that holds a folder too."""
        if not self._pinned:
            self._root = _lowest(self._root, folder)

    def _inside(self, path: str) -> tuple[str, bool]:
        """Returns a path as one below a named folder, and whether it is there."""
        for root, base in self._real:
            start = base.rstrip(os.sep) + os.sep
            if path.startswith(start):
                return os.path.join(root, path[len(start) :]), True
        return path, False

    def _note_spellings(self, locator: Locator, where: str) -> None:
        if locator.respelt:
            are = "1 name" if locator.respelt == 1 else f"{locator.respelt:,} names"
            self._notes.append(f'{are} of "{where}" found in another spelling: {locator.example}')


def _lowest(root: str, folder: str) -> str:
    """Returns the lowest folder that holds both; the second where the first is ""."""
    if not root or root == folder or folder.startswith(root.rstrip(os.sep) + os.sep):
        return root or folder
    try:
        return os.path.commonpath((root, folder))
    except ValueError:
        refuse(f'"{root}" and "{folder}" are on two disks: name them in two runs')
