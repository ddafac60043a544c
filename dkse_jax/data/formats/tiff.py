"""TIFF: the right picture of a file at the right size, by Pillow wherever Pillow reads it right."""

import contextlib
import importlib.util
import io
import math
import struct
from typing import TYPE_CHECKING

from PIL import Image, ImagePalette
from PIL.ExifTags import Base as ExifTag
from PIL.TiffImagePlugin import TiffImageFile

from dkse_jax.data.formats import NEEDS_MUSEUM, Opened, check_page
from dkse_jax.data.formats.limits import MAX_PIXELS, MEGAPIXELS, TooManyPixels, check_pixels
from dkse_jax.data.formats.rgb import TURNED, orientation
from dkse_jax.data.formats.tiff_pages import alpha_of, describe, find_pictures, is_raw, level_for
from dkse_jax.data.formats.tiff_samples import (
    can_read,
    full_value,
    part_size,
    read_picture,
    unreadable,
)

if TYPE_CHECKING:
    import tifffile

_BITS, _COMPRESSION, _PHOTOMETRIC, _MAX_SAMPLE_VALUE, _PLANAR = 258, 259, 262, 281, 284
_STRIP_BYTES, _COLOUR_MAP, _TILE_BYTES = 279, 320, 325
_NEW_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _SUBIFDS, _SUBSAMPLING, _PROFILE = 254, 255, 330, 530, 34675
_EXTRA_SAMPLES, _ASSOCIATED, _YCBCR, _WEBP = 338, 1, 6, 50001
_DAMAGED = "it is a TIFF that is damaged, or of a kind that cannot be read"
_MAX_PART = 4 * MAX_PIXELS  # of a strip or tile; libvips allocates a whole one
_PLANES = ("RGB", "RGBA", "CMYK", "LAB")  # modes whose planes Pillow reads right, of 8 bits


def open_picture(content: bytes, min_side: int | None, page: int) -> Opened:
    """Opens a picture, of a pyramid the smallest sufficient level; see `formats.open_picture`."""
    image = _opened(io.BytesIO(content))
    fits = image is not None and image.width * image.height <= MAX_PIXELS
    plain = image and not _is_big(content) and _is_plain(image)  # Pillow skips SubIFDs of BigTIFF
    if page == 1 and image and fits and plain and _is_right(image):
        with contextlib.suppress(OSError):  # which the page's description explains
            return Opened(_loaded(image), image.size)
    import tifffile

    try:
        file = tifffile.TiffFile(io.BytesIO(content))
        pictures = find_pictures(file)
    except Exception as error:  # tifffile raises nearly any type
        if image is None or page != 1:
            raise ValueError(_DAMAGED) from error
        return Opened(_loaded(image), image.size)
    check_page(page, len(pictures))
    try:
        opened = _read(content, min_side, file.pages.first, pictures[page - 1])
    except (TypeError, AttributeError, LookupError, ArithmeticError, struct.error) as error:
        raise ValueError(_DAMAGED) from error
    opened.pictures = len(pictures)
    if len(pictures) > 1:
        which = "the first" if page == 1 else f"number {page}"
        opened.remarks.append(f"{len(pictures)} pictures: {which} was read")
    return opened


def _read(
    content: bytes,
    min_side: int | None,
    first: "tifffile.TiffPage",
    levels: list["tifffile.TiffPage"],
) -> Opened:
    """Reads a picture of a file whose first page is given too."""
    full = levels[0]
    if is_raw(full):
        return _developed(content, min_side, first, full)
    level = level_for(levels, min_side)
    shown = _shown(content, level, min_side)
    # The profile and the turn of a picture hold for its levels, and the turn of a page for a SubIFD
    # that is the picture, as cameras write it.
    stating = [level, full, *([first] if len(full.treeindex) > 1 else [])]
    turn = next((one for page in stating if (one := page.tags.valueof(ExifTag.Orientation))), 1)
    if ExifTag.Orientation not in level.tags:
        shown.getexif()[ExifTag.Orientation] = int(turn)
    if "icc_profile" not in shown.info and (profile := full.tags.valueof(_PROFILE)):
        shown.info["icc_profile"] = profile
    size = full.imagewidth, full.imagelength
    # Pillow turns what it decodes at once; what others decode still has the orientation.
    turned = turn in TURNED and orientation(shown) not in TURNED
    return Opened(shown, size[::-1] if turned else size)


