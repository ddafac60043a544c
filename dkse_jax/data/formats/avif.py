"""AVIF, by Pillow."""

import io

from PIL.AvifImagePlugin import AvifImageFile

from dkse_jax.data.formats import Opened
from dkse_jax.data.formats.limits import check_pixels
from dkse_jax.data.formats.pillow import opened_animation


def open_picture(content: bytes, min_side: int | None, page: int) -> Opened:
    """Opens the first picture; see `formats.open_picture`."""
    image = AvifImageFile(io.BytesIO(content))
    check_pixels(image.size)
    opened = opened_animation(image, content, page)
    if b"clap" in content[: content.find(b"mdat")]:  # a property, which stands before the pixels
        opened.remarks.append("its crop (clap) is not applied: all its pixels were read")
    return opened
