"""The metadata that a picture's own file holds: its XMP packet and its IPTC fields."""

import contextlib
import io
import mmap
import re
import struct
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple

from PIL import (
    ImageFile,
    IptcImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from dkse_jax.errors import UserError, refuse
from dkse_jax.files import reason_of
from dkse_jax.prediction.item import Item
from dkse_jax.text import xml_text

_PACKET = re.compile(
    rb"<\?xpacket begin=.{,200}?\?>.*?<\?xpacket end=.{,20}?\?>|<x:xmpmeta.*?</x:xmpmeta>",
    re.DOTALL,
)
_KEYWORDS = (2, 25)
_PARTS = b"http://ns.adobe.com/xmp/extension/"
_FIELDS = {"title": (2, 5), "creator": (2, 80), "rights": (2, 116), "description": (2, 120)}
# By the first byte. Image.open would also warn of, or refuse, large pictures; none is decoded here.
_PLUGINS: dict[bytes, type[ImageFile.ImageFile]] = {
    b"\xff": JpegImagePlugin.JpegImageFile,
    b"\x89": PngImagePlugin.PngImageFile,
    b"I": TiffImagePlugin.TiffImageFile,
    b"M": TiffImagePlugin.TiffImageFile,
    b"R": WebPImagePlugin.WebPImageFile,
}


class Embedded(NamedTuple):
    """What a file holds: its packet or None, its IPTC keywords, and other IPTC fields by name."""

    name: str
    xmp: bytes | None
    keywords: list[str]
    fields: dict[str, list[str]]


def read_embedded(item: Item) -> Embedded:
    """Reads the metadata of a picture, without its pixels; the file is opened for reading only.

    Raises:
        UserError: the file cannot be read, or its packet is divided into several parts.
    """
    with open_picture(item) as file:
        image = _opened(file)
        if image is None:
            return Embedded(item.file, _search(file), [], {})
        if any(data.startswith(_PARTS) for _, data in getattr(image, "applist", ())):
            refuse(f'"{item.file}" has XMP of more than 64 KiB in parts, which are not joined here')
        iptc: dict = {}
        with contextlib.suppress(SyntaxError, ValueError, LookupError, struct.error):
            iptc = IptcImagePlugin.getiptcinfo(image) or {}
        xmp = image.info.get("xmp") or None
        if xmp is None and isinstance(image, PngImagePlugin.PngImageFile):
            xmp = _search(file)  # it may stand behind the pixels
        fields = {name: found for name, tag in _FIELDS.items() if (found := _texts(iptc, tag))}
    return Embedded(
        item.file, xmp.encode() if isinstance(xmp, str) else xmp, _texts(iptc, _KEYWORDS), fields
    )


def open_picture(item: Item) -> BinaryIO:
    """Opens the file of a picture for reading.

    Raises:
        UserError: it cannot be read, or not any more.
    """
    try:
        return open(item.path, "rb") if item.path is not None else io.BytesIO(item.read())
    except OSError as error:
        raise UserError(f'"{item.file}" cannot be read: {reason_of(error)}') from error


def _opened(file: BinaryIO) -> ImageFile.ImageFile | None:
    """Opens an image of a format of which Pillow returns the packet; returns None of others."""
    plugin = _PLUGINS.get(file.read(1))
    file.seek(0)
    try:
        return plugin(file) if plugin else None
    except (SyntaxError, OSError, ValueError, LookupError, struct.error):
        return None


def _search(file: BinaryIO) -> bytes | None:
    """Returns the first packet of a file: the format of packets is made to be searched for."""
    with contextlib.ExitStack() as stack:
        if isinstance(file, io.BytesIO):
            data: bytes | mmap.mmap = file.getvalue()
        else:
            data = stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        found = _PACKET.search(data)
        return bytes(found[0]) if found else None


def _texts(iptc: Mapping[tuple[int, int], bytes | list[bytes]], tag: tuple[int, int]) -> list[str]:
    values = iptc.get(tag, [])
    return list(_decoded(values if isinstance(values, list) else [values]))


def _decoded(values: list[bytes]) -> Iterator[str]:
    """Yields texts: in UTF-8, as nearly all programs write, or else in Windows-1252."""
    for value in values:
        try:
            text = value.decode()
        except UnicodeDecodeError:
            text = value.decode("cp1252", "replace")
        if text := xml_text(text.strip(" \t\r\n\0")):  # some pad with zeros
            yield text
