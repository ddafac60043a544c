"""Search for exact and near duplicates among images, without comparing all pairs.

Near duplicates are encodings, qualities or sizes of one image, with equal or other proportions;
crops and mirror images are not. The thresholds separate duplicates from different images in 1,675
reproductions of art: duplicates down to 64 pixels, or to JPEG quality 20, differ in at most 9 bits
of the hash and 4.4 grey levels, with a correlation of at least 0.994; the nearest different images,
two states of one etching, differ in 14 bits, with a correlation of 0.932.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from dkse_jax.console import with_progress
from dkse_jax.data.decode import Facts, decode, read_image_file
from dkse_jax.data.formats.limits import room_for_one
from dkse_jax.data.identity import content_digest
from dkse_jax.data.tools.tones import one_tone

_SIDE = 32  # of a thumbnail
_ROWS = 256  # that are converted at one time
_GRID = 8  # hashed cells along a side, each _SIDE // _GRID pixels wide
_BITS = 2 * _GRID**2
_NEAR_BITS = 11  # maximum of differing bits
_FLAT = 4.0  # grey levels; an image of less standard deviation counts as blank
_NEAR_GREY = 8.0  # grey levels; maximum of the root mean square between two thumbnails
_NEAR_CORRELATION = 0.98  # minimum


@dataclasses.dataclass(frozen=True, slots=True)
class ImageHash:
    """The hashes and the thumbnail of an image, about 1.5 kB.

    Attributes:
        size: height and width in pixels, upright, before any reduction.
        file_hash: of the file, and the page in it.
        pixel_hash: SHA-256 of the decoded pixels and their shape.
        thumbnail: uint8 (32, 32), grey, for images of any proportions.
        tone: of `one_tone`.
        facts: of the file.
    """

    size: tuple[int, int]
    file_hash: bytes
    pixel_hash: bytes
    thumbnail: np.ndarray
    tone: str
    facts: Facts


@dataclasses.dataclass(frozen=True, slots=True)
class DuplicateSet:
    """Images that are duplicates of each other.

    Attributes:
        members: their indices, ascending; at least two.
        how: "the same file", "the same pixels" or "nearly the same", whichever holds for all.
    """

    members: list[int]
    how: str


def hash_image(path: str, name: str, page: int = 1, min_side: int | None = None) -> ImageHash:
    """Reads, decodes and hashes a picture of a file, called `name` in errors.

    Args:
        path: of the file.
        name: of the picture.
        page: the number of the picture in its file, from 1.
        min_side: as of `decode`.

    Raises:
        BadImage: as `decode`.
    """
    size = os.path.getsize(path) if os.path.isfile(path) else 0
    with room_for_one(size):
        return _hash(path, name, page, min_side)  # whose memory is free before others begin


def _hash(path: str, name: str, page: int, min_side: int | None) -> ImageHash:
    content = read_image_file(path, name)
    decoded = decode(content, min_side, name, page)
    pixels = decoded.pixels
    height, width, _ = pixels.shape
    pixel_hash = hashlib.sha256(f"{height} x {width}".encode())
    pixel_hash.update(pixels)
    grey, levels = _grey_and_levels(pixels)
    # BILINEAR averages over two thumbnail pixels, so that small images of two sizes agree.
    thumbnail = Image.fromarray(grey).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    return ImageHash(
        size=decoded.facts.size[::-1],
        file_hash=content_digest(content, page),
        pixel_hash=pixel_hash.digest(),
        thumbnail=np.asarray(thumbnail),
        tone=one_tone(levels),
        facts=decoded.facts,
    )


def _grey_and_levels(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns pixels (H, W, 3) in grey (H, W), and how many have each level, (3, 256)."""
    grey, levels = [], np.zeros((3, 256), int)
    for top in range(0, len(pixels), _ROWS):
        part = Image.fromarray(pixels[top : top + _ROWS])  # Pillow copies what it converts
        grey.append(np.asarray(part.convert("L")))
        levels += np.array(part.histogram()).reshape(3, 256)
    return np.concatenate(grey), levels


