"""Names of folders and files that every file system accepts, those of Windows included."""

import hashlib
import posixpath
import re
from collections.abc import Iterable

from dkse_jax.data.names import nfc
from dkse_jax.text import as_bytes

_MAX_BYTES = 150  # of a name; Windows counts the whole path, to 260 characters
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\ud800-\udfff]')
_ENDS = re.compile(r"^ +|[. ]+$")
# Devices of Windows, also with a suffix; it takes the superscripts for digits.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\.|$)", re.IGNORECASE)


def key_of(name: str) -> str:
    """Returns what two names share if a file system takes them for one: macOS and Windows do."""
    return nfc(nfc(name).casefold())


def safe_name(name: str) -> str:
    """Returns a name for a folder or a file: the name itself if it is safe.

    Otherwise what is not safe becomes "_", a long name is cut, and a digest of the name stands
    before its suffix, so that two names stay two.
    """
    safe = _ENDS.sub(lambda ends: "_" * len(ends[0]), _FORBIDDEN.sub("_", nfc(name))) or "_"
    if _DEVICE.match(safe):
        safe = f"_{safe}"
    if safe == nfc(name) and len(as_bytes(safe)) <= _MAX_BYTES:
        return safe
    return marked(safe, name)


def marked(safe: str, name: str) -> str:
    """Returns a safe name, cut to a length, with a digest of `name` before its suffix."""
    stem, suffix = posixpath.splitext(safe)
    if len(as_bytes(suffix)) > 10:
        stem, suffix = safe, ""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    room = _MAX_BYTES - len(digest) - 1 - len(as_bytes(suffix))
    return f"{as_bytes(stem)[:room].decode(errors='ignore')}~{digest}{suffix}"


def folder_names(names: Iterable[str], reserved: Iterable[str] = ()) -> dict[str, str]:
    """Returns name -> the name of its folder: safe, and different even where case is ignored.

    Args:
        names: all that need a folder, in a fixed order; the first of two that are alike keeps its
            name.
        reserved: folder names that none of them may get.
    """
    taken = set(map(key_of, reserved))
    folders: dict[str, str] = {}
    for name in names:
        folder = safe_name(name)
        if key_of(folder) in taken:
            folder = marked(folder, name)
        taken.add(key_of(folder))
        folders[name] = folder
    return folders
