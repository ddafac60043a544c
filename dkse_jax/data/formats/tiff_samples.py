"""The samples of a TIFF's page, of any layout, and their conversion to a picture.

For what Pillow does not identify or reads wrong. Compressed data are left to libtiff, one strip or
tile at a time, as grey pixels of 8 bits.
"""

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.ExifTags import Base as ExifTag
from PIL.TiffImagePlugin import TiffImageFile

from dkse_jax.data.formats.limits import MAX_PIXELS
from dkse_jax.data.formats.tiff_pages import COLOURS, alpha_of, photometric

if TYPE_CHECKING:
    import tifffile

_LIBTIFF = (5, 32773, 34925, 50000)  # LZW, PackBits, LZMA, Zstandard
_ZLIB = (8, 32946)
_MAX_SAMPLES = 16  # of a pixel
_ROWS = 256  # of a strip that is not compressed, read at one time
_MAX_SAMPLE_VALUE, _PROFILE = 281, 34675


def full_value(tags: Mapping[int, Any], bits: int) -> int:
    """Returns the sample that means full intensity.

    A MaxSampleValue of 2^n - 1 is taken for numbers of n bits, stored in 16; of any other, TIFF 6.0
    permits no use.
    """
    full, stated = (1 << bits) - 1, tags.get(_MAX_SAMPLE_VALUE)
    stated = stated[0] if isinstance(stated, tuple) and stated else stated
    if bits == 16 and isinstance(stated, int) and 255 < stated < full and not stated & stated + 1:
        return stated
    return full


def unreadable(page: "tifffile.TiffPage") -> str:
    """Returns why a page shows no known colours, whatever reads it; "" if it does."""
    if page.sampleformat != 1 or (isinstance(page.bitspersample, int) and page.bitspersample > 16):
        return "its pixels have no known white"
    colours = COLOURS.get(photometric(page), 1)
    extras = page.samplesperpixel - colours
    is_alpha_of_rgb = colours == 3 and page.samplesperpixel == 4
    if (extras > 1 and colours == 1) or (extras > len(page.extrasamples) and not is_alpha_of_rgb):
        return "its samples are not of known colours"
    return ""


def can_read(page: "tifffile.TiffPage", factor: int = 1) -> bool:
    """Returns whether `read_picture` knows the layout."""
    kind, bits = photometric(page), page.bitspersample
    return (
        kind in COLOURS
        and page.samplesperpixel >= COLOURS[kind]
        and not unreadable(page)
        and isinstance(bits, int)
        and (kind not in (6, 8, 9) or bits in (8, 16))
        and (kind != 6 or not page.is_subsampled)
        and page.samplesperpixel <= _MAX_SAMPLES
        and (kind != 8 or factor == 1)  # signed numbers have no mean here
        and page.fillorder == 1
        and page.imagedepth == 1
        and (page.compression == 1 or _is_decompressible(page))
        and (page.predictor == 1 or (page.predictor == 2 and bits in (8, 16)))
    )


def _is_decompressible(page: "tifffile.TiffPage") -> bool:
    _, rows, row_bytes = _grid(page)
    return page.compression in (*_LIBTIFF, *_ZLIB) and rows * row_bytes <= MAX_PIXELS


