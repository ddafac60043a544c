"""HEIC, as phones write it, by pi-heif."""

import contextlib
import io
import re
from collections.abc import Iterator

from dkse_jax.data.formats import Opened, check_page
from dkse_jax.data.formats.limits import check_pixels


def open_picture(content: bytes, min_side: int | None, page: int) -> Opened:
    """Opens a picture, turned upright; the first is the primary one; see `formats.open_picture`."""
    import pi_heif

    with _naming_damage():
        _check_items(content)
        file = pi_heif.open_heif(io.BytesIO(content))
    check_page(page, len(file))
    primary = file.primary_index
    others = [index for index in range(len(file)) if index != primary]
    picture = file[[primary, *others][page - 1]]
    check_pixels(picture.size)
    with _naming_damage():
        image = picture.to_pillow()
    return Opened(image, image.size, len(file))


def _check_items(content: bytes) -> None:
    """Raises ValueError where the type or a name of an item is no text.

    pi-heif passes them to Python unchecked, which can end the process.
    """
    meta = _meta_box(content)
    for found in re.finditer(rb"(....)infe(.)", meta, re.DOTALL):
        # Version and flags, a number and an index come before the texts.
        start = found.end() + (9 if found[2] == b"\3" else 7)
        end = found.start() + int.from_bytes(found[1], "big")
        if end <= start:
            raise ValueError("an item has no length")
        try:
            meta[start:end].decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError("the name of an item is no text") from error


def _meta_box(content: bytes) -> bytes:
    """Returns the box of metadata among those of the file; b"" if there is none."""
    start = 0
    while start + 8 <= len(content):
        size = int.from_bytes(content[start : start + 4], "big")
        if size == 1:
            size = int.from_bytes(content[start + 8 : start + 16], "big")
        if content[start + 4 : start + 8] == b"meta":
            return content[start : start + size] if size else content[start:]
        if size < 8:
            break
        start += size
    return b""


@contextlib.contextmanager
def _naming_damage() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError, RuntimeError, SyntaxError, ValueError) as error:
        reason = str(error).strip().splitlines()[:1]
        raise ValueError(": ".join(["it is a HEIC image that is damaged", *reason])) from error
