"""Search for the files that the cells of a table name."""

import collections
import difflib
import functools
import os
import posixpath
import re

from dkse_jax.data.names import clean, nfc, split_page
from dkse_jax.data.sources.scanning import Scan
from dkse_jax.errors import UserError, nearest

_SUGGESTIONS = 20  # cells for which a close file name is searched: slow among many files
WINDOWS_ROOT = re.compile("[A-Za-z]:/|//")  # the beginning of an absolute path, with "/" for "\\"


class FileNames:
    """Finds the files that cells name, also in another spelling where only one file fits.

    Spellings differ in case, Unicode form, spaces at the ends and backslashes; or they are absolute
    paths into the root, also of the place where the table was made. Such places must all be one.

    Args:
        found: the files.
        folder: the id of the folder that holds the table, with "/" at its end; "" for the root.
    """

    def __init__(self, found: Scan, folder: str):
        self._found = found
        self._folder = folder
        self._roots = os.path.abspath(found.root), os.path.realpath(found.root)
        self._missing = 0
        self._place = ""  # where the root was when the table was made
        self.named: set[str] = set()  # ids of files
        self.respelt = 0  # number of cells with another spelling
        self.example = ""  # the first of them

    def find(self, cell: str) -> str:
        """Returns the id that a cell names: of a file, or of a page such as "scan.tif#2".

        Raises:
            UserError: there is no such file, or several; without the row, which the caller knows.
        """
        name = self._exact(self._folder + cell) or self._exact(self._folder + cell.strip())
        if not name:
            name = self._respelt(cell)
            self.respelt += 1
            self.example = self.example or f'"{cell}" for "{name}"'
        self.named.add(self._found.file_of(name))
        return name

    def _exact(self, name: str) -> str:
        """Returns the id of a file, or of a page of it, by its relative path; "" without one."""
        name = nfc(posixpath.normpath(name))
        if name in self._found.files:
            return name
        file, page = split_page(name)
        if file not in self._found.files:
            return ""
        return name if page > 1 else file

    def _respelt(self, cell: str) -> str:
        path = cell.strip().replace("\\", "/")
        if WINDOWS_ROOT.match(path) or (path.startswith("/") and not os.path.lexists(path)):
            return self._moved(cell, path)
        root, real_root = self._roots
        full = os.path.normpath(os.path.join(root, self._folder, path))
        exists = os.path.lexists(full)
        places = [(root, full), (real_root, full)]
        places += [(real_root, os.path.realpath(full))] * exists
        for base, target in places:
            if (name := _inside(base, target)) and (found := self._any(cell, name)):
                return found
        name = _inside(root, full)
        if not name:
            raise UserError(f'names "{cell}", which is outside of the data root')
        if exists:
            raise UserError(f'names "{cell}", which is hidden, a folder, or a link out of the root')
        self._missing += 1
        close = self._close(name) if self._missing <= _SUGGESTIONS else ""
        raise UserError(f'names "{cell}", which does not exist{close}')

    def _moved(self, cell: str, path: str) -> str:
        """Returns the file of an absolute path of another machine, by the end of the path."""
        parts = path.split("/")
        for count in range(1, len(parts)):
            tail = "/".join(parts[count:])
            if found := self._any(cell, tail):
                place = "/".join(parts[:count])
                self._place = self._place or place
                if place.lower() != self._place.lower():
                    raise UserError(
                        f'names "{cell}", in "{place}", but rows above lie in "{self._place}": '
                        "write paths relative to the data root"
                    )
                return found
        raise UserError(
            f'names "{cell}", which is outside of the data root: write paths relative to the root'
        )

    def _any(self, cell: str, name: str) -> str:
        return self._exact(name) or self._folded(cell, name)

    def _folded(self, cell: str, name: str) -> str:
        """Returns the only file whose name is equal but for its spelling; "" without one."""
        file, page = split_page(name)
        names = sorted(self._by_key.get(folded(file), []))
        if len(names) > 1:
            raise UserError(f'names "{cell}", of which there are "{names[0]}" and "{names[1]}"')
        return f"{names[0]}#{page}" if names and page > 1 else "".join(names)

    @functools.cached_property
    def _by_key(self) -> dict[str, list[str]]:
        names = collections.defaultdict(list)
        for name in self._found.files:
            names[folded(name)].append(name)
        return dict(names)

    def _close(self, name: str) -> str:
        files = list(self._found.files)
        folder, base = posixpath.split(nfc(name))
        near = [f for f in files if posixpath.dirname(f) == folder or posixpath.basename(f) == base]
        return nearest(name, difflib.get_close_matches(name, near or files, n=1))


def _inside(folder: str, path: str) -> str:
    """Returns the path relative to a folder above it; "" if the folder is not above it."""
    start = folder.rstrip("/") + "/"
    return path[len(start) :] if path.startswith(start) else ""


def folded(name: str) -> str:
    """Returns what the spellings of one file name have in common."""
    return "/".join(clean(part).casefold() for part in name.split("/"))