def read_picture(content: bytes, page: "tifffile.TiffPage", factor: int = 1) -> Image.Image:
    """Reads a page that `can_read`, each factor x factor pixels as their mean."""
    kind = photometric(page)
    colours = COLOURS[kind]
    samples = read_samples(content, page, factor)
    alpha = alpha_of(page)
    if alpha:
        place, associated = alpha
        opacity = _to_8_bits(samples[..., place, None], (1 << int(page.bitspersample)) - 1)
    if kind in (8, 9):
        values = _lab(samples[..., :3], kind, int(page.bitspersample))
    else:
        tags = {_MAX_SAMPLE_VALUE: page.tags.valueof(_MAX_SAMPLE_VALUE)}
        values = _to_8_bits(samples[..., :colours], full_value(tags, int(page.bitspersample)))
    if kind == 0:
        white = opacity if alpha and associated else np.uint8(255)
        values = white - np.minimum(values, white)
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[colours]
    mode = {6: "YCbCr", 8: "LAB", 9: "LAB"}.get(kind, mode)
    if alpha and mode in ("L", "RGB"):
        values = np.concatenate([values, opacity], axis=-1)
        mode += "a" if associated else "A"
    elif alpha and mode == "CMYK" and not associated:
        values = (values.astype(np.uint16) * opacity // 255).astype(np.uint8)
    image = Image.frombytes(mode, values.shape[1::-1], np.ascontiguousarray(values).tobytes())
    if mode.endswith("a"):
        image = image.convert(mode[:-1] + "A")
    if profile := page.tags.valueof(_PROFILE):
        image.info["icc_profile"] = profile
    if turn := page.tags.valueof(ExifTag.Orientation):
        image.getexif()[ExifTag.Orientation] = int(turn)
    return image


def read_samples(content: bytes, page: "tifffile.TiffPage", factor: int = 1) -> np.ndarray:
    """Reads the samples of a page, uint8 or uint16 (H, W, samples).

    Args:
        content: of the file.
        page: that `can_read`.
        factor: divides height and width; each value is the mean of factor x factor.
    """
    shape = page.imagelength, page.imagewidth, page.samplesperpixel
    kind = np.uint8 if page.bitspersample <= 8 else np.uint16
    if factor == 1:
        samples = np.empty(shape, kind)
        for place, block in _blocks(content, page):
            samples[place] = block
        return samples
    height, width = (-(-side // factor) for side in shape[:2])
    sums = np.zeros((height, width, shape[2]), np.uint32)
    counts = np.zeros((height, width, shape[2]), np.uint32)
    for place, block in _blocks(content, page):
        sizes = np.ones((*block.shape[:2], 1), np.uint32)
        for axis in (0, 1):
            start, stop = place[axis].start, place[axis].stop
            edges = np.maximum(np.arange(start // factor, -(-stop // factor)) * factor - start, 0)
            block = np.add.reduceat(block, edges, axis, np.uint32)
            sizes = np.add.reduceat(sizes, edges, axis, np.uint32)
        rows, columns = (slice(p.start // factor, -(-p.stop // factor)) for p in place[:2])
        sums[rows, columns, place[2]] += block
        counts[rows, columns, place[2]] += sizes
    return ((sums + counts // 2) // counts).astype(kind)


def _blocks(
    content: bytes, page: "tifffile.TiffPage"
) -> Iterator[tuple[tuple[slice, slice, slice], np.ndarray]]:
    """Yields the place in (H, W, samples) and the samples of each strip, tile or part of one."""
    height, width, samples = page.imagelength, page.imagewidth, page.samplesperpixel
    planes = samples if page.planarconfig == 2 else 1
    across, down, row_bytes = _grid(page)
    columns, rows = -(-width // across), -(-height // down)
    if len(page.dataoffsets) < planes * rows * columns:
        raise ValueError("its pixels are incomplete")
    for index in range(planes * rows * columns):
        plane, inner = divmod(index, rows * columns)
        top, left = inner // columns * down, inner % columns * across
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        stored = down if page.is_tiled else min(down, height - top)
        data = memoryview(content)[offset : offset + count]
        if page.compression != 1:
            data = memoryview(_decompressed(data, int(page.compression), row_bytes, stored))
        if len(data) < stored * row_bytes:
            raise ValueError("its pixels are incomplete")
        for start in range(0, min(stored, height - top), _ROWS):
            stop = min(start + _ROWS, stored, height - top)
            part = np.frombuffer(data[start * row_bytes : stop * row_bytes], np.uint8)
            block = _unpacked(part.reshape(stop - start, row_bytes), page)
            block = block[:, : across * (samples // planes)].reshape(stop - start, across, -1)
            if page.predictor == 2:
                block = np.cumsum(block, axis=1, dtype=block.dtype)
            right = min(left + across, width)
            planes_of = slice(plane, plane + 1) if planes > 1 else slice(0, samples)
            place = slice(top + start, top + stop), slice(left, right), planes_of
            yield place, block[:, : right - left]


def part_size(page: "tifffile.TiffPage") -> tuple[int, int]:
    """Returns width and height of a strip or tile, which is read as a whole."""
    if page.is_tiled:
        return page.tilewidth, page.tilelength
    return page.imagewidth, min(page.rowsperstrip, page.imagelength)


def _grid(page: "tifffile.TiffPage") -> tuple[int, int, int]:
    """Returns width, height and bytes of a row of a strip or tile."""
    across, down = part_size(page)
    samples = 1 if page.planarconfig == 2 else page.samplesperpixel
    return across, down, -(-across * samples * int(page.bitspersample) // 8)


def _unpacked(rows: np.ndarray, page: "tifffile.TiffPage") -> np.ndarray:
    """Returns the numbers of rows of bytes, uint8 (R, B), as uint8 or uint16 (R, N)."""
    bits = page.bitspersample
    if bits == 8:
        return rows
    if bits == 16:
        return rows.view(page.parent.byteorder + "u2").astype(np.uint16)
    count = rows.shape[1] * 8 // bits
    digits = np.unpackbits(rows, axis=1)[:, : count * bits].reshape(len(rows), count, bits)
    kind = np.uint8 if bits < 8 else np.uint16
    return digits @ (1 << np.arange(bits - 1, -1, -1)).astype(kind)


def _decompressed(data: memoryview, compression: int, row_bytes: int, rows: int) -> bytes:
    if compression in _ZLIB:
        return zlib.decompressobj().decompress(data, row_bytes * rows)
    tags = [(256, row_bytes), (257, rows), (258, 8), (259, compression), (262, 1)]
    tags += [(273, 0), (277, 1), (278, rows), (279, len(data))]
    start = 8 + 2 + 12 * len(tags) + 4
    entries = [
        struct.pack("<HHII", tag, 4, 1, start if tag == 273 else value) for tag, value in tags
    ]
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + b"".join(entries) + bytes(4)
    with TiffImageFile(io.BytesIO(head + data)) as image:
        return image.tobytes()


def _to_8_bits(values: np.ndarray, full: int) -> np.ndarray:
    """Scales unsigned numbers so that full is 255."""
    bits = full.bit_length()
    if bits > 8:
        return np.minimum(values >> bits - 8, 255).astype(np.uint8)
    if bits == 8:
        return values
    return (np.minimum(values, full).astype(np.uint16) * 255 // full).astype(np.uint8)


def _lab(values: np.ndarray, kind: int, bits: int) -> np.ndarray:
    """Returns L of 0 to 255 with a and b as signed bytes, as Pillow's raw mode LAB has them."""
    if bits == 16:
        values = (values >> 8).astype(np.uint8)
    if kind == 9:  # a and b are stored plus 128
        values = values ^ np.array([0, 128, 128], np.uint8)
    return values
