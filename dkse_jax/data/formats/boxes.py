"""Boxes, of which files of JPEG 2000 and HEIC consist: a length, a type of four letters, data."""

import struct
from collections.abc import Iterator


def boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields type and data of each box, until the end or one that is damaged."""
    start = 0
    while start + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, start)
        head = 8
        if size == 1:
            size, head = int.from_bytes(content[start + 8 : start + 16], "big"), 16
        size = size or len(content) - start  # the last box may leave it open
        if size < head:
            return
        yield kind, content[start + head : start + size]
        start += size


def box(content: bytes, kind: bytes) -> bytes:
    """Returns the data of the first box of a type; b"" if there is none."""
    return next((data for found, data in boxes(content) if found == kind), b"")
