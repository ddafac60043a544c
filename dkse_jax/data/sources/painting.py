"""The painter of the embedded data set: a class is a pair of a layout and a texture.

A picture is some five hundred dabs of colour, laid in random order, with marks over them. Only the
layout decides which dabs share a colour; only the texture decides the shape of the marks.
Everything else (palette, ink, widths, angles, positions, grain, paper) has the same distribution
for all classes, and the marks cover an exactly drawn share of the picture, so that no statistic of
the colours separates the classes.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

PAINTER_VERSION = 1  # increase with every change of a picture: names in the cache contain it

# Class -> (layout, texture), in the order in which `kinds=n` takes them. The first two differ in
# both cues; every prefix of three or more has classes that share a layout and classes that share
# a texture. The best accuracy of one cue alone, for 3, 4, 5, 6 classes: layout 2/3, 1/2, 3/5,
# 1/2; texture 2/3, 1/2, 2/5, 1/3.
KINDS: dict[str, tuple[str, str]] = {
    "hatched_landscape": ("landscape", "hatched"),
    "stippled_rosette": ("rosette", "stippled"),
    "stippled_landscape": ("landscape", "stippled"),
    "hatched_rosette": ("rosette", "hatched"),
    "hatched_forest": ("forest", "hatched"),
    "stippled_forest": ("forest", "stippled"),
}

_TONES = 4  # colours in a palette
_GRID = 22  # dabs along a side; one more row beyond each edge keeps the corners covered
_CORNERS = 10  # of a dab's polygon


def paint(kind: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Paints one picture: uint8 (size, size, 3), a function of the arguments alone.

    Lengths are shares of the side, and only the grain, drawn last, is drawn per pixel, so that
    equal generators give the same picture at every size.
    """
    layout, texture = KINDS[kind]
    palette, ink = _colours(rng)
    dabs, tones = _dabs(layout, size, rng)
    colours = palette[tones] * rng.uniform(0.92, 1.08, (len(tones), 1))
    flat = np.clip(255 * colours, 0, 255).astype(np.uint8)[dabs]
    soft = Image.fromarray(flat).filter(ImageFilter.GaussianBlur(0.006 * size))
    picture = np.asarray(soft, np.float32) / 255  # (H, W, 3)

    marks = _marks(texture, tones.astype(np.int8)[dabs], rng)[..., None]
    picture += rng.uniform(0.6, 0.9) * marks * (ink.astype(np.float32) - picture)
    picture *= rng.uniform(0.88, 1.0, 3).astype(np.float32)  # the tint of the paper
    grain = rng.uniform(0.01, 0.04) * rng.standard_normal((size, size, 1), np.float32)
    return np.clip(255 * (picture + grain), 0, 255).astype(np.uint8)


def _colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws a palette (tones, 3) of separated middle values, and an ink (3,) beyond either end."""
    hues = rng.random() + rng.choice([0.0, 0.08, -0.08, 0.5], _TONES) + rng.normal(0, 0.02, _TONES)
    values = rng.permutation(np.linspace(0.34, 0.86, _TONES)) + rng.normal(0, 0.03, _TONES)
    palette = _rgb(hues, rng.uniform(0.15, 0.75, _TONES), values)
    dark_or_light = rng.choice([rng.uniform(0.02, 0.15), rng.uniform(0.95, 1.0)], 1)
    ink = _rgb(rng.random(1), rng.uniform(0.0, 0.25, 1), dark_or_light)
    return palette, ink[0]


def _rgb(hues: np.ndarray, saturations: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Converts HSV in [0, 1], each (N,), to RGB (N, 3)."""
    sectors = (hues[:, None] * 6 + np.array([0.0, 4.0, 2.0])) % 6
    pure = np.clip(np.abs(sectors - 3) - 1, 0, 1)
    return values[:, None] * (1 - saturations[:, None] * (1 - pure))


