"""Pictures that are of no class of art: rendered text pages, blank scans, photographs.

The photographs come with installed packages, under these licences:

    scikit-image  astronaut, rocket, hubble_deep_field, moon, coins: public domain; camera, coffee,
                  chelsea, stereo_motorcycle, brick, grass, gravel: CC0
    scikit-learn  china, flower: CC BY, by the photographers in its datasets/images/README.txt
    matplotlib    grace_hopper: public domain
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dkse_jax.errors import UserError

PAGES = 200  # text pages, and blank scans
CROPS = 8  # of each photograph
_SHORTER, _LONGER = 384, 512  # pixels of a page
_FONTS = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "DejaVuSerif-Italic", "STIXGeneral")
_LETTERS = "eeeeeeeetttttaaaaaoooooiiiinnnnsssshhhhrrrrddllccuummwfgypbvk"  # about as in English
_PHOTOGRAPHS = (
    "astronaut camera coffee chelsea rocket stereo_motorcycle hubble_deep_field moon coins brick"
    " grass gravel"
)


class Pictures(NamedTuple):
    """Pictures of one kind: uint8 (H, W, 3) each, and what each one was taken from."""

    images: list[np.ndarray]
    groups: list[str]


def sources() -> dict[str, Callable[[], Pictures]]:
    """Returns what makes the pictures of each kind by its name; the same ones every time."""
    return {
        "text pages": lambda: _drawn(text_page),
        "blank scans": lambda: _drawn(blank_scan),
        "photographs": photographs,
    }


def text_page(rng: np.random.Generator) -> np.ndarray:
    """Draws a page of words in one to three columns, with a heading on some."""
    page = Image.fromarray(blank_scan(rng))
    draw = ImageDraw.Draw(page)
    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    size, name = int(rng.integers(9, 22)), str(rng.choice(_FONTS))
    font, heading = (
        ImageFont.truetype(str(folder / f"{name}.ttf"), points) for points in (size, 2 * size)
    )
    ink = tuple(rng.integers(0, 70, 3).tolist())
    columns, margin, top = int(rng.integers(1, 4)), int(rng.integers(15, 50)), 40
    if rng.random() < 0.4:
        draw.text((margin, 20), _words(rng, 3).title(), fill=ink, font=heading)
        top = 20 + 3 * size
    width = (page.width - margin * (columns + 1)) / columns
    for column in range(columns):
        left = margin + column * (width + margin)
        for y in range(top, page.height - margin, round(1.4 * size)):
            line = _words(rng, 20)
            line = line[: int(len(line) * width / draw.textlength(line, font=font))]
            if rng.random() < 0.1:  # the end of a paragraph
                line = line[: len(line) // 2]
            draw.text((left, y), line, fill=ink, font=font)
    return np.asarray(page)


def blank_scan(rng: np.random.Generator) -> np.ndarray:
    """Draws empty paper: its tint, uneven light, noise, and on some the edge of the page."""
    sides = (_LONGER, _SHORTER) if rng.random() < 0.7 else (_SHORTER, _LONGER)
    tint = np.array([250, 246, 236]) - rng.uniform(0, 60) * np.array([0.3, 0.6, 1.0])
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in sides), indexing="ij")
    light = 1 - rng.uniform(0, 0.15) * (x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1) + 1) / 2
    pixels = tint * light[..., None] + rng.normal(0, rng.uniform(0.5, 5), (*sides, 1))
    if rng.random() < 0.3:
        width = int(rng.integers(4, 40))
        pixels[:, :width] *= rng.uniform(0.05, 0.5)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def photographs() -> Pictures:
    """Returns CROPS random parts of each photograph; a group is a photograph.

    Raises:
        UserError: scikit-image or scikit-learn is not installed.
    """
    try:
        from skimage import data
        from sklearn.datasets import load_sample_images
    except ImportError as error:
        raise UserError(
            "the photographs are those of scikit-image and scikit-learn: pip install"
            " 'dkse_jax[classical]'"
        ) from error
    found = {name: getattr(data, name)() for name in _PHOTOGRAPHS.split()}
    found["stereo_motorcycle"] = found["stereo_motorcycle"][0]
    found |= dict(zip(("china", "flower"), load_sample_images().images, strict=True))
    hopper = Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")
    found["grace_hopper"] = np.asarray(Image.open(hopper))
    images: list[np.ndarray] = []
    groups: list[str] = []
    for name, image in found.items():
        rng = np.random.default_rng(len(groups))
        rgb = np.asarray(Image.fromarray(image).convert("RGB"))
        for _ in range(CROPS):
            height, width = (int(side * rng.uniform(0.5, 1)) for side in rgb.shape[:2])
            top, left = (
                int(rng.integers(whole - part + 1))
                for whole, part in zip(rgb.shape[:2], (height, width), strict=True)
            )
            images.append(rgb[top : top + height, left : left + width])
            groups.append(name)
    return Pictures(images, groups)


def _drawn(draw: Callable[[np.random.Generator], np.ndarray]) -> Pictures:
    images = [draw(np.random.default_rng(number)) for number in range(PAGES)]
    return Pictures(images, [str(number) for number in range(PAGES)])


def _words(rng: np.random.Generator, count: int) -> str:
    letters = rng.choice(list(_LETTERS), 6 * count)
    letters[rng.random(6 * count) < 1 / 6] = " "
    return "".join(letters)
