"""Formats that Pillow reads right as they are."""

import io

from PIL import Image

from dkse_jax.data.formats import MAX_PIXELS, Opened

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def open_picture(content: bytes, min_side: int | None, page: int) -> Opened:
    """Opens the first picture; see `formats.open_picture`."""
    image = Image.open(io.BytesIO(content), formats=_FORMATS)
    check_pixels(image.size)
    return Opened(image, image.size)


def check_pixels(size: tuple[int, int]) -> None:
    """Raises ValueError for a picture of too many pixels to decode."""
    width, height = size
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels are more than {MAX_PIXELS:,}")
