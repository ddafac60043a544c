"""Odd files, written by other libraries from a seed, with the outcome of decoding each.

`CASES` maps a name to a function of a generator that returns an `Odd`.
"""

import dataclasses
import importlib
from collections.abc import Callable

import numpy as np
from PIL import Image


@dataclasses.dataclass(frozen=True, slots=True)
class Odd:
    """A file and what must come of it: pixels, or a refusal.

    Attributes:
        content: of the file.
        pixels: the true ones, uint8 (H, W, 3) on white; None if it is refused.
        bound: of the mean difference to them, in 1/255.
        sentence: matches the reason of the refusal.
        page: the number of the picture in the file.
    """

    content: bytes
    pixels: np.ndarray | None = None
    bound: float = 0.0
    sentence: str = ""
    page: int = 1


CASES: dict[str, Callable[[np.random.Generator], Odd]] = {}


def case(name: str):
    """Registers a function under a name."""

    def register(function):
        assert name not in CASES, name
        CASES[name] = function
        return function

    return register


def make(name: str) -> Odd:
    """Makes a file; the same on every call."""
    return CASES[name](np.random.default_rng(list(name.encode())))


def picture(rng: np.random.Generator, height: int = 0) -> np.ndarray:
    """Draws a smooth picture with coloured corners: uint16 (H, W, 3), without any symmetry."""
    height = height or int(rng.integers(81, 120))
    width = height + int(rng.integers(10, 50))
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    slopes, phases = rng.uniform(-1, 1, (3, 2)), rng.uniform(0, 6, 3)
    waves = [np.sin(3 * (a * x + b * y) + c) for (a, b), c in zip(slopes, phases, strict=True)]
    pixels = np.stack(waves, -1) * 30_000 + 32_768
    side = height // 6
    pixels[:side, :side], pixels[-side:, -side:] = 65_535, 0
    pixels[:side, -side:] = 60_000, 2_000, 8_000
    return pixels.astype(np.uint16)


def bytes_of(pixels: np.ndarray) -> np.ndarray:
    """Returns the high bytes of 16 bits; grey as three equal channels."""
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    return np.broadcast_to((pixels >> 8).astype(np.uint8), (*pixels.shape[:2], 3))


def on_white(pixels: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Composes 8 bits (H, W, 3) on white; the share (H, W) of the picture is from 0 to 1."""
    mixed = share[..., None] * pixels + (1 - share[..., None]) * 255
    return np.round(mixed).astype(np.uint8)


def slope(pixels: np.ndarray) -> np.ndarray:
    """Returns an alpha channel of 16 bits that grows from left to right."""
    height, width = pixels.shape[:2]
    return np.tile(np.linspace(0, 65_535, width).astype(np.uint16), (height, 1))


def of_inks(inks: np.ndarray) -> np.ndarray:
    """Returns the colours of CMYK, uint8 (H, W, 4), as Pillow converts them."""
    return np.asarray(Image.fromarray(inks, "CMYK").convert("RGB"))


def inks_of(pixels: np.ndarray) -> np.ndarray:
    """Returns CMYK of 8 bits, with some black."""
    cmy = 255 - bytes_of(pixels)
    black = cmy.min(-1, keepdims=True) // 2
    return np.concatenate([cmy - black, black], -1)


def lab_of(pixels: np.ndarray) -> np.ndarray:
    """Returns CIELab of D50, float64: L from 0 to 100, a and b about -128 to 127."""
    stored = bytes_of(pixels) / 255
    linear = np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.43607, 0.38515, 0.14308], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.7141]]
    )
    ratios = linear @ to_xyz.T / to_xyz.sum(1)
    roots = np.where(ratios > 0.008856, np.cbrt(ratios), 7.787 * ratios + 16 / 116)
    x, y, z = np.moveaxis(roots, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def difference(decoded: np.ndarray, true: np.ndarray) -> float:
    """Returns the mean difference; to the true pixels reduced by averaging, if need be."""
    if decoded.shape != true.shape:
        size = decoded.shape[1::-1]
        true = np.asarray(Image.fromarray(np.ascontiguousarray(true)).resize(size, Image.BOX))
    return float(np.abs(decoded.astype(int) - true).mean())


for _module in ("tiffs", "jpegs", "pngs", "others", "damaged"):
    importlib.import_module(f"{__name__}.{_module}")
