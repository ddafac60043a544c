"""Raw files of cameras, developed by LibRaw."""

import contextlib
import io

from PIL import Image
from PIL.ExifTags import Base as ExifTag

from dkse_jax.data.formats import Opened, check_page
from dkse_jax.data.formats.limits import check_pixels

_SRGB_GAMMA = (2.4, 12.92)  # exponent and slope near black


def open_picture(content: bytes, min_side: int | None, page: int) -> Opened:
    """Develops a raw file with the camera's white balance to sRGB; see `formats.open_picture`."""
    import rawpy

    check_page(page, 1)
    try:
        with rawpy.imread(io.BytesIO(content)) as raw:
            sizes = raw.sizes
            width, height = sizes.width, sizes.height
            half = min_side is not None and min(width, height) // 2 >= min_side
            # The mosaic has one number a pixel, so a reduced picture may have four times as many.
            parts = 2 if half else 1
            stored = 2 * sizes.raw_width * sizes.raw_height
            check_pixels((sizes.raw_width // parts, sizes.raw_height // parts), stored)
            pixels = raw.postprocess(use_camera_wb=True, half_size=half, gamma=_SRGB_GAMMA)
    except (rawpy.LibRawError, rawpy.NotSupportedError) as error:
        reason = error.args[0] if error.args else ""
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"it is a RAW image that cannot be developed: {text}") from error
    if pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    image = Image.fromarray(pixels)
    image.info["exif"] = _camera(content)
    return Opened(image, (width, height))


def _camera(content: bytes) -> bytes:
    """Returns EXIF data with make and model only, as the picture is upright already."""
    camera, exif = Image.Exif(), Image.Exif()
    if content[:2] in (b"II", b"MM"):
        with contextlib.suppress(Exception):  # broken EXIF data makes Pillow raise nearly any type
            exif.load(content)
            camera.update({tag: exif[tag] for tag in (ExifTag.Make, ExifTag.Model) if tag in exif})
    return camera.tobytes()
