"""The evaluation transform: its parameters are saved with the weights."""

import dataclasses
import math
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from PIL import Image, ImageOps

from dkse_jax.choices import NORMALISATIONS, VIEWS

MAX_TILES = 32  # of an image; more of one that is longer would fill the memory


@dataclasses.dataclass(frozen=True)
class Transform:
    """The parameters that turn an image into the network's input.

    Conversion to sRGB by the image's ICC profile, if `colour_profiles`, when it is decoded;
    autocontrast, if `levels` (see `autocontrast`); the largest centred square, scaled to size x
    size pixels (bilinear, antialiased); then (value / 255 - mean) / std for each channel. With
    `views` "tiles", several squares that cover the image take the place of the centred one, and
    the results of the network are averaged over them.
    """

    size: int
    levels: bool = False
    mean: tuple[float, float, float] = NORMALISATIONS["centred"][0]
    std: tuple[float, float, float] = NORMALISATIONS["centred"][1]
    colour_profiles: bool = True
    views: str = VIEWS[0]

    @classmethod
    def of(cls, data_config: ConfigDict) -> "Transform":
        """Builds the transform of config.data."""
        size = round(data_config.image_size * data_config.evaluation_scale)
        return cls(
            size,
            data_config.levels,
            *NORMALISATIONS[data_config.normalisation],
            data_config.colour_profiles,
            data_config.views,
        )

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> "Transform":
        """Inverts dataclasses.asdict, of this or an earlier version, after a trip through JSON."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in ({"colour_profiles": False, "views": "centre"} | saved).items()
        }
        return cls(**values)

    def view(self, image: np.ndarray) -> np.ndarray:
        """Applies all but the normalisation, uint8 (H, W, 3) -> (size, size, 3), centred."""
        return centre_view(autocontrast(image) if self.levels else image, self.size)

    def tiles(self, image: np.ndarray) -> np.ndarray:
        """Applies all but the normalisation, uint8 (H, W, 3) -> (tiles, size, size, 3)."""
        return tile_views(autocontrast(image) if self.levels else image, self.size)


def autocontrast(image: np.ndarray) -> np.ndarray:
    """Stretches each channel, cutting off 1 % at either end, uint8 (H, W, 3) -> the same.

    This removes the tint of the paper, the fading of the ink and the exposure of a scan.
    """
    return np.asarray(ImageOps.autocontrast(Image.fromarray(image), cutoff=1))


def centre_view(image: np.ndarray, size: int) -> np.ndarray:
    """Scales the largest centred square of an image, uint8 (H, W, 3) -> (size, size, 3)."""
    height, width = image.shape[:2]
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    return resized(image, (left, top, left + side, top + side), size)


def tile_views(image: np.ndarray, size: int) -> np.ndarray:
    """Scales the squares that cover an image, uint8 (H, W, 3) -> (tiles, size, size, 3).

    They are as large as the shorter side, evenly spaced along the longer one, and as few as cover
    it, but at most MAX_TILES.
    """
    height, width = image.shape[:2]
    side, longer = sorted((height, width))
    count = min(-(-longer // side), MAX_TILES)
    if count == 1:
        return centre_view(image, size)[None]
    boxes = ((start, 0, start + side, side) for start in np.linspace(0, longer - side, count))
    if height > width:
        boxes = ((top, left, bottom, right) for left, top, right, bottom in boxes)
    return np.stack([resized(image, box, size) for box in boxes])


def resized(image: np.ndarray, box: tuple[float, float, float, float], size: int) -> np.ndarray:
    """Scales the box (left, top, right, bottom) of an image to uint8 (size, size, 3)."""
    if image.shape[:2] == (size, size) and box == (0, 0, size, size):
        return image
    picture = Image.fromarray(image)
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR, box, reducing_gap=3))


def normalise(images, transform: Transform):
    """Normalises each channel, uint8 (B, H, W, 3), NumPy or JAX -> float32 of the same shape."""
    mean = np.asarray(transform.mean, np.float32).reshape(1, 1, 1, 3)
    std = np.asarray(transform.std, np.float32).reshape(1, 1, 1, 3)
    return (images.astype(np.float32) / 255 - mean) / std


def min_side_for_crops(size: int, crop_area_min: float) -> int:
    """Returns the shorter side in pixels from which no square crop needs enlarging."""
    return math.ceil(size / math.sqrt(crop_area_min))
