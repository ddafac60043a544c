"""JPEG: decoded at a fraction of its size, which is faster, where that is enough."""

import dataclasses
import io
import re

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from dkse_jax.data.formats import Opened, check_page
from dkse_jax.data.formats.limits import MAX_PIXELS, TooManyPixels, check_pixels

# Each scan of a progressive JPEG visits every pixel but needs only a few bytes in the file.
# Cameras and encoders write up to about 20; libtiff too refuses JPEG data with more than 100.
MAX_SCANS = 100
# Matches a segment marker, but no escaped 0xFF of the pixels and no restart marker.
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_START_OF_SCAN, _END_OF_IMAGE = b"\xda", b"\xd9"
_SCAN_PAIR = 0xDAFF  # the bytes 0xFF, 0xDA as a little-endian number

_LOSSLESS, _PROGRESSIVE = 0xC3, (0xC2, 0xCA)
_KINDS = {  # of frames that Pillow does not decode
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "a hierarchical JPEG"),
    0xCB: "a lossless JPEG with arithmetic coding",
    0xF7: "a JPEG-LS image",
}
_NO_FRAMES = (0xC4, 0xC8, 0xCC)  # tables, among the markers 0xC0 to 0xCF


@dataclasses.dataclass(frozen=True, slots=True)
class _Frame:
    """The header of a JPEG's frame: its marker, bits and number of samples, and of whole scans."""

    marker: int
    bits: int
    samples: int
    samples_of_scan: int

    @property
    def is_kept(self) -> bool:
        """Whether libjpeg keeps the coefficients of the whole picture, of 2 bytes, in memory."""
        return self.marker in _PROGRESSIVE or self.samples_of_scan < self.samples


def open_picture(content: bytes, min_side: int | None, page: int) -> Opened:
    """Opens the picture at 1, 1/2, 1/4 or 1/8 of its size; see `formats.open_picture`."""
    check_page(page, 1)
    frame = _frame(content)
    if frame and frame.marker in _KINDS:
        raise ValueError(f"it is {_KINDS[frame.marker]}, which is not read: convert it to TIFF")
    if frame and frame.bits != 8:
        kind = "lossless JPEG" if frame.marker == _LOSSLESS else "JPEG"
        raise ValueError(
            f"it is a {kind} of {frame.bits} bits a sample, and only 8 are read: convert it to TIFF"
        )
    image = JpegImageFile(io.BytesIO(content))
    size = image.size
    kept = 0
    if frame and frame.is_kept:
        kept = 2 * frame.samples * size[0] * size[1]
        if size[0] * size[1] > 2 * MAX_PIXELS:
            raise TooManyPixels(size)
    if _has_too_many_scans(content):
        raise ValueError(f"it is a JPEG of more than {MAX_SCANS} scans")
    # A lossless JPEG is decoded in full by libjpeg, whatever size is asked for.
    if min_side is not None and not (frame and frame.marker == _LOSSLESS):
        image.draft(image.mode, (min_side, min_side))
    check_pixels(image.size, kept)
    return Opened(image, size)


def _frame(content: bytes) -> _Frame | None:
    """Returns the header of the frame; None if there is none."""
    position, frame = 2, b""
    while found := _MARKER.search(content, position):
        marker, position = found[1][0], found.end()
        segment = content[position : position + 8]  # its length, bits, height, width, samples
        if (0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES) or marker == 0xF7:
            frame = found[1] + segment
        elif marker == 0xDA and len(frame) == 9 and len(segment) > 2:
            return _Frame(frame[0], frame[3], frame[8], segment[2])
        position += int.from_bytes(segment[:2], "big")
    return None


def _has_too_many_scans(content: bytes) -> bool:
    """Returns whether a JPEG, without previews and trailing data, has more than MAX_SCANS scans."""
    if not content.startswith(b"\xff\xd8") or _count_pairs(content, _SCAN_PAIR) <= MAX_SCANS:
        return False  # only suspicious files are parsed
    scans, position = 0, 2
    while (found := _MARKER.search(content, position)) and found[1] != _END_OF_IMAGE:
        scans += found[1] == _START_OF_SCAN
        position = found.end() + int.from_bytes(content[found.end() : found.end() + 2], "big")
    return scans > MAX_SCANS


def _count_pairs(content: bytes, pair: int) -> int:
    """Counts the occurrences of a pair of bytes, several times as fast as content.count."""
    halves = (
        np.frombuffer(content, "<u2", (len(content) - offset) // 2, offset) for offset in (0, 1)
    )
    return sum(int(np.count_nonzero(half == pair)) for half in halves)
