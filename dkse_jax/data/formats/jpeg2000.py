"""JPEG 2000, files and codestreams: decoded at a fraction of its size where that is enough."""

import dataclasses
import io
import struct
from typing import Any, cast

import numpy as np
from PIL import Image
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

from dkse_jax.data.colour import read_profile
from dkse_jax.data.formats import Opened, check_page
from dkse_jax.data.formats.boxes import box
from dkse_jax.data.formats.limits import check_pixels

_START = b"\xff\x4f\xff\x51"  # of a codestream and of its sizes (SIZ)
_COMPONENTS, _COMPONENT = 38, 3  # place in SIZ, after its marker, and bytes of each component
_SIGNED = 0x80
_ROWS = 256  # that are compared at one time
_CODING, _FIRST_TILE = 0xFF52, 0xFF90


@dataclasses.dataclass(frozen=True, slots=True)
class _Codestream:
    """The header of a codestream.

    Attributes:
        place: of the components' bits in the content.
        area: left, top, right and bottom on the reference grid.
        bits: of each component.
        halvings: how often width and height can be halved.
        is_reversible: whether the wavelet is the one of whole numbers.
    """

    place: int
    area: tuple[int, int, int, int]
    bits: tuple[int, ...]
    halvings: int
    is_reversible: bool

    def size(self, halvings: int = 0) -> tuple[int, int]:
        """Returns width and height after that many halvings."""
        left, top, right, bottom = (-(-edge // 2**halvings) for edge in self.area)
        return right - left, bottom - top


class _Picture(Jpeg2KImageFile):
    """A picture that is decoded reduced; Pillow's own way expects wrong sizes."""

    def halve(self, halvings: int, size: tuple[int, int]) -> None:
        """Decodes fewer levels; size is what they have."""
        (tile,) = self.tile
        codec, _, *rest = cast(tuple[Any, ...], tile.args)
        self._size = size
        self.tile = [tile._replace(extents=(0, 0, *size), args=(codec, halvings, *rest))]


def open_picture(content: bytes, min_side: int | None, page: int) -> Opened:
    """Opens the picture at 1, 1/2, 1/4 ... of its size; see `formats.open_picture`."""
    check_page(page, 1)
    stream = _parse(content)
    halvings = 0
    while (
        min_side is not None
        and not any(stream.area[:2])  # Pillow reduces no picture that begins elsewhere
        and halvings < stream.halvings
        and min(stream.size(halvings + 1)) >= min_side
    ):
        halvings += 1
    size = stream.size(halvings)
    check_pixels(size)
    bits = ", ".join(map(str, sorted(set(stream.bits))))
    kind = f"a JPEG 2000 image of {len(stream.bits)} x {bits} bits"
    try:
        image = _shown(content, stream, halvings)
    except SyntaxError as error:
        raise ValueError(f"it is {kind}, which is not read: convert it to TIFF") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"it is {kind}, and its data are incomplete or damaged") from error
    return Opened(image, stream.size())


def _shown(content: bytes, stream: _Codestream, halvings: int) -> Image.Image:
    """Returns the picture with its profile, of 8 bits a sample or of 16 in grey."""
    image = _decoded(content, stream, halvings)
    if max(stream.bits) > 8 and image.mode != "I;16":
        _restore_white(image, content, stream, halvings)
    if min(stream.bits) < 8:
        image = image.point(_full_range(stream.bits, image.mode))
    if profile := _profile(content):
        if image.mode == "RGBA" and read_profile(profile).space == "CMYK":
            image = Image.frombytes("CMYK", image.size, image.tobytes())
        image.info["icc_profile"] = profile
    return image


def _full_range(bits: tuple[int, ...], mode: str) -> list[int]:
    """Returns the table of `Image.point` for numbers of few bits, which Pillow shifts to 8."""
    table: list[int] = []
    for few in (min(one, 8) for one in bits):
        shift, white = 8 - few, 255 >> 8 - few << 8 - few
        if mode == "P":
            table += (number >> shift for number in range(256))
        else:
            table += (min(255, (number * 255 + white // 2) // white) for number in range(256))
    return table


def _profile(content: bytes) -> bytes:
    """Returns the ICC profile of a file; b"" where another description of its colours is first."""
    colours = box(box(content, b"jp2h"), b"colr")
    return colours[3:] if colours[:1] in (b"\2", b"\3") else b""


def _decoded(content: bytes, stream: _Codestream, halvings: int) -> Image.Image:
    image = _Picture(io.BytesIO(content))
    if image.size != stream.size():
        raise SyntaxError("the sizes of file and codestream differ")
    if halvings:
        image.halve(halvings, stream.size(halvings))
    image.load()
    return image


def _restore_white(image: Image.Image, content: bytes, stream: _Codestream, halvings: int) -> None:
    """Restores white, which Pillow, rounding more than 8 bits to 8 without a limit, turns to 0.

    Another decoding shows which 0 is white: with the bits of the header changed so that white has
    room. The numbers of a reversible wavelet then lie half the range higher, in twice the range;
    those of the other fill 8 bits.

    Raises:
        SyntaxError: the two decodings contradict each other.
    """
    if all(low for low, _ in _extrema(image)):
        return
    patched = bytearray(content)
    for index, bits in enumerate(stream.bits):
        if bits > 8:
            place = stream.place + index * _COMPONENT
            patched[place] = bits if stream.is_reversible else 7  # one less than the number
    other = _decoded(bytes(patched), stream, halvings)
    shifted = stream.is_reversible & (np.array(stream.bits) > 8)
    for top in range(0, image.height, _ROWS):
        box = (0, top, image.width, min(top + _ROWS, image.height))
        wrapped, part = (np.asarray(one.crop(box)) for one in (image, other))
        shown = np.where(shifted, np.clip(2 * (part.astype(np.int16) - 64), 0, 256), part)
        # They differ by the rounding of the last bit, and by whole ranges of 256.
        if np.abs((shown - wrapped + 128) % 256 - 128).max() > 2:
            raise SyntaxError("two ways of decoding contradict each other")
        restored = np.where((wrapped == 0) & (shown >= 128), np.uint8(255), wrapped)
        rows = (image.width, box[3] - top)
        image.paste(Image.frombytes(image.mode, rows, restored.tobytes()), box)


def _extrema(image: Image.Image) -> list[tuple[int, int]]:
    return cast(list[tuple[int, int]], [band.getextrema() for band in image.split()])


def _parse(content: bytes) -> _Codestream:
    """Parses a codestream's header.

    Raises:
        ValueError: it has none, or an incomplete one.
    """
    start = content.find(_START) + len(_START)
    try:
        if start < len(_START):
            raise ValueError
        right, bottom, left, top = struct.unpack_from(">4I", content, start + 4)
        (count,) = struct.unpack_from(">H", content, start + _COMPONENTS - 2)
        place = start + _COMPONENTS
        stated = [content[place + index * _COMPONENT] for index in range(count)]
        position = start
        marker = 0
        while marker != _CODING:
            position += struct.unpack_from(">H", content, position)[0] + 2
            (marker,) = struct.unpack_from(">H", content, position - 2)
            if marker == _FIRST_TILE:
                raise ValueError
        halvings, transformation = content[position + 7], content[position + 11]
    except (ValueError, IndexError, struct.error) as error:
        raise ValueError("it is a JPEG 2000 image without a whole header") from error
    if any(value & _SIGNED for value in stated):
        raise ValueError("it is a JPEG 2000 image of signed numbers, which have no known white")
    bits = tuple(value + 1 for value in stated)
    return _Codestream(place, (left, top, right, bottom), bits, halvings, transformation == 1)
