"""The one image decoder of the project: any picture becomes 8-bit RGB on white."""

import io
import os
import threading
import warnings

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base as ExifTag

from dkse_jax.errors import UserError

MAX_PIXELS = 89_478_485  # Pillow's own threshold for a decompression bomb
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_UPRIGHT = {  # EXIF orientation -> what turns the stored pixels upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_quiet = threading.Lock()


class BadImage(UserError):
    """A picture that cannot be read, or that it would not be safe to read."""


def decode_image(
    path_or_bytes: str | os.PathLike[str] | bytes,
    min_side: int | None = None,
    name: str | None = None,
) -> np.ndarray:
    """Decodes a JPEG, PNG, WEBP, GIF (its first frame), BMP or TIFF, told apart by content.

    The EXIF orientation is applied, what is transparent becomes white, 16 bits become 8.

    Args:
        path_or_bytes: a file, or the content of one.
        min_side: a JPEG may come out 2, 4 or 8 times smaller, which is faster, as long as its
            shorter side is at least this many pixels; None for the original size.
        name: what an error calls the picture; by default its path.

    Returns:
        uint8 (H, W, 3), writable.

    Raises:
        BadImage: the file is missing, truncated, too large (MAX_PIXELS) or no such picture.
    """
    if name is None:
        name = (
            f"{len(path_or_bytes)} bytes"
            if isinstance(path_or_bytes, bytes)
            else str(path_or_bytes)
        )
    try:
        try:
            return _decode(path_or_bytes, min_side)
        except Warning:
            # Where warnings are errors, a remark of Pillow's would refuse a good picture.
            # catch_warnings is not safe in threads, hence the lock, and hence only here.
            with _quiet, warnings.catch_warnings(action="ignore"):
                return _decode(path_or_bytes, min_side)
    except UnidentifiedImageError:
        reason = "it is not a JPEG, PNG, WEBP, GIF, BMP or TIFF image"
    except MemoryError:
        raise
    except Exception as error:  # a broken file makes Pillow raise nearly any type
        strerror = error.strerror if isinstance(error, OSError) else None
        reason = strerror or str(error) or type(error).__name__
    raise BadImage(f'the image "{name}" cannot be read: {reason}')


def _decode(path_or_bytes: str | os.PathLike[str] | bytes, min_side: int | None) -> np.ndarray:
    file = io.BytesIO(path_or_bytes) if isinstance(path_or_bytes, bytes) else path_or_bytes
    with Image.open(file, formats=_FORMATS) as im:
        if im.width * im.height > MAX_PIXELS:
            raise ValueError(f"{im.width} x {im.height} pixels are more than {MAX_PIXELS:,}")
        if min_side is not None:
            im.draft(im.mode, (min_side, min_side))
        im.load()
        rgb = _to_rgb(im)
        # Only now: loading a TIFF has already turned it and removed the tag.
        orientation = _orientation(im)
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    return np.array(rgb)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB, what is transparent on white."""
    if image.mode in ("I", "F"):
        raise ValueError("its 32-bit pixels have no known white")
    if image.mode.startswith("I;16"):  # Pillow's convert would clip all above 255 to white
        values = np.asarray(image)
        grey = (values >> 8).astype(np.uint8)
        if "transparency" in image.info:
            grey[values == image.info["transparency"]] = 255
        image = Image.fromarray(grey)
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where the EXIF data cannot be read."""
    try:
        orientation = image.getexif().get(ExifTag.Orientation)
    except Warning:
        raise
    except Exception:  # broken EXIF data makes Pillow raise nearly any type
        return 1
    return orientation if isinstance(orientation, int) else 1
