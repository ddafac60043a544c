"""Conversion of an image's colours to sRGB by the ICC profile in its file."""

import dataclasses
import functools
import io

import numpy as np
from PIL import Image, ImageChops, ImageCms

_KEPT = 32  # profiles with their transforms; one of CMYK and its transform take some megabytes
_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}  # ICC colour space -> mode
_NAMES = {"RGB": "RGB", "L": "grey", "CMYK": "CMYK", "LAB": "Lab"}
_SAME = 1  # levels of 255; a profile that changes no colour by more is one of sRGB


@dataclasses.dataclass(frozen=True, slots=True)
class Profile:
    """An ICC profile.

    Attributes:
        name: its own description, for people.
        space: of its colours, "RGB", "grey", "CMYK", "Lab" or what it calls it; "" if broken.
        transform: to sRGB; None for a profile of sRGB or Lab, and for a broken one.
    """

    name: str
    space: str
    transform: ImageCms.ImageCmsTransform | None


@functools.lru_cache(_KEPT)
def read_profile(content: bytes) -> Profile:
    """Reads an ICC profile and builds its transform, the relative colorimetric one."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(content))
        space = opened.profile.xcolor_space
        name = (opened.profile.profile_description or "").strip()
        mode = _MODES.get(space, "")
        transform = _transform(opened, mode) if mode not in ("", "LAB") else None
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError):
        return Profile("a broken profile", "", None)
    space = _NAMES.get(mode, space.strip())
    return Profile(name or f"a profile of {space} without a name", space, transform)


def to_srgb(image: Image.Image, content: bytes) -> tuple[Image.Image, str]:
    """Converts the colours of an image, of at most 8 bits a channel, to sRGB.

    Transparency is kept. An image that needs no conversion is returned itself.

    Args:
        image: of any mode.
        content: its ICC profile.

    Returns:
        The image, of mode RGB or RGBA if it was converted; and why the profile was ignored, or "".
    """
    profile, space = read_profile(content), _NAMES.get(_base_mode(image.mode), image.mode)
    if not profile.space:
        return image, "its colour profile is broken: ignored"
    if profile.space == "RGB" and profile.transform is None:
        return image, ""  # whatever its pixels are: Pillow takes them for sRGB too
    if profile.space == "grey" and space == "RGB" and (grey := _grey_of(image)):
        image, space = grey, "grey"
    if profile.space != space:
        return image, f"its profile is of {profile.space}, its pixels are {space}: ignored"
    if profile.transform is None:
        return image, ""
    alpha = None
    if image.has_transparency_data:
        image = image.convert("LA" if space == "grey" else "RGBA")
        alpha = image.getchannel("A")
    mode = _base_mode(image.mode)
    # Threads may share a transform: LittleCMS changes nothing in one that is in use.
    converted = profile.transform.apply(image if image.mode == mode else image.convert(mode))
    if alpha:
        converted.putalpha(alpha)
    return converted, ""


def _grey_of(image: Image.Image) -> Image.Image | None:
    """Returns an image of colours as one of grey, without change; None if any pixel is coloured."""
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    red, green, blue, *alpha = image.split()
    if any(ImageChops.difference(red, other).getbbox() for other in (green, blue)):
        return None
    return Image.merge("LA", [red, *alpha]) if alpha else red


def _base_mode(mode: str) -> str:
    """Returns the mode of an image's colours without its palette and transparency."""
    if mode in ("1", "L", "LA", "La"):
        return "L"
    return mode if mode in ("CMYK", "LAB") else "RGB"


def _transform(profile: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Builds the transform from a profile to sRGB; None if it changes no colour."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    transform = ImageCms.ImageCmsTransform(profile, srgb, mode, "RGB", intent)
    if mode == "CMYK":
        return transform
    levels = np.arange(256, dtype=np.uint8)[None]
    if mode == "RGB":
        steps = np.linspace(0, 255, 18).round().astype(np.uint8)
        levels = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    colours = Image.fromarray(levels)
    before, after = (
        np.asarray(one, int) for one in (colours.convert("RGB"), transform.apply(colours))
    )
    return transform if np.abs(after - before).max() > _SAME else None
