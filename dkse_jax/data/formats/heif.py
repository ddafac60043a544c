"""HEIC, as phones write it, by pi-heif."""

import contextlib
import io
import re
from collections.abc import Iterator

from dkse_jax.data.formats import Opened, check_page
from dkse_jax.data.formats.boxes import box
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
    meta = box(content, b"meta")
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


@contextlib.contextmanager
def _naming_damage() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError, RuntimeError, SyntaxError, ValueError) as error:
        reason = str(error).strip().splitlines()[:1]
        raise ValueError(": ".join(["it is a HEIC image that is damaged", *reason])) from error
