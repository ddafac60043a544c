"""Formats that Pillow reads right as they are."""

import io
from typing import Any

from PIL import BmpImagePlugin, GifImagePlugin, ImageFile, WebPImagePlugin

from dkse_jax.data.formats import Opened
from dkse_jax.data.formats.limits import check_pixels

# Image.open would also warn of, or refuse, what is large as stored but is decoded reduced.
_PLUGINS: dict[bytes, type[ImageFile.ImageFile]] = {
    b"R": WebPImagePlugin.WebPImageFile,
    b"G": GifImagePlugin.GifImageFile,
    b"B": BmpImagePlugin.BmpImageFile,
}


def open_picture(content: bytes, min_side: int | None, page: int) -> Opened:
    """Opens the first picture; see `formats.open_picture`."""
    image = _PLUGINS[content[:1]](io.BytesIO(content))
    check_pixels(image.size)
    return opened_animation(image, content, page)


def opened_animation(image: ImageFile.ImageFile, content: bytes, page: int) -> Opened:
    """Returns an open file of one or more frames, of which the first is read.

    Raises:
        ValueError: page is not 1.
    """
    frames = _count_frames(type(image), content) if getattr(image, "is_animated", False) else 1
    if page != 1:
        raise ValueError(f"of its {frames} frames, only the first is read, not number {page}")
    if frames == 1:
        return Opened(image, image.size)
    return Opened(
        image, image.size, frames, [f"an animation of {frames} frames: the first is read"]
    )


def _count_frames(plugin: Any, content: bytes) -> int:
    """Counts in another object, as to count the frames of a GIF is to leave the first."""
    try:
        return plugin(io.BytesIO(content)).n_frames
    except Warning:
        raise
    except Exception:  # the first frame may be whole where others are broken
        return 1
