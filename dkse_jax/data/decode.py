"""The project's only image decoder: every image becomes 8-bit RGB on white."""

import contextlib
import io
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base as ExifTag

from dkse_jax.errors import UserError
from dkse_jax.text import plain_text

MAX_PIXELS = 89_478_485  # Pillow's own threshold for a decompression bomb
MAX_BYTES = 2**30  # MAX_PIXELS uncompressed pixels of four 16-bit channels are 0.72e9 bytes
# Each scan of a progressive JPEG visits every pixel but needs only a few bytes in the file.
# Cameras and encoders write up to about 20; libtiff too refuses JPEG data with more than 100.
MAX_SCANS = 100
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_UPRIGHT = {  # EXIF orientation -> the operation that turns the stored pixels upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Matches a JPEG segment marker, but no escaped 0xFF of the pixels and no restart marker.
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_START_OF_SCAN, _END_OF_IMAGE = b"\xda", b"\xd9"
_SCAN_PAIR = 0xDAFF  # the bytes 0xFF, 0xDA as a little-endian number
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF tags
_quiet = threading.Lock()


class BadImage(UserError):
    """An image that cannot be read, or that is not safe to read."""


def decode_image(
    path_or_bytes: str | os.PathLike[str] | bytes,
    min_side: int | None = None,
    name: str | None = None,
) -> np.ndarray:
    """Decodes a JPEG, PNG, WEBP, GIF (first frame), BMP or TIFF, detected by content.

    Applies the EXIF orientation, composes transparent pixels on white, reduces 16 bits to 8.

    Args:
        path_or_bytes: a file's path, or its content.
        min_side: allows to decode a JPEG 2, 4 or 8 times smaller, which is faster, while its
            shorter side keeps at least this many pixels; None for the original size.
        name: the image's name in errors; its path by default.

    Returns:
        uint8 (H, W, 3), writable.

    Raises:
        BadImage: the file is missing, truncated, too large (MAX_PIXELS, MAX_BYTES, MAX_SCANS) or
            in another format. The message is plain text, whatever the file and its name contain.
    """
    if name is None:
        name = (
            f"{len(path_or_bytes)} bytes"
            if isinstance(path_or_bytes, bytes)
            else str(path_or_bytes)
        )
    with _refusing(name):
        content = path_or_bytes if isinstance(path_or_bytes, bytes) else _read(path_or_bytes)
        try:
            return _decode(content, min_side)
        except Warning:
            # Where warnings are errors, a warning of Pillow's must not refuse a good image.
            # catch_warnings is not thread-safe, hence the lock, and only in this rare case.
            with _quiet, warnings.catch_warnings(action="ignore"):
                return _decode(content, min_side)


def image_to_rgb(image: Image.Image) -> np.ndarray:
    """Converts an open or computed PIL image as `decode_image` does: uint8 (H, W, 3), upright.

    Raises:
        BadImage: the image cannot be read, or its pixel format defines no white.
    """
    with _refusing(getattr(image, "filename", "") or f"{image.width} x {image.height} pixels"):
        return _upright_rgb(image)


def read_image_file(path: str | os.PathLike[str], name: str | None = None) -> bytes:
    """Reads a file for `decode_image`; raises BadImage for the same files with the same words."""
    with _refusing(name or str(path)):
        return _read(path)


@contextlib.contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Raises BadImage in place of any error but MemoryError."""
    try:
        yield
        return
    except UnidentifiedImageError:
        reason = "it is not a JPEG, PNG, WEBP, GIF, BMP or TIFF image"
    except MemoryError:
        raise
    except Exception as error:  # a broken file makes Pillow raise nearly any type
        strerror = error.strerror if isinstance(error, OSError) else None
        reason = strerror or str(error) or type(error).__name__
    raise BadImage(plain_text(f'the image "{name}" cannot be read: {reason}'))


def _read(path: str | os.PathLike[str]) -> bytes:
    status = os.stat(path)
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise ValueError("it is not a file")  # opening a pipe waits, a device may never end
    if status.st_size > MAX_BYTES:
        raise ValueError(f"{status.st_size:,} bytes are more than {MAX_BYTES:,}")
    with open(path, "rb") as file:
        return file.read()


def _decode(content: bytes, min_side: int | None) -> np.ndarray:
    with Image.open(io.BytesIO(content), formats=_FORMATS) as im:
        if im.width * im.height > MAX_PIXELS:
            raise ValueError(f"{im.width} x {im.height} pixels are more than {MAX_PIXELS:,}")
        if _has_too_many_scans(content):
            raise ValueError(f"it is a JPEG of more than {MAX_SCANS} scans")
        if min_side is not None:
            im.draft(im.mode, (min_side, min_side))
        return _upright_rgb(im)


def _upright_rgb(image: Image.Image) -> np.ndarray:
    """Returns uint8 (H, W, 3), turned by the EXIF orientation."""
    _scale_transparent_colour(image)
    image.load()
    rgb = _to_rgb(image)
    # After load: Pillow turns a TIFF there itself and removes the tag.
    orientation = _orientation(image)
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    return np.array(rgb)


def _has_too_many_scans(content: bytes) -> bool:
    """Returns whether a JPEG, without previews and trailing data, has more than MAX_SCANS scans."""
    if not content.startswith(b"\xff\xd8") or _count_pairs(content, _SCAN_PAIR) <= MAX_SCANS:
        return False  # only suspicious files are parsed
    scans, position = 0, 2
    while (found := _MARKER.search(content, position)) and found[1] != _END_OF_IMAGE:
        scans += found[1] == _START_OF_SCAN
        position = found.end() + int.from_bytes(content[found.end() : found.end() + 2], "big")
    return scans > MAX_SCANS


def _count_pairs(content: bytes, pair: int) -> int:
    """Counts the occurrences of a pair of bytes, several times as fast as content.count."""
    halves = (
        np.frombuffer(content, "<u2", (len(content) - offset) // 2, offset) for offset in (0, 1)
    )
    return sum(int(np.count_nonzero(half == pair)) for half in halves)


def _scale_transparent_colour(image: Image.Image) -> None:
    """Scales a PNG's transparent colour to 8 bits, as Pillow does with its pixels alone."""
    colour = image.info.get("transparency")
    tiles = getattr(image, "tile", ())  # present in an opened file that is not loaded yet
    if image.format != "PNG" or colour is None or not tiles:
        return
    stored = tiles[0].args
    if stored in ("L;2", "L;4"):
        image.info["transparency"] = colour * (85 if stored == "L;2" else 17)
    elif stored == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in colour)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Converts any mode to RGB, transparent pixels on white."""
    if image.mode in ("I", "F"):
        raise ValueError("its 32-bit pixels have no known white")
    if image.mode.startswith("I;16"):  # Pillow's convert would clip all above 255 to white
        image = _grey_of_16_bit(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.format == "BMP" and image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")  # many writers leave the fourth byte empty
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _grey_of_16_bit(image: Image.Image) -> Image.Image:
    tags = getattr(image, "tag_v2", {})  # a TIFF may also hold 12 bits, or encode white as 0
    values = np.asarray(image)
    grey = (values >> (4 if tags.get(_BITS_PER_SAMPLE) == (12,) else 8)).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == 0:
        grey = 255 - grey
    if "transparency" in image.info:
        grey[values == image.info["transparency"]] = 255
    return Image.fromarray(grey)


def _orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1 to 8; 1 (upright) where the EXIF data cannot be read."""
    try:
        orientation = image.getexif().get(ExifTag.Orientation)
    except Warning:
        raise
    except Exception:  # broken EXIF data makes Pillow raise nearly any type
        return 1
    return orientation if isinstance(orientation, int) else 1
