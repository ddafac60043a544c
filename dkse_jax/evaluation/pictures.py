"""Figures of a report: the confusion matrix and the most confident mistakes."""

import bisect
import dataclasses
import functools
import pathlib
import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colors, font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from PIL import Image

from dkse_jax.console import log
from dkse_jax.text import plain_text

MAX_MISTAKES = 24

_DPI = 150
TILE = 2 * _DPI  # pixels along an image's side
_INK, _GREY, _LINE = "#222222", "#767676", "#e4e4e4"
_RIGHT, _WRONG = "#1f5a94", "#c2501b"
_LTR = "\u200e"  # without it, a right-to-left name reverses the line that it stands in
_MISSING = "Glyph .* missing from"  # Matplotlib's warning
_NON_LATIN_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Arial Unicode MS",
)


@dataclasses.dataclass(frozen=True)
class Example:
    """One classified example.

    Attributes:
        image: (H, W, 3) uint8.
        label: name of the true class.
        prediction: name of the predicted class.
        probability: of the predicted class.
        file: id of the example.
        note: printed after the prediction.
    """

    image: np.ndarray
    label: str
    prediction: str
    probability: float
    file: str
    note: str = ""


def confusion_png(path: pathlib.Path, matrix: np.ndarray, class_names: Sequence[str]) -> None:
    """Draws a confusion matrix: each cell has its count, its share of the row, and a colour.

    Correct predictions are blue and wrong ones orange. Above about 50 classes the cells, and above
    about 250 the axes, have no text, which would not be legible.

    Args:
        path: of the PNG.
        matrix: (K, K) counts; rows are the true classes.
        class_names: (K,).
    """
    classes = len(class_names)
    written = classes <= 52  # counts in the cells; below, inches of a cell
    cell = float(np.clip(6 / classes, 0.42, 1.15)) if written else min(0.18, 22 / classes)
    figure = Figure(figsize=(cell * classes, cell * classes), dpi=_DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    cells = _cell_colours(shares)
    axes.imshow(cells, origin="upper", interpolation="nearest")
    axes.grid(False)
    for side in axes.spines.values():
        side.set(color=_LINE, linewidth=0.8)
    if cell >= 0.15:
        edges = np.arange(classes - 1) + 0.5
        axes.hlines(edges, -0.5, classes - 0.5, colors=_LINE, linewidth=0.8)
        axes.vlines(edges, -0.5, classes - 0.5, colors=_LINE, linewidth=0.8)
    if written:
        _write_cells(axes, matrix, shares, cells, float(np.clip(16 * cell, 6.5, 11)))

    size = min(9.0, 0.7 * 72 * cell)
    names = [_shorten(name, size, 2.2) for name in class_names] if size >= 4 else []
    ticks = range(len(names))
    axes.tick_params(length=0, pad=5)
    axes.set_yticks(ticks, names, **_style(size))
    if all(_width(name, size) < 0.95 * cell for name in names):
        axes.set_xticks(ticks, names, **_style(size))
    else:
        turn: dict[str, Any] = {"rotation": 45 if cell > 0.5 else 90, "rotation_mode": "anchor"}
        axes.set_xticks(ticks, names, **_style(size), **turn, ha="right", va="center")
    axes.set_xlabel("predicted", labelpad=8, **_style(9, _GREY))
    axes.set_ylabel("true", labelpad=8, **_style(9, _GREY))
    right, total = int(np.trace(matrix)), int(matrix.sum())
    axes.set_title(f"{right:,} of {total:,} right", loc="left", pad=10, **_style(11))
    _save(figure, path)


def mistakes_png(
    path: pathlib.Path, mistakes: Sequence[Example], *, total: int, examples: int
) -> None:
    """Draws the first `MAX_MISTAKES` of the given mistakes, in their order.

    Args:
        path: of the PNG.
        mistakes: the most confident one first.
        total: number of mistakes in the split.
        examples: number of examples in the split.
    """
    if not mistakes:
        figure = Figure(figsize=(5.5, 1.6), dpi=_DPI, facecolor="white")
        figure.text(0.5, 0.62, "No mistakes", ha="center", va="center", **_style(15))
        line = f"all {examples:,} examples are right"
        figure.text(0.5, 0.36, line, ha="center", va="center", **_style(10, _GREY))
        _save(figure, path)
        return
    mistakes = mistakes[:MAX_MISTAKES]
    title = "The only mistake" if total == 1 else f"All {total:,} mistakes"
    if len(mistakes) < total:
        title = f"The {len(mistakes)} most confident of {total:,} mistakes"
    title += f" in {examples:,} examples"
    squares = [
        dataclasses.replace(mistake, image=_thumbnail(mistake.image, TILE)) for mistake in mistakes
    ]
    examples_png(path, squares, titles=[title], columns=6)


def examples_png(
    path: pathlib.Path, examples: Sequence[Example], *, titles: Sequence[str], columns: int
) -> None:
    """Draws examples in rows, each above its true class, its predicted class and its id.

    Args:
        path: of the PNG.
        examples: their images are `TILE` pixels high and equally wide.
        titles: lines above the figure.
        columns: number of examples in a full row.
    """
    height, width = (side / _DPI for side in examples[0].image.shape[:2])  # below, inches
    gap, caption, head = 0.22, 0.68, 0.2 + 0.22 * len(titles)
    columns = min(len(examples), columns)
    rows = -(-len(examples) // columns)
    whole_width = columns * (width + gap) - gap
    whole_height = head + rows * (height + caption + gap) - gap
    figure = Figure(figsize=(whole_width, whole_height), dpi=_DPI, facecolor="white")
    for row, title in enumerate(titles):
        style = _style(9, _GREY) if row else _style(11)
        title = _shorten(title, style["size"], max(whole_width, 6))
        figure.text(0, 1 - 0.22 * row / whole_height, title, va="top", **style)
    for i, example in enumerate(examples):
        left = (i % columns) * (width + gap)
        bottom = whole_height - head - height - (i // columns) * (height + caption + gap)
        box = (
            left / whole_width,
            bottom / whole_height,
            width / whole_width,
            height / whole_height,
        )
        axes = figure.add_axes(box)
        axes.imshow(example.image, origin="upper")
        axes.set_axis_off()
        for row, (line, style) in enumerate(_caption(example, width)):
            y = bottom - 0.18 - 0.19 * row
            figure.text(left / whole_width, y / whole_height, line, va="baseline", **style)
    _save(figure, path)


def _caption(example: Example, width: float) -> list[tuple[str, dict[str, Any]]]:
    """Returns the lines below an example with their styles, for a width in inches."""
    end = f"{_percent(example.probability)}{example.note}"
    room = width - _width(f"\u2192  {end}", 8.5)
    colour = _RIGHT if example.prediction == example.label else _WRONG
    prediction = f"\u2192 {_shorten(example.prediction, 8.5, room)}{_LTR} {end}"
    file = re.sub(r"([/.])", rf"{_LTR}\1{_LTR}", _shorten(example.file, 6.5, width))
    return [
        (_shorten(example.label, 8.5, width), _style(8.5)),
        (_LTR + prediction, _style(8.5, colour)),
        (_LTR + file, _style(6.5, _GREY)),
    ]


def _save(figure: Figure, path: pathlib.Path) -> None:
    """Writes the figure as a PNG, cropped to its content; missing glyphs show as boxes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", message=_MISSING)
        figure.savefig(
            path, format="png", dpi=_DPI, facecolor="white", bbox_inches="tight", pad_inches=0.25
        )
    if any(re.match(_MISSING, str(warning.message)) for warning in caught):
        _report_missing_glyphs()


@functools.cache
def _report_missing_glyphs() -> None:
    """Logs, once, that names are not legible."""
    log("the installed fonts lack letters of some names, which are boxes in the pictures")


@functools.cache
def _fonts() -> tuple[str, ...]:
    """Returns Matplotlib's own font, then the installed fonts of other scripts."""
    installed = set(font_manager.get_font_names())
    return ("DejaVu Sans", *(name for name in _NON_LATIN_FONTS if name in installed))


def _style(size: float, colour: str = _INK) -> dict[str, Any]:
    """Returns text properties that disable "$" and TeX, since names are plain text."""
    family = list(_fonts())
    return {"size": size, "color": colour, "family": family, "parse_math": False, "usetex": False}


def _width(text: str, size: float) -> float:
    """Returns the width in inches of a line of text at a font size in points."""
    font = font_manager.FontProperties(family=list(_fonts()), size=size)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_MISSING)
        width = RendererAgg(1, 1, _DPI).get_text_width_height_descent(text, font, ismath=False)[0]
    return width / _DPI


def _shorten(name: str, size: float, inches: float) -> str:
    """Returns the plain name, with as much of its middle left out as it takes to fit."""
    name = plain_text(name)
    if _width(name, size) <= inches:
        return name

    def cut(kept: int) -> str:
        return f"{name[: (kept + 1) // 2]}\u2026{name[len(name) - kept // 2 :]}"

    lengths = range(1, len(name))
    return cut(bisect.bisect(lengths, inches, key=lambda kept: _width(cut(kept), size)))


def _percent(share: float) -> str:
    """Formats a share as a whole per cent; never rounds a few to 0 %, nor nearly all to 100 %."""
    if 0 < share < 0.01:
        return "<1%"
    return ">99%" if 0.99 < share < 1 else f"{share:.0%}"


def _write_cells(
    axes: Axes, matrix: np.ndarray, shares: np.ndarray, colours: np.ndarray, size: float
) -> None:
    """Writes the count, and below it the share, into each cell that is not 0."""
    for row, column in np.argwhere(matrix > 0):
        dark = colours[row, column].mean() < 168
        style = _style(size, "white" if dark else _INK) | {"ha": "center"}
        axes.text(column, row, f"{matrix[row, column]:,}", va="bottom", **style)
        style |= {"size": 0.82 * size, "alpha": 0.8}
        axes.text(column, row + 0.06, _percent(shares[row, column]), va="top", **style)


def _cell_colours(shares: np.ndarray) -> np.ndarray:
    """Returns uint8 (K, K, 3): from white at 0 to blue (diagonal) or orange (elsewhere) at 1.

    Interpolates by the root of the share, since a few per cent would look white.
    """
    diagonal = np.eye(len(shares), dtype=bool)[:, :, None]
    right, wrong = (np.array(colors.to_rgb(c))[None, None] for c in (_RIGHT, _WRONG))
    tints = 1 - np.sqrt(shares)[:, :, None] * (1 - np.where(diagonal, right, wrong))
    return np.round(255 * tints).astype(np.uint8)


def _thumbnail(image: np.ndarray, side: int) -> np.ndarray:
    """Fits an image into the middle of a pale square, uint8 (side, side, 3)."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    square = Image.new("RGB", (side, side), "#f2f2f2")
    resized = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    square.paste(resized, ((side - size[0]) // 2, (side - size[1]) // 2))
    return np.asarray(square)
