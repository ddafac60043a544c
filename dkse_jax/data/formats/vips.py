"""TIFFs that are too large or too unusual for Pillow, streamed and reduced by libvips."""

import contextlib
import functools
from types import ModuleType
from typing import Any

from PIL import Image
from PIL.ExifTags import Base as ExifTag

from dkse_jax.data.formats import Opened, check_page
from dkse_jax.data.formats.limits import check_pixels

_MODES = {"b-w": "L", "grey16": "L", "srgb": "RGB", "rgb": "RGB", "rgb16": "RGB", "cmyk": "CMYK"}
_BANDS = {"L": 1, "RGB": 3, "CMYK": 4}


def open_picture(
    content: bytes, min_side: int | None, page: int, subifd: int = -1, alpha: bool = False
) -> Opened:
    """Reads a TIFF, or one of its SubIFDs, a whole number of times smaller.

    Args:
        content: of the file; any buffer.
        min_side: as of `formats.open_picture`, which see.
        page: the number of the picture in its file, from 1.
        subifd: the number of the SubIFD of that page, from 0; -1 for the page itself.
        alpha: whether the sample after the colours is transparency, associated or not.

    Raises:
        ValueError: libvips cannot read it, or its pixels have no known white.
    """
    import pyvips

    _set_up(pyvips)
    try:
        source = pyvips.Source.new_from_memory(content)  # tiffload_buffer would copy it
        picture = pyvips.Image.tiffload_source(
            source, access="sequential", fail_on="error", page=page - 1, subifd=subifd
        )
        pages = picture.get("n-pages") if picture.get_typeof("n-pages") else 1
        check_page(page, pages)
        size = (picture.width, picture.height)
        factor = 1 if min_side is None else max(1, min(size) // min_side)
        check_pixels((size[0] // factor, size[1] // factor))
        return Opened(_reduced(picture, factor, alpha), size, pages)
    except pyvips.Error as error:
        reason = str(error.detail or error).strip().splitlines()[0]
        raise ValueError(f"it is a TIFF that libvips cannot read: {reason}") from error


@functools.cache
def _set_up(pyvips: ModuleType) -> None:
    """Makes libvips keep no picture and start one thread."""
    pyvips.cache_set_max(0)
    with contextlib.suppress(AttributeError):  # before pyvips 3.2
        pyvips.concurrency_set(1)


def _reduced(picture: Any, factor: int, alpha: bool) -> Image.Image:
    """Returns 8 bits on white; what has no white is refused."""
    mode = _MODES.get(picture.interpretation)
    if mode is None or picture.format not in ("uchar", "ushort"):
        kind = f"{picture.bands} x {picture.format}, {picture.interpretation}"
        raise ValueError(f"its pixels have no known white ({kind})")
    bands = _BANDS[mode]
    if picture.bands > bands:
        if alpha:
            white = 0 if mode == "CMYK" else 255 if picture.format == "uchar" else 65535
            picture = picture[: bands + 1].flatten(background=[white] * bands)
        picture = picture[:bands]
    if factor > 1:
        picture = picture.shrink(factor, factor)
    if picture.format == "ushort":
        picture = (picture >> 8).cast("uchar")
    memory = picture.write_to_memory()
    image = Image.frombytes(mode, (picture.width, picture.height), memory)
    if picture.get_typeof("icc-profile-data"):
        image.info["icc_profile"] = picture.get("icc-profile-data")
    exif = Image.Exif()
    if picture.get_typeof("orientation"):
        exif[ExifTag.Orientation] = picture.get("orientation")
    image.info["exif"] = exif.tobytes()
    return image
