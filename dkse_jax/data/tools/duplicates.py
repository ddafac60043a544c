"""Pictures that are the same, or nearly so, found without comparing each with every other.

Nearly the same are two encodings, qualities or sizes of one picture, stretched or not; a crop or a
mirror image is another picture. The constants lie between what copies and strangers among 1,675
reproductions of art have: copies down to 64 pixels, or to JPEG quality 20, differ in at most 9 bits
of the hash and 4.4 grey levels and correlate to 0.994 at least; the nearest strangers differ in 14
bits and correlate to 0.932, which are two states of one etching.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from dkse_jax.console import with_progress
from dkse_jax.data.decode import decode_image, read_image_file

_SIDE = 32  # of a thumbnail
_GRID = 8  # cells along a side of what is hashed, each _SIDE // _GRID pixels wide
_BITS = 2 * _GRID**2
_NEAR_BITS = 11  # at most so many differ
_FLAT = 4.0  # grey levels of standard deviation; a picture below is as good as blank
_NEAR_GREY = 8.0  # grey levels of root mean square between two thumbnails, at most
_NEAR_CORRELATION = 0.98  # at least


@dataclasses.dataclass(frozen=True, slots=True)
class ImageHash:
    """What is kept of a picture: about a kilobyte and a half.

    Attributes:
        size: height and width in pixels.
        file_hash: SHA-256 of the file.
        pixel_hash: SHA-256 of the decoded pixels and their shape.
        thumbnail: uint8 (32, 32), grey, whatever the picture's proportions.
    """

    size: tuple[int, int]
    file_hash: bytes
    pixel_hash: bytes
    thumbnail: np.ndarray


@dataclasses.dataclass(frozen=True, slots=True)
class DuplicateSet:
    """Pictures that are one.

    Attributes:
        members: their places, ascending; at least two.
        how: "the same file", "the same pixels" or "nearly the same", whichever holds for all.
    """

    members: list[int]
    how: str


def hash_image(path: str, name: str) -> ImageHash:
    """Reads and decodes a picture; an error calls it by the name.

    Raises:
        BadImage: as decode_image.
    """
    content = read_image_file(path, name)
    pixels = decode_image(content, name=name)
    height, width, _ = pixels.shape
    # BILINEAR takes in twice a thumbnail's pixel, so that small pictures of two sizes agree.
    grey = Image.fromarray(pixels).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    return ImageHash(
        size=(height, width),
        file_hash=hashlib.sha256(content).digest(),
        pixel_hash=hashlib.sha256(f"{height} x {width}".encode() + pixels.tobytes()).digest(),
        thumbnail=np.asarray(grey),
    )


def find_duplicates(looks: Sequence[ImageHash]) -> list[DuplicateSet]:
    """Every set of pictures that are one, by their first members.

    Two pictures are in one set, too, where a third is nearly the same as either.
    """
    if not looks:
        return []
    cluster = np.arange(len(looks))
    members = [[i] for i in range(len(looks))]
    first_of: dict[bytes, int] = {}
    for i, look in enumerate(looks):
        _join(cluster, members, first_of.setdefault(look.pixel_hash, i), i)
    originals = np.array(sorted(first_of.values()))
    thumbnails = np.stack([looks[i].thumbnail for i in originals])
    for i, others in _near_pairs(thumbnails):
        others = originals[others]
        for other in others[cluster[others] != cluster[originals[i]]]:
            _join(cluster, members, originals[i], other)
    found = [sorted(places) for places in members if len(places) > 1]
    return [DuplicateSet(places, _how([looks[i] for i in places])) for places in sorted(found)]


def _join(cluster: np.ndarray, members: list[list[int]], i: int, j: int) -> None:
    """Makes one of the clusters of i and j, in place; the smaller is the one relabelled."""
    small, large = sorted((cluster[i], cluster[j]), key=lambda c: len(members[c]))
    if small != large:
        cluster[members[small]] = large
        members[large] += members[small]
        members[small] = []


def _how(looks: Sequence[ImageHash]) -> str:
    if len({look.file_hash for look in looks}) == 1:
        return "the same file"
    if len({look.pixel_hash for look in looks}) == 1:
        return "the same pixels"
    return "nearly the same"


def _near_pairs(thumbnails: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each picture (its place) with those after it that are nearly the same, once or more.

    Hashes that differ in at most _NEAR_BITS bits are equal in at least one of _NEAR_BITS + 1
    parts, so that only pictures with an equal part are compared.
    """
    places = np.flatnonzero(thumbnails.std((1, 2)) >= _FLAT)
    bits = _difference_bits(thumbnails[places])
    codes = np.packbits(bits, axis=1).view(np.uint64)
    # Neighbouring bits are alike, so that a part of distant ones tells pictures better apart.
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
                    near = _look_alike(thumbnails[places[i]], thumbnails[places[others]])
                    yield int(places[i]), places[others[near]]


def _difference_bits(thumbnails: np.ndarray) -> np.ndarray:
    """bool (N, _BITS): which cells are lighter than their left and their upper neighbour.

    One grey level more, since copies of an even area are not quite even.
    """
    width = _SIDE // _GRID
    cells = thumbnails.reshape(-1, _GRID, width, _GRID, width).mean((2, 4), dtype=np.float32)
    steps = [cells - np.roll(cells, 1, axis) > 1 for axis in (1, 2)]
    return np.concatenate(steps, axis=1).reshape(-1, _BITS)


def _look_alike(thumbnail: np.ndarray, others: np.ndarray) -> np.ndarray:
    """bool (N,): which of the others (N, 32, 32), none of them flat, show the same."""
    one, many = (
        thumbnail.astype(np.float32).ravel(),
        others.astype(np.float32).reshape(-1, _SIDE**2),
    )
    grey = np.sqrt(np.square(many - one).mean(axis=1))
    one, many = one - one.mean(), many - many.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(one) * np.linalg.norm(many, axis=1)
    return (grey <= _NEAR_GREY) & (many @ one >= _NEAR_CORRELATION * norms)
