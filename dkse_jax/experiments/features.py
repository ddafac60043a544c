"""Hand-crafted features: colour, texture, shape and colour layout of 4 x 4 blocks of an image.

The paper's section 1 describes a classifier that divides an image into 4 x 4 sub-blocks and takes
"color, texture, shape, and color layout of each subblock", without details. The four established
descriptors here are our choice, 43 numbers a block.

    colour   mean, deviation and cube root of the third moment of L*, a*, b*: Stricker and Orengo,
             Similarity of Color Images, 1995.
    texture  the histogram of rotation-invariant uniform local binary patterns (Ojala, Pietikäinen
             and Mäenpää, TPAMI 2002); contrast, homogeneity, energy and correlation of the
             grey-level co-occurrence matrix (Haralick, Shanmugam and Dinstein, 1973).
    shape    the histogram of edge directions (Jain and Vailaya, Image Retrieval Using Color and
             Shape, 1996), each pixel weighted by its gradient, as in Dalal and Triggs's
             histograms of oriented gradients (CVPR 2005).
    layout   the first coefficients of the cosine transform of an 8 x 8 grid of mean colours: the
             colour layout descriptor of MPEG-7 (Kasutani and Yamada, ICIP 2001), for each block.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dkse_jax.console import with_progress
from dkse_jax.data.sources import Source
from dkse_jax.data.transform import centre_view
from dkse_jax.errors import UserError

try:
    from scipy.fft import dctn
    from skimage.color import rgb2lab, rgb2ycbcr
    from skimage.feature import graycomatrix, graycoprops, local_binary_pattern
except ImportError as error:
    raise UserError(
        "the traditional classifiers need scikit-image: pip install -e '.[classical]'"
    ) from error

SIZE = 256  # pixels along the described view
_GRID = 4  # blocks along it
_BLOCK = SIZE // _GRID
_BLOCKS = _GRID**2
_BLOCK_OF = np.arange(_BLOCKS).reshape(_GRID, _GRID).repeat(_BLOCK, 0).repeat(_BLOCK, 1)

_GREY_LEVELS = 16  # of the co-occurrence matrix
_FOUR_WAYS = (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
_DIRECTIONS = 8  # of an edge, from 0 to 180 degrees
_ZIGZAG = ((0, 0), (0, 1), (1, 0), (2, 0), (1, 1), (0, 2))  # six of Y, the first three of Cb, Cr

# Family -> its numbers in the feature vector: 16 blocks, row by row, of 9, 14, 8 and 12.
FAMILIES = {
    "colour": slice(0, 144),
    "texture": slice(144, 368),
    "shape": slice(368, 496),
    "layout": slice(496, 688),
}


def split_features(source: Source, threads: int) -> np.ndarray:
    """Computes the features of every image of a split, float32 (N, 688), and logs progress.

    Args:
        source: the split.
        threads: number of threads that read and describe images.
    """

    def describe(index: int) -> np.ndarray:
        return block_features(source.read(index, SIZE))

    with ThreadPoolExecutor(threads) as pool:
        rows = pool.map(describe, range(len(source)))
        return np.stack(list(with_progress(rows, len(source), "describing pictures")))


def block_features(image: np.ndarray) -> np.ndarray:
    """Computes the features of one image, uint8 (H, W, 3) -> float32 (688,); see FAMILIES.

    The described view is the evaluation's: the largest centred square, at 256 pixels.
    """
    view = centre_view(image, SIZE)
    lab = rgb2lab(view.astype(np.float32) / 255)  # L* in 0..100
    lightness = lab[..., 0]
    families = (_colour(lab), _texture(lightness), _shape(lightness), _layout(view))
    return np.concatenate([family.ravel() for family in families]).astype(np.float32)


def _blocks(pixels: np.ndarray) -> np.ndarray:
    """Splits into blocks, row by row: (S, S, ...) -> (blocks, S/4, S/4, ...)."""
    rest = pixels.shape[2:]
    grid = pixels.reshape(_GRID, _BLOCK, _GRID, _BLOCK, *rest).swapaxes(1, 2)
    return grid.reshape(_BLOCKS, _BLOCK, _BLOCK, *rest)


def _histograms(codes: np.ndarray, bins: int, weights: np.ndarray) -> np.ndarray:
    """Computes each block's weighted histogram of codes in [0, bins), (S, S) -> (blocks, bins)."""
    cells = (_BLOCK_OF * bins + codes).ravel()
    sums = np.bincount(cells, weights.ravel(), minlength=_BLOCKS * bins)
    return sums.reshape(_BLOCKS, bins) / _BLOCK**2


def _colour(lab: np.ndarray) -> np.ndarray:
    """Computes the colour moments, (S, S, 3) -> (blocks, 9)."""
    colours = _blocks(lab).reshape(_BLOCKS, -1, 3).astype(np.float64)
    mean = colours.mean(1, keepdims=True)
    centred = colours - mean
    squares = centred * centred
    spread, skew = np.sqrt(squares.mean(1)), np.cbrt((squares * centred).mean(1))
    return np.concatenate([mean[:, 0], spread, skew], axis=1)


def _texture(lightness: np.ndarray) -> np.ndarray:
    """Computes 10 pattern frequencies, 4 co-occurrence properties, (S, S) -> (blocks, 14)."""
    grey = np.clip(lightness * 2.55 + 0.5, 0, 255).astype(np.uint8)
    # Eight neighbours at distance 1: 9 uniform patterns, and one code for all others. Without the
    # padding, pixels beyond the image would be black.
    framed = local_binary_pattern(np.pad(grey, 1, "edge"), 8, 1, "uniform")
    codes = framed[1:-1, 1:-1].astype(np.int64)
    patterns = _histograms(codes, 10, np.ones(codes.shape))
    properties = [_cooccurrence(block) for block in _blocks(grey // (256 // _GREY_LEVELS))]
    return np.concatenate([patterns, properties], axis=1)


def _cooccurrence(levels: np.ndarray) -> list[float]:
    """Returns the mean properties over four directions of a block, uint8 (S/4, S/4)."""
    matrix = graycomatrix(levels, [1], _FOUR_WAYS, _GREY_LEVELS, symmetric=True, normed=True)
    names = ("contrast", "homogeneity", "energy", "correlation")
    return [graycoprops(matrix, name).mean() for name in names]


def _shape(lightness: np.ndarray) -> np.ndarray:
    """Computes the histograms of edge directions, (S, S) -> (blocks, 8)."""
    down, right = np.gradient(lightness)
    turn = np.floor(np.arctan2(down, right) / np.pi * _DIRECTIONS).astype(np.int64)
    return _histograms(turn % _DIRECTIONS, _DIRECTIONS, np.hypot(down, right))


def _layout(view: np.ndarray) -> np.ndarray:
    """Computes 6 coefficients of Y, 3 of Cb and 3 of Cr, uint8 (S, S, 3) -> (blocks, 12)."""
    cell = _BLOCK // 8
    cells = _blocks(view).reshape(_BLOCKS, 8, cell, 8, cell, 3).mean((2, 4)) / 255
    waves = dctn(rgb2ycbcr(cells), axes=(1, 2), norm="ortho")  # (blocks, 8, 8, 3)
    chosen = [waves[:, i, j, 0] for i, j in _ZIGZAG]
    chosen += [waves[:, i, j, channel] for channel in (1, 2) for i, j in _ZIGZAG[:3]]
    return np.stack(chosen, axis=1)