def find_duplicates(hashes: Sequence[ImageHash]) -> list[DuplicateSet]:
    """Returns all sets of duplicates, sorted by their first members.

    Two images are also in one set where a third is a near duplicate of both.
    """
    if not hashes:
        return []
    cluster = np.arange(len(hashes))
    members = [[i] for i in range(len(hashes))]
    first_of: dict[bytes, int] = {}
    for i, one in enumerate(hashes):
        _join(cluster, members, first_of.setdefault(one.pixel_hash, i), i)
    originals = np.array(sorted(first_of.values()))
    thumbnails = np.stack([hashes[i].thumbnail for i in originals])
    for i, others in _near_pairs(thumbnails):
        others = originals[others]
        for other in others[cluster[others] != cluster[originals[i]]]:
            _join(cluster, members, originals[i], other)
    found = [sorted(indices) for indices in members if len(indices) > 1]
    return [DuplicateSet(indices, _how([hashes[i] for i in indices])) for indices in sorted(found)]


def _join(cluster: np.ndarray, members: list[list[int]], i: int, j: int) -> None:
    """Merges the clusters of i and j in place, by relabelling the smaller."""
    small, large = sorted((cluster[i], cluster[j]), key=lambda c: len(members[c]))
    if small != large:
        cluster[members[small]] = large
        members[large] += members[small]
        members[small] = []


def _how(hashes: Sequence[ImageHash]) -> str:
    if len({one.file_hash for one in hashes}) == 1:
        return "the same file"
    if len({one.pixel_hash for one in hashes}) == 1:
        return "the same pixels"
    return "nearly the same"


def _near_pairs(thumbnails: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the index of an image and those of near duplicates after it; pairs may repeat.

    Hashes that differ in at most _NEAR_BITS bits are equal in at least one of _NEAR_BITS + 1
    parts, so that only images with an equal part are compared.
    """
    indices = np.flatnonzero(thumbnails.std((1, 2)) >= _FLAT)
    bits = _difference_bits(thumbnails[indices])
    codes = np.packbits(bits, axis=1).view(np.uint64)
    # Neighbouring bits are correlated; parts of random bits separate images better.
    parts = np.array_split(np.random.default_rng(0).permutation(_BITS), _NEAR_BITS + 1)
    for part in with_progress(parts, len(parts), "comparing pictures"):
        keys = bits[:, part] @ (1 << np.arange(len(part)))
        order = np.argsort(keys, kind="stable")
        for alike in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
            for position, i in enumerate(alike[:-1]):
                others = alike[position + 1 :]
                differing = np.bitwise_count(codes[others] ^ codes[i]).sum(axis=1)
                others = others[differing <= _NEAR_BITS]
                if len(others):
                    near = _look_alike(thumbnails[indices[i]], thumbnails[indices[others]])
                    yield int(indices[i]), indices[others[near]]


def _difference_bits(thumbnails: np.ndarray) -> np.ndarray:
    """Returns bool (N, _BITS): whether cells are lighter than their left and upper neighbours.

    The margin of one grey level ignores the noise of even areas.
    """
    width = _SIDE // _GRID
    cells = thumbnails.reshape(-1, _GRID, width, _GRID, width).mean((2, 4), dtype=np.float32)
    steps = [cells - np.roll(cells, 1, axis) > 1 for axis in (1, 2)]
    return np.concatenate(steps, axis=1).reshape(-1, _BITS)


def _look_alike(thumbnail: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns bool (N,): whether each of the others (N, 32, 32), none flat, shows the same."""
    one, many = (
        thumbnail.astype(np.float32).ravel(),
        others.astype(np.float32).reshape(-1, _SIDE**2),
    )
    grey = np.sqrt(np.square(many - one).mean(axis=1))
    one, many = one - one.mean(), many - many.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(one) * np.linalg.norm(many, axis=1)
    return (grey <= _NEAR_GREY) & (many @ one >= _NEAR_CORRELATION * norms)
