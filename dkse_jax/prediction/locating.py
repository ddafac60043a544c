"""Search for the files that lists and manifests name, in little memory."""

import contextlib
import functools
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence

from dkse_jax.data.names import split_page
from dkse_jax.data.sources.file_names import WINDOWS_ROOT, folded


class Locator:
    """Finds files by their names, also in another spelling where only one file fits.

    Spellings differ in case, Unicode form, spaces or quotes at the ends and backslashes; or they
    are absolute paths into one of the roots, of the place where it was when the list was made. Such
    places must all be one. No folder is searched beyond those on the way to a name.

    Args:
        bases: absolute paths of the folders in which relative names are searched, in this order.
        roots: those of them in which the ends of absolute paths are searched too.
    """

    def __init__(self, bases: Sequence[str], roots: Sequence[str] = ()):
        self._bases = tuple(dict.fromkeys(bases))
        self._roots = tuple(roots)
        self._place: str | None = None
        self._by_key = functools.lru_cache(maxsize=16)(_by_key)
        self.respelt = 0  # number of names with another spelling
        self.example = ""  # the first of them

    def find(self, name: str) -> str:
        """Returns the absolute path of a file, with #n of page n > 1; "" where there is none."""
        for base in self._bases:
            if found := _exact(os.path.normpath(os.path.join(base, name))):
                return found
        found = self._respelt(name)
        if found:
            self.respelt += 1
            self.example = self.example or f'"{name}" for "{os.path.basename(found)}"'
        return found

    def tail(self, path: str) -> str:
        """Returns the file in a root that the longest end of a path names; "" without one."""
        parts = path.split("/")
        for count in range(len(parts)):
            for root in self._roots:
                found = self._folded(root, "/".join(parts[count:]))
                if found and not os.path.isdir(found):
                    place = "/".join(parts[:count]).lower()
                    self._place = place if self._place is None else self._place
                    return found if place == self._place else ""
        return ""

    def missing(self, name: str) -> str:
        """Returns the absolute path that a name means which no file has."""
        return os.path.normpath(os.path.join(self._bases[0], _plain(name)))

    def _respelt(self, name: str) -> str:
        path = _plain(name)
        if not path:
            return ""
        if not WINDOWS_ROOT.match(path) or os.path.isabs(path):
            for base in self._bases:
                full = os.path.normpath(os.path.join(base, path))
                if found := _exact(full) or self._folded(*_split_root(full)):
                    return found
        return self.tail(path) if WINDOWS_ROOT.match(path) or path.startswith("/") else ""

    def _folded(self, folder: str, name: str) -> str:
        """Returns the only file below a folder whose name is equal but for its spelling."""
        file, page = split_page(name)
        for part in file.split("/"):
            if os.path.lexists(direct := os.path.join(folder, part)):
                folder = direct
                continue
            names = self._by_key(folder).get(folded(part), ())
            if len(names) != 1:
                return ""
            folder = os.path.join(folder, names[0])
        return f"{folder}#{page}" if page > 1 else folder


def _plain(name: str) -> str:
    name = name.strip()
    if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'":  # of "Copy as path" and shells
        name = name[1:-1]
    return name.replace("\\", "/")


def _split_root(path: str) -> tuple[str, str]:
    drive, root, tail = os.path.splitroot(path)
    return drive + root, tail.replace(os.sep, "/")


def _exact(path: str) -> str:
    if os.path.lexists(path):
        return path
    file, page = split_page(path)
    if file == path or not os.path.lexists(file):
        return ""
    return path if page > 1 else file


def _by_key(folder: str) -> Mapping[str, Sequence[str]]:
    names = defaultdict(list)
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            names[folded(name)].append(name)
    return names
