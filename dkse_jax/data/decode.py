"""The project's only image decoder: every image becomes 8-bit RGB on white."""

import contextlib
import dataclasses
import logging
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image
from PIL.ExifTags import Base as ExifTag

from dkse_jax.data.colour import read_profile
from dkse_jax.data.formats import open_picture
from dkse_jax.data.formats.limits import room_for_pixels
from dkse_jax.data.formats.rgb import TURNED, orientation, upright_rgb
from dkse_jax.errors import UserError
from dkse_jax.text import plain_text

MAX_BYTES = 2**32  # the largest classic TIFF; a library may read a small level out of it
_quiet = threading.Lock()
_DECODER_CODE = re.compile(r"(decoder|codec) (configuration )?error.*|Error -?\d+ while.*")

# A photograph of broken EXIF data is read all the same. What the user has set comes first.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.", append=True)
for _logger in map(logging.getLogger, ("PIL", "tifffile", "psd_tools")):
    if _logger.level == logging.NOTSET:
        _logger.setLevel(logging.CRITICAL)


class BadImage(UserError):
    """An image that cannot be read, or that is not safe to read."""


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an image file after it was decoded.

    Attributes:
        size: width and height in pixels, upright, before any reduction.
        pictures: number of pictures in the file.
        profile: the name of the embedded ICC profile; "" without one.
        camera: make and model by the EXIF data; "" where they are not given.
        remarks: what a user should know of how it was read.
    """

    size: tuple[int, int]
    pictures: int
    profile: str
    camera: str
    remarks: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded image: its pixels, uint8 (H, W, 3), writable, and the facts of its file."""

    pixels: np.ndarray
    facts: Facts


def decode_image(
    path_or_bytes: str | os.PathLike[str] | bytes,
    min_side: int | None = None,
    name: str | None = None,
    page: int = 1,
    profiles: bool = True,
) -> np.ndarray:
    """Returns only the pixels of `decode`, uint8 (H, W, 3)."""
    return decode(path_or_bytes, min_side, name, page, profiles).pixels


def decode(
    path_or_bytes: str | os.PathLike[str] | bytes,
    min_side: int | None = None,
    name: str | None = None,
    page: int = 1,
    profiles: bool = True,
) -> Decoded:
    """Decodes an image of any of `formats.FORMATS`, detected by content.

    Reduces 16 bits to 8, converts the colours to sRGB by the embedded ICC profile, composes
    transparent pixels on white, applies the EXIF orientation.

    Args:
        path_or_bytes: a file's path, or its content.
        min_side: allows to decode fewer pixels, which is faster, where the format can, while the
            shorter side keeps at least this many; None for the original size.
        name: the image's name in errors; its path by default.
        page: the number of the picture in its file, from 1.
        profiles: whether an ICC profile is applied; without, numbers are taken for those of sRGB.

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
            return _decode(content, min_side, page, profiles)
        except Warning:
            # Where warnings are errors, a warning of Pillow's must not refuse a good image.
            # catch_warnings is not thread-safe, hence the lock, and only in this rare case.
            with _quiet, warnings.catch_warnings(action="ignore"):
                return _decode(content, min_side, page, profiles)


def image_to_rgb(image: Image.Image, profiles: bool = True) -> np.ndarray:
    """Converts an open or computed PIL image as `decode_image` does: uint8 (H, W, 3), upright.

    Raises:
        BadImage: the image cannot be read, or its pixel format defines no white.
    """
    with _refusing(getattr(image, "filename", "") or f"{image.width} x {image.height} pixels"):
        return upright_rgb(image, profiles, [])


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
    except MemoryError:
        raise
    except Exception as error:  # a broken file makes Pillow raise nearly any type
        strerror = error.strerror if isinstance(error, OSError) else None
        reason = strerror or str(error) or type(error).__name__
        if _DECODER_CODE.fullmatch(reason):
            reason = "it is damaged, or stored in a way that cannot be read"
    raise BadImage(plain_text(f'the image "{name}" cannot be read: {reason}'))


def _read(path: str | os.PathLike[str]) -> bytes:
    status = os.stat(path)
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise ValueError("it is not a file")  # opening a pipe waits, a device may never end
    if status.st_size > MAX_BYTES:
        raise ValueError(f"{status.st_size:,} bytes are more than {MAX_BYTES:,}")
    with open(path, "rb") as file:
        return file.read()


def _decode(content: bytes, min_side: int | None, page: int, profiles: bool) -> Decoded:
    with room_for_pixels():
        opened = open_picture(content, min_side, page)
        with opened.image as image:
            pixels = upright_rgb(image, profiles, opened.remarks)
            size = opened.size[::-1] if orientation(image) in TURNED else opened.size
            profile = image.info.get("icc_profile")
            name = read_profile(profile).name if profile else ""
            remarks = tuple(opened.remarks)
            return Decoded(pixels, Facts(size, opened.pictures, name, _camera(image), remarks))


def _camera(image: Image.Image) -> str:
    """Returns make and model by the EXIF data; "" where they cannot be read."""
    try:
        exif = image.getexif()
        return " ".join(str(exif[tag]) for tag in (ExifTag.Make, ExifTag.Model) if tag in exif)
    except Warning:
        raise
    except Exception:  # broken EXIF data makes Pillow raise nearly any type
        return ""
