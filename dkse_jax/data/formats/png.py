"""PNG, also with texts that are longer than Pillow decompresses."""

import io
import zlib
from collections.abc import Iterator

from PIL import PngImagePlugin

from dkse_jax.data.formats import Opened
from dkse_jax.data.formats.limits import check_pixels
from dkse_jax.data.formats.pillow import opened_animation

_SIGNATURE = 8  # bytes before the first chunk
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_MAX_PROFILE = 2**24  # bytes of an ICC profile; those of printers have up to 4e6


def open_picture(content: bytes, min_side: int | None, page: int) -> Opened:
    """Opens the first picture; see `formats.open_picture`."""
    content, profile = _without_long_chunks(content)
    image = PngImagePlugin.PngImageFile(io.BytesIO(content))
    if profile:
        image.info["icc_profile"] = profile
    check_pixels(image.size)
    return opened_animation(image, content, page)


def _without_long_chunks(content: bytes) -> tuple[bytes, bytes]:
    """Removes texts that Pillow would refuse; returns the rest and an ICC profile as long."""
    kept: list[memoryview] = []
    profile, start, texts = b"", 0, 0
    for kind, begin, end in _chunks(content):
        if kind in _TEXTS:
            length = _text_length(kind, content[begin + 8 : end - 4])
            if texts + length <= PngImagePlugin.MAX_TEXT_MEMORY:
                texts += length
                continue
        elif kind == b"iCCP":
            found = _inflated(content[begin + 8 : end - 4].partition(b"\0")[2][1:], _MAX_PROFILE)
            if len(found) <= PngImagePlugin.MAX_TEXT_CHUNK:
                continue
            profile = found if len(found) < _MAX_PROFILE else b""
        else:
            continue
        kept.append(memoryview(content)[start:begin])
        start = end
    return (b"".join((*kept, memoryview(content)[start:])) if start else content), profile


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields type, begin and end of each chunk."""
    begin = _SIGNATURE
    while begin + 12 <= len(content):
        end = begin + 12 + int.from_bytes(content[begin : begin + 4], "big")
        yield content[begin + 4 : begin + 8], begin, end
        begin = end


def _text_length(kind: bytes, data: bytes) -> int:
    """Returns the length of a text; above MAX_TEXT_MEMORY if Pillow would not decompress it."""
    rest = data.partition(b"\0")[2]
    if kind == b"zTXt":
        compressed = rest[1:]
    elif kind == b"iTXt" and rest[:1] != b"\0":
        compressed = rest[2:].split(b"\0", 2)[-1]
    else:
        return len(rest)
    limit = PngImagePlugin.MAX_TEXT_CHUNK
    length = len(_inflated(compressed, limit + 1))
    return length if length <= limit else PngImagePlugin.MAX_TEXT_MEMORY + 1


def _inflated(compressed: bytes, limit: int) -> bytes:
    """Decompresses up to the limit; returns b"" for what cannot be."""
    try:
        return zlib.decompressobj().decompress(compressed, limit)
    except zlib.error:
        return b""
