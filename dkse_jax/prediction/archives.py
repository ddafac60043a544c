"""Pictures in a ZIP archive, which is never unpacked."""

import contextlib
import dataclasses
import functools
import os
import posixpath
import stat
import zipfile
import zlib

from dkse_jax.data.decode import BadImage
from dkse_jax.data.names import nfc
from dkse_jax.data.sources.file_names import WINDOWS_ROOT
from dkse_jax.data.sources.left_out import LeftOut, Reason
from dkse_jax.data.sources.scanning import is_hidden
from dkse_jax.data.splits import Report
from dkse_jax.errors import refuse
from dkse_jax.prediction.item import Item
from dkse_jax.text import plain_text

_MAX_MEMBERS = 1_000_000  # an index of them all is in memory
_MAX_BYTES = 2**30  # of a member, which is read as a whole
# (bytes, times): a member larger than both, unpacked and as against its packed size, is a bomb.
# Deflate reaches 1,032 times, of blank pages.
_BOMBS = ((2**20, 2000), (2**26, 200))
_ENCRYPTED = 1
_UTF8 = 0x800


@dataclasses.dataclass(frozen=True)
class Archive:
    """A ZIP archive that is open for reading, also by several threads.

    Attributes:
        path: of the file.
        file: the open archive.
        members: id -> its entry, sorted, of the pictures.
    """

    path: str
    file: zipfile.ZipFile
    members: dict[str, zipfile.ZipInfo]

    def item(self, name: str, full: str) -> Item:
        """Returns the item of a member: see `Item`.

        Args:
            name: of the member.
            full: its id.
        """
        entry = self.members[name]
        stamp = f"{entry.file_size}-{entry.CRC:08x}"
        reason = ""
        if entry.flag_bits & _ENCRYPTED:
            reason = "it is encrypted: unpack the archive"
        elif entry.file_size > _MAX_BYTES:
            reason = f"{entry.file_size:,} bytes in an archive are more than {_MAX_BYTES:,}"
        read = functools.partial(self._read, entry, full)
        return Item(full, None, read, stamp, reason=reason)

    def _read(self, entry: zipfile.ZipInfo, full: str) -> bytes:
        try:
            with self.file.open(entry) as member:
                content = member.read(entry.file_size + 1)
            if len(content) != entry.file_size:
                raise zipfile.BadZipFile("its size is not that of the archive's index")
        except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as e:
            reason = str(e) or type(e).__name__
        else:
            return content
        raise BadImage(plain_text(f'the image "{full}" of "{self.path}" cannot be read: {reason}'))


def open_archive(path: str, suffixes: frozenset[str], report: Report, left_out: LeftOut) -> Archive:
    """Opens a ZIP archive and finds its pictures; a folder around all, of its name, is left out.

    Args:
        path: of the file.
        suffixes: of pictures.
        report: receives a sentence about each member whose name another has.
        left_out: counts the other members.

    Raises:
        UserError: it is no archive; or a member has an absolute name, one with "..", is a link, or
            is a bomb: thousands of times larger than packed, or packed into bytes of another.
    """
    try:
        file = zipfile.ZipFile(path)
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        refuse(f'"{path}" is no ZIP archive that can be read: {error}')
    entries = file.infolist()
    if len(entries) > _MAX_MEMBERS:
        refuse(f'"{path}" has {len(entries):,} members: unpack it, and name the folder')
    members: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        name = _name(entry)
        _check(path, name, entry)
        if not entry.is_dir():
            _add(path, posixpath.normpath(name), entry, members, report, left_out)
    if sum(entry.compress_size for entry in entries) > os.path.getsize(path):
        refuse(f'the members of "{path}" share their packed bytes, as in a bomb: it is not read')
    top = f"{nfc(posixpath.splitext(os.path.basename(path))[0])}/"
    cut = len(top) if members and all(name.startswith(top) for name in members) else 0
    found = {name[cut:]: members[name] for name in sorted(members)}
    for name in [name for name in found if posixpath.splitext(name)[1].lower() not in suffixes]:
        left_out.add(Reason.UNREAD, name)
        del found[name]
    return Archive(path, file, found)


def _name(entry: zipfile.ZipInfo) -> str:
    """Returns a member's name with slashes, in NFC."""
    name = entry.filename
    if not entry.flag_bits & _UTF8 and not name.isascii():
        with contextlib.suppress(UnicodeError):  # macOS and Linux write UTF-8 without the flag
            name = name.encode("cp437").decode("utf-8")
    return nfc(name.replace("\\", "/"))


def _check(path: str, name: str, entry: zipfile.ZipInfo) -> None:
    if name.startswith("/") or WINDOWS_ROOT.match(name):
        refuse(f'"{path}" has a member with an absolute name, "{name}": it is not read')
    if ".." in name.split("/"):
        refuse(f'"{path}" has a member outside of its folder, "{name}": it is not read')
    if stat.S_ISLNK(entry.external_attr >> 16):
        refuse(f'"{path}" has a link, "{name}": unpack it, and name the folder')
    for size, times in _BOMBS:
        if entry.file_size > max(size, times * entry.compress_size):
            refuse(
                f'"{path}" has a member of {entry.file_size:,} bytes that is packed into '
                f'{entry.compress_size:,}, "{name}", as in a bomb: it is not read'
            )


def _add(
    path: str,
    name: str,
    entry: zipfile.ZipInfo,
    members: dict[str, zipfile.ZipInfo],
    report: Report,
    left_out: LeftOut,
) -> None:
    if any(map(is_hidden, name.split("/"))):
        left_out.add(Reason.HIDDEN, name)
    elif name in members:
        report(f'"{path}" has "{name}" twice: only the first is read')
        left_out.add(Reason.REFUSED, name)
    else:
        members[name] = entry
