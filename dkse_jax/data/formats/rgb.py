"""Conversion of any pixels that Pillow decodes to 8-bit RGB on white, upright."""

import numpy as np
from PIL import Image
from PIL.ExifTags import Base as ExifTag

from dkse_jax.data.colour import to_srgb

_UPRIGHT = {  # EXIF orientation -> the operation that turns the stored pixels upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_LARGE = 2**22  # pixels
_ROWS = 64  # that are copied at one time
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF tags


def upright_rgb(image: Image.Image, profiles: bool, remarks: list[str]) -> np.ndarray:
    """Returns an image's pixels, uint8 (H, W, 3), turned by the EXIF orientation.

    Args:
        image: opened or computed.
        profiles: whether its ICC profile is applied.
        remarks: receives what a user should know of how it was read.
    """
    _scale_transparent_colour(image)
    image.load()
    rgb = _to_rgb(image, profiles, remarks)
    # After load: Pillow turns a TIFF there itself and removes the tag.
    if (turn := orientation(image)) in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[turn])
    return _as_array(rgb)


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


def _to_rgb(image: Image.Image, profiles: bool, remarks: list[str]) -> Image.Image:
    """Converts any mode to RGB, transparent pixels on white."""
    profile = image.info.get("icc_profile") if profiles else None
    if image.mode in ("I", "F"):
        raise ValueError("its 32-bit pixels have no known white")
    if image.mode.startswith("I;16"):  # Pillow's convert would clip all above 255 to white
        image = _grey_of_16_bit(image)
    if image.mode == "La":
        image = image.convert("LA")
    if profile:
        image, remark = to_srgb(image, profile)
        remarks += [remark] if remark else []
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
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


def _as_array(rgb: Image.Image) -> np.ndarray:
    """Copies the pixels of a large image row by row: Pillow's own way holds three copies."""
    width, height = rgb.size
    if width * height < _LARGE:
        return np.array(rgb)
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _ROWS):
        rows = slice(top, min(top + _ROWS, height))
        pixels[rows] = np.asarray(rgb.crop((0, rows.start, width, rows.stop)))
    return pixels


def orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1 to 8; 1 (upright) where the EXIF data cannot be read."""
    try:
        found = image.getexif().get(ExifTag.Orientation)
    except Warning:
        raise
    except Exception:  # broken EXIF data makes Pillow raise nearly any type
        return 1
    return found if isinstance(found, int) else 1
