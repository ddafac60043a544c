"""Random augmentation of training images. The paper names no operations: these are ours."""

import math

import numpy as np
from ml_collections import ConfigDict

from dkse_jax.data.transform import centre_view, resized

CROP_RATIO = 4 / 3  # the largest ratio of a crop's longer to its shorter side
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def augment(
    image: np.ndarray, size: int, settings: ConfigDict, rng: np.random.Generator
) -> np.ndarray:
    """Crops, flips and recolours an image: uint8 (H, W, 3) -> uint8 (size, size, 3).

    Args:
        settings: config.augment; if not enabled, the result is the evaluation's view.
        rng: the only source of randomness.
    """
    if not settings.enabled:
        return centre_view(image, size)
    height, width = image.shape[:2]
    areas = (settings.crop_area_min, settings.crop_area_max)
    box = random_box(height, width, areas, CROP_RATIO, rng)
    view = resized(image, box, size)
    if rng.random() < settings.flip:
        view = view[:, ::-1]
    return recolour(view, settings, rng)


def random_box(
    height: int,
    width: int,
    areas: tuple[float, float],
    ratio_max: float,
    rng: np.random.Generator,
) -> tuple[float, float, float, float]:
    """Draws a box (left, top, right, bottom) whose share of the image's area is in `areas`.

    The share is uniform; the aspect ratio is log-uniform in [1 / ratio_max, ratio_max]. A side
    longer than the image's is cut to it, and the other one is then as long as the least share and
    ratio_max ask for: the box of a narrow image is the largest of that ratio that fits.
    """
    area = rng.uniform(*areas) * height * width
    ratio = math.exp(rng.uniform(-1, 1) * math.log(ratio_max))
    box_width = min(math.sqrt(area * ratio), width)
    box_height = min(math.sqrt(area / ratio), height)
    if box_width == width or box_height == height:
        least = areas[0] * height * width
        box_width = min(max(box_width, least / box_height), width, ratio_max * box_height)
        box_height = min(max(box_height, least / box_width), height, ratio_max * box_width)
    left = rng.uniform(0, width - box_width)
    top = rng.uniform(0, height - box_height)
    return left, top, left + box_width, top + box_height


def recolour(view: np.ndarray, settings: ConfigDict, rng: np.random.Generator) -> np.ndarray:
    """Varies brightness, contrast, saturation, tint and greyscale, uint8 (H, W, 3) -> the same."""

    def factor(spread: float, shape: int | None = None):
        return 1 + rng.uniform(-spread, spread, shape)

    brightness, contrast = factor(settings.brightness), factor(settings.contrast)
    saturation, tint = factor(settings.saturation), factor(settings.tint, 3)
    if rng.random() < settings.greyscale:
        saturation = 0.0

    # Each step is linear in the pixel, so all are one 3x3 matrix and one offset.
    pixels = view.reshape(-1, 3).astype(np.float32)
    mean = float((pixels @ _LUMA).mean())
    grey = np.tile(_LUMA, (3, 1))  # (output channel, input channel)
    mix = saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * grey
    gain = (contrast * brightness * tint).astype(np.float32)
    offset = ((1 - contrast) * brightness * mean * tint).astype(np.float32)
    pixels = pixels @ (gain[:, None] * mix).T.astype(np.float32)
    pixels += offset[None, :]
    return np.clip(pixels + 0.5, 0, 255).astype(np.uint8).reshape(view.shape)