def _shown(content: bytes, level: "tifffile.TiffPage", min_side: int | None) -> Image.Image:
    """Decodes a level; what is larger than MAX_PIXELS, reduced."""
    size = level.imagewidth, level.imagelength
    factor = 1
    if size[0] * size[1] > MAX_PIXELS:
        factor = min(size) // min_side if min_side else 1
        if size[0] * size[1] > MAX_PIXELS * factor**2 or not can_read(level, factor):
            return _by_libvips(content, min_side, level)
    elif (image := _opened(_From(content, level))) and _is_right(image):
        try:
            return _loaded(image)
        except OSError as error:
            if not str(error).startswith("decoder error"):
                raise
            if level.compression == _WEBP:  # libtiff has it in some builds of Pillow only
                return _by_libvips(content, min_side, level)
            raise ValueError(
                f"it is a TIFF of {describe(level)}, that is damaged or cut off"
            ) from error
    if not can_read(level):
        return _by_libvips(content, min_side, level)
    width, height = (-(-side // factor) for side in size)
    check_pixels((width, height), width * height * level.samplesperpixel * 2)
    try:
        return read_picture(content, level, factor)
    except Exception as error:  # tags that contradict each other raise nearly any type
        raise ValueError(
            f"it is a TIFF of {describe(level)}, that is damaged or cut off"
        ) from error


def _opened(file: io.BytesIO) -> TiffImageFile | None:
    """Returns the first picture; None where Pillow does not know its layout."""
    try:
        return TiffImageFile(file)
    except Warning:
        raise
    except Exception:  # a layout that Pillow does not know raises nearly any type
        return None


def _is_big(content: bytes) -> bool:
    return content[2:4] in (b"+\0", b"\0+")


class _From(io.BytesIO):
    """The content of a file with the header of one whose first page is another; copies nothing."""

    def __init__(self, content: bytes, page: "tifffile.TiffPage"):
        super().__init__(content)
        order = page.parent.byteorder
        big = _is_big(content)
        offset = struct.pack(order + ("HHQ" if big else "I"), *((8, 0) if big else ()), page.offset)
        self._header = content[:4] + offset

    def read(self, size: int | None = -1) -> bytes:
        start = self.tell()
        data = super().read(size)
        if start >= len(self._header):
            return data
        return self._header[start : start + len(data)] + data[len(self._header) - start :]


def _loaded(image: TiffImageFile) -> TiffImageFile:
    check_pixels(image.size)
    table = image.tag_v2.get(_COLOUR_MAP, ())
    if image.mode == "P" and max(table, default=256) < 256:  # of 8 bits, as old programs write it
        image.palette = ImagePalette.raw("RGB;L", bytes(table))
    image.load()
    return image


def _is_plain(image: TiffImageFile) -> bool:
    """Returns whether the file has one page, which is no preview, and nothing below it."""
    tags = image.tag_v2
    marks = tags.get(_NEW_SUBFILE_TYPE, 0), tags.get(_OLD_SUBFILE_TYPE, 1)
    return not tags.next and _SUBIFDS not in tags and marks == (0, 1)


def _is_right(image: TiffImageFile) -> bool:
    """Returns whether Pillow reads the layout of a page, which it has opened, right."""
    tags = image.tag_v2
    bits = tags.get(_BITS, (1,))
    extras = tags.get(_EXTRA_SAMPLES, ())
    is_packed = tags.get(_COMPRESSION, 1) != 1
    if tags.get(_COMPRESSION) == _WEBP:  # libtiff without it prints so
        return importlib.util.find_spec("pyvips") is None
    if tags.get(_PLANAR, 1) == 2 and len(bits) > 1:
        if image.mode in ("LA", "La", "PA") or (len(extras) > 1 and any(extras)):
            return False
        if image.mode == "LAB" and is_packed:
            return False
        if not is_packed and (
            image.mode not in _PLANES or set(bits) != {8} or _ASSOCIATED in extras
        ):
            return False
    if tags.get(_PHOTOMETRIC) == _YCBCR and not is_packed:
        stored = sum(tags.get(_STRIP_BYTES) or tags.get(_TILE_BYTES) or ())
        whole = stored >= 3 * image.width * image.height  # where only the default, 2 x 2, is stated
        return tags.get(_SUBSAMPLING, (1, 1) if whole else (2, 2)) == (1, 1)
    return _MAX_SAMPLE_VALUE not in tags or set(bits) != {16} or full_value(tags, 16) == 65535


def _developed(
    content: bytes, min_side: int | None, first: "tifffile.TiffPage", full: "tifffile.TiffPage"
) -> Opened:
    """Returns the picture of a camera's raw data, which may have previews before it."""
    from dkse_jax.data.formats import raw

    try:
        return raw.open_picture(content, min_side, 1)
    except ImportError as error:
        size = f"{full.imagewidth} x {full.imagelength}"
        kind = f"raw data of a camera ({size})"
        if first.offset != full.offset:
            preview = f"{first.imagewidth} x {first.imagelength}"
            kind = f"its first picture is a preview of {preview}, and the picture is {kind}"
        else:
            kind = f"it is {kind}"
        raise ValueError(f"{kind}, which {NEEDS_MUSEUM}") from error


def _by_libvips(content: bytes, min_side: int | None, level: "tifffile.TiffPage") -> Image.Image:
    """Reads a level that is too large, or stored in a way that only libvips reads."""
    from dkse_jax.data.formats import vips

    if reason := unreadable(level):
        raise ValueError(f"{reason}: it is a TIFF of {describe(level)}")
    top, *below = level.treeindex
    size = level.imagewidth, level.imagelength
    large = size[0] * size[1] > MAX_PIXELS
    if (large and min_side is None) or math.prod(part_size(level)) > _MAX_PART:
        raise TooManyPixels(size)
    try:
        return vips.open_picture(
            content, min_side, top + 1, below[0] if below else -1, alpha_of(level) is not None
        ).image
    except ImportError as error:
        what = f"it is a TIFF of {size[0]:,} x {size[1]:,} pixels" if large else ""
        what = what or f"it is a TIFF of {describe(level)}"
        remedy = f", or reduce it below {MEGAPIXELS} megapixels" if large else ""
        raise ValueError(f"{what}, which {NEEDS_MUSEUM}{remedy}") from error
    except TooManyPixels:
        raise
    except ValueError as error:
        raise ValueError(f"it is a TIFF of {describe(level)}, which cannot be read") from error