def _dabs(layout: str, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws the dabs; returns the index of each pixel's dab, (H, W), and each dab's tone, (N,).

    A dab has the tone of its centre, so that edges between tones are edges of dabs: they run in
    every direction, and a small crop does not show the layout.
    """
    side = (np.arange(-1, _GRID + 1) + 0.5) / _GRID
    centres = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    centres = rng.permutation(centres + rng.uniform(-0.5, 0.5, centres.shape) / _GRID)

    width = rng.uniform(0.19, 0.27)  # of a band of one tone
    where = _distance(layout, centres, rng) + rng.normal(0, 0.03, len(centres))
    tones = np.floor(where / width + rng.random()).astype(int) % _TONES

    around = 2 * np.pi * np.arange(_CORNERS) / _CORNERS
    long, short = rng.uniform(0.04, 0.075, (len(centres), 1)), rng.uniform(0.025, 0.045)
    turn = rng.uniform(0, np.pi, (len(centres), 1))
    wobble = rng.uniform(0.8, 1.2, (len(centres), _CORNERS))
    along, across = long * wobble * np.cos(around), short * wobble * np.sin(around)
    x = centres[:, :1] + along * np.cos(turn) - across * np.sin(turn)
    y = centres[:, 1:] + along * np.sin(turn) + across * np.cos(turn)
    polygons = (size * np.stack([x, y], -1) - 0.5).reshape(len(centres), -1)  # (N, 2 corners)

    canvas = Image.new("I", (size, size))
    draw = ImageDraw.Draw(canvas)
    for number, polygon in enumerate(polygons.tolist()):
        draw.polygon(polygon, fill=number)
    return np.asarray(canvas), tones


def _distance(layout: str, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the distance of each point (N, 2) along the layout; equal distances share a tone."""
    x, y = points.T
    centre = rng.uniform(0.35, 0.65, 2)
    swell, waves, phase = rng.uniform(0.02, 0.06), rng.uniform(0.7, 1.8), rng.random()
    if layout == "rosette":
        angle = np.arctan2(y - centre[1], x - centre[0])
        petals = np.round(3 + 3 * waves)
        return np.hypot(x - centre[0], y - centre[1]) + swell * np.sin(petals * angle + phase)
    along, across = (y, x) if layout == "landscape" else (x, y)
    return along + swell * np.sin(2 * np.pi * (waves * across + phase))


def _marks(texture: str, tones: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns each pixel's ink, float32 (H, W) in [0, 1]; each of the tones (H, W) has an angle.

    Hatching is one plane wave and stipple is three at 60 degrees, all of the same wavelength, so
    that both textures have the same scale. The pixels of the highest ranks are inked, so that both
    have the same histogram.
    """
    size = len(tones)
    wavelength, cover = rng.uniform(0.08, 0.11), rng.uniform(0.3, 0.5)
    angles = np.pi / 4 * rng.choice([-1, 1], _TONES) + rng.normal(0, 0.12, _TONES)
    bend, phases = rng.uniform(0.003, 0.012, 2), rng.random(5)
    side = (np.arange(size) + 0.5) / size
    # Rows and columns shift along a wave, as by an unsteady hand.
    shift = bend * np.sin(2 * np.pi * (rng.uniform(1.5, 4, 2) * side[:, None] + phases[:2]))
    x = (side[None, :] + shift[:, :1]).astype(np.float32)  # (H, W)
    y = (side[:, None] + shift[None, :, 1]).astype(np.float32)

    field = np.zeros((size, size), np.float32)
    for wave in range(1 if texture == "hatched" else 3):
        turned = angles + wave * np.pi / 3
        a = (2 * np.pi / wavelength * np.cos(turned)).astype(np.float32)[tones]
        b = (2 * np.pi / wavelength * np.sin(turned)).astype(np.float32)[tones]
        field += np.cos(a * x + b * y + np.float32(2 * np.pi * phases[2 + wave]))

    bins = (field * (1023 / 6) + 512).astype(np.int16)
    rank = (np.cumsum(np.bincount(bins.ravel(), minlength=1024)) / size**2).astype(np.float32)[bins]
    edge = np.clip(2 / (wavelength * size), 0.1, 0.5)  # about a pixel, in ranks
    return np.clip((rank - (1 - cover)) / np.float32(edge) + np.float32(0.5), 0, 1)
