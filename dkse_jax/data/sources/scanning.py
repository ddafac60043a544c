"""Search of a folder for files: links within it are followed, hidden files are counted."""

import dataclasses
import operator
import os
from collections.abc import Iterator

from dkse_jax.data.names import nfc, split_page
from dkse_jax.data.sources.left_out import LeftOut, Reason
from dkse_jax.data.splits import Report
from dkse_jax.errors import refuse

# What file servers, macOS and Windows keep among the files of their users, in lower case. Names
# that begin with a dot need no list.
_SYSTEM_FILES = "thumbs.db ehthumbs.db ehthumbs_vista.db desktop.ini picasa.ini zbthumbnail.info"
_SYSTEM_FOLDERS = """
    @eadir @tmp @sharebin @recycle #recycle @synoeastream @synoresource @appstore @database
    __macosx $recycle.bin recycle.bin recycler recycled trashbox lost+found
"""
_SYSTEM = frozenset((_SYSTEM_FILES + _SYSTEM_FOLDERS).split()) | {
    *("system volume information", "network recycle bin", "network trash folder"),
    *("temporary items", "thevolumesettingsfolder", "icon\r"),
}
# These are not entered: they hold copies of everything, perhaps hundreds.
_SNAPSHOTS = ("#snapshot", "~snapshot", "@recently-snapshot", ".snapshot", ".snapshots", ".zfs")


@dataclasses.dataclass
class Scan:
    """What a folder holds.

    Attributes:
        root: the folder.
        files: id -> path of each visible file; an id is the path relative to the root, in NFC.
        folders: the ids of all visible folders.
        left_out: the other files.
    """

    root: str
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    folders: set[str] = dataclasses.field(default_factory=set)
    left_out: LeftOut = dataclasses.field(default_factory=LeftOut)

    def tops(self) -> list[str]:
        """Returns the names of the folders in the root, sorted."""
        return sorted(folder for folder in self.folders if "/" not in folder)

    def file_of(self, name: str) -> str:
        """Returns the id of the file that an id is of, which may be a page's."""
        return name if name in self.files else split_page(name)[0]


def scan(root: str, report: Report) -> Scan:
    """Searches a folder and all below it. A link within it is followed, each folder entered once.

    Args:
        root: an existing folder.
        report: receives a sentence about each file and folder that cannot be taken.

    Raises:
        UserError: the folder itself cannot be read.
    """
    found = Scan(root)
    found.files.update(walk(found, report))
    return found


def walk(found: Scan, report: Report) -> Iterator[tuple[str, str]]:
    """Yields (id, path) of each visible file of `scan`; fills the rest of `found`, not its files.

    Memory grows with the number of folders and with the largest folder, not with that of all files.

    Args:
        found: new, of the folder to search.
        report: as of `scan`.

    Raises:
        UserError: as `scan`.
    """
    root = found.root
    real_root = os.path.realpath(root)
    pending = [("", root, real_root)]  # prefix of its ids, path, real path
    links: list[tuple[str, str, str]] = []  # to folders: id, path, real path
    entered: set[str] = set()
    while pending or links:
        if not pending:  # all real folders are entered: they keep their own ids
            name, path, real = links.pop(links.index(min(links)))
            if real in entered:
                found.left_out.add(Reason.LINK, name)
                continue
            found.folders.add(name)
            pending.append((f"{name}/", path, real))
        prefix, folder, real = pending.pop()
        if real in entered:
            continue
        entered.add(real)
        try:
            with os.scandir(folder) as entries:
                # A million entries take three times the memory of their names.
                kinds = ((one.name, None if _is_plain(one) else one) for one in entries)
                ordered = sorted(kinds, key=operator.itemgetter(0), reverse=True)
        except OSError as error:
            mistake = f'the folder "{folder}" cannot be read: {error.strerror}'
            (report if prefix else refuse)(mistake)
            found.folders.discard(prefix[:-1])  # it is not known to be empty
            continue
        spelt = not all(name.isascii() for name, _ in ordered)  # else no two are one in NFC
        names: set[str] = set()
        while ordered:
            base, entry = ordered.pop()
            name = prefix + nfc(base)
            if is_hidden(base):
                _count_hidden(entry, name, found.left_out)
                continue
            if name in names:
                report(f'"{root}" has "{name}" twice, in two Unicode spellings')
                found.left_out.add(Reason.REFUSED, name)
                continue
            if spelt:
                names.add(name)
            if entry is None:
                yield name, os.path.join(folder, base)
            elif mistake := _mistake_of_link(entry, real_root):
                names.discard(name)
                report(mistake)
                found.left_out.add(Reason.REFUSED, name)
            elif entry.is_symlink() and os.path.isdir(entry.path):
                links.append((name, entry.path, os.path.realpath(entry.path)))
            elif not entry.is_symlink() and entry.is_dir():
                found.folders.add(name)
                pending.append((f"{name}/", entry.path, os.path.join(real, entry.name)))
            elif entry.is_symlink() and os.path.isfile(entry.path):
                yield name, entry.path
            else:
                names.discard(name)
                broken = entry.is_symlink() and not os.path.exists(entry.path)
                found.left_out.add(Reason.BROKEN if broken else Reason.SPECIAL, name)


def is_hidden(name: str) -> bool:
    """Returns whether a file or folder is hidden, or of a system, by its name."""
    # "~$" begins the names of Excel's notes on who has a table open.
    return name.startswith((".", "~$")) or name.lower() in _SYSTEM or name.lower() in _SNAPSHOTS


def _is_plain(entry: os.DirEntry[str]) -> bool:
    return not entry.is_symlink() and entry.is_file()


def _count_hidden(entry: os.DirEntry[str] | None, name: str, counts: LeftOut) -> None:
    """Counts a hidden file, or all files of a hidden folder; the entry is None of a plain file."""
    if entry is None or not entry.is_dir(follow_symlinks=False):
        counts.add(Reason.HIDDEN, name)
    elif entry.name.lower() in _SNAPSHOTS:
        counts.add(Reason.SNAPSHOT, name)
    else:
        for folder, _, files in os.walk(entry.path):
            inside = name + nfc(folder.removeprefix(entry.path))
            for file in files:
                counts.add(Reason.HIDDEN, f"{inside}/{nfc(file)}")


def _mistake_of_link(entry: os.DirEntry[str], real_root: str) -> str:
    """Returns the sentence that refuses a link; "" if it may be followed, or is none."""
    if not entry.is_symlink():
        return ""
    target = os.path.realpath(entry.path)
    if os.path.commonpath((target, real_root)) == real_root:
        return ""
    return (
        f'the link "{entry.path}" leads out of the data root, to "{target}": copy the files '
        "there into the root, or list them in the metadata.csv of a root that holds both"
    )
