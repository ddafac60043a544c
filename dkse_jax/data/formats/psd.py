"""PSD and PSB of Photoshop: the composite that the file stores; no layer is rendered."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

from dkse_jax.data.formats import NEEDS_MUSEUM, Opened, check_page
from dkse_jax.data.formats.limits import check_pixels

# Photoshop's number of a colour mode -> Pillow's mode.
_MODES = {0: "1", 1: "L", 2: "P", 3: "RGB", 4: "CMYK", 8: "L", 9: "LAB"}
_HEADER, _PSB = struct.Struct(">4sH6xHIIHH"), 2
_VERSION_INFO, _ICC_PROFILE = 1057, 1039  # image resources
_RLE, _ZIP, _ZIP_PREDICTION = 1, 2, 3  # compressions of the composite
_CUT = "it is a PSD that is cut off"


def open_picture(content: bytes, min_side: int | None, page: int) -> Opened:
    """Opens the composite; see `formats.open_picture`.

    Its colours are matted on white already, so the transparency beside them is left out.
    """
    if len(content) < _HEADER.size:
        raise ValueError(_CUT)
    _, version, channels, height, width, depth, number = _HEADER.unpack_from(content)
    if not width * height:
        raise ValueError("it is a PSD without pixels")
    check_page(page, 1)
    check_pixels((width, height), len(content))
    if depth == 32:
        raise ValueError("its 32-bit pixels have no known white")
    kind = f"a {'PSB' if version == _PSB else 'PSD'} of {channels} x {depth} bits"
    mode = _MODES.get(number, "")
    large = version == _PSB or depth == 16
    bands = Image.getmodebands(mode) if mode else 1
    if not mode or depth not in (1, 8, 16) or channels < bands or (large and mode in "1P"):
        raise ValueError(f"it is {kind} in a colour mode that cannot be read ({number})")
    try:
        image = _large_composite(content, mode) if large else _composite(content)
    except ImportError as error:
        raise ValueError(f"it is {kind}, which {NEEDS_MUSEUM}") from error
    except (OSError, zlib.error) as error:
        raise ValueError(f"it is {kind} that is damaged: {error}") from error
    return Opened(image, (width, height))


def _check_composite(stored: bool) -> None:
    if not stored:
        raise ValueError(
            'its layers are stored without a composite: save it with "Maximize Compatibility"'
        )


def _composite(content: bytes) -> Image.Image:
    image: Any = Image.open(io.BytesIO(content), formats=("PSD",))
    info = {number: data for number, _, data in image.resources}.get(_VERSION_INFO, b"")
    _check_composite(info[4:5] != b"\0")
    if not image.tile:
        raise ValueError("its composite is compressed in a way that cannot be read")
    return image.convert("RGB") if image.mode == "RGBA" else image


def _large_composite(content: bytes, mode: str) -> Image.Image:
    """Returns the composite of 16 bits, or of a PSB, with its profile."""
    from psd_tools.psd.color_mode_data import ColorModeData
    from psd_tools.psd.header import FileHeader
    from psd_tools.psd.image_data import ImageData
    from psd_tools.psd.image_resources import ImageResources

    file = io.BytesIO(content)
    header = FileHeader.read(file)
    ColorModeData.read(file)
    resources = ImageResources.read(file)
    info = resources.get_data(_VERSION_INFO)
    _check_composite(info is None or info.has_composite)
    size = 8 if header.version == _PSB else 4  # of the length of the layers, which are skipped
    file.seek(int.from_bytes(file.read(size), "big"), io.SEEK_CUR)
    planes = _planes(ImageData.read(file), header, Image.getmodebands(mode))
    if mode == "CMYK":
        planes = 255 - planes
    image = Image.merge(mode, [Image.fromarray(plane) for plane in planes])
    image.info["icc_profile"] = resources.get_data(_ICC_PROFILE)
    return image


def _planes(data: Any, header: Any, bands: int) -> np.ndarray:
    """Returns the first bands, uint8 (bands, H, W): of 16 bits the high byte."""
    from psd_tools.compression import decode_prediction, decode_rle

    width, rows, depth = header.width, header.height * bands, header.depth
    length = rows * width * depth // 8
    stored, compression = data.data, int(data.compression)
    if compression == _RLE:
        # psd-tools would leave rows black that are missing.
        size = 2 * header.version  # of the length of a row
        start = size * header.height * header.channels
        if start > len(stored):
            raise ValueError(_CUT)
        counts = np.frombuffer(stored, f">u{size}", rows)
        if start + int(counts.sum(dtype=np.uint64)) > len(stored):
            raise ValueError(_CUT)
        stored = decode_rle(counts.tobytes() + stored[start:], width, rows, depth, header.version)
    elif compression in (_ZIP, _ZIP_PREDICTION):
        stored = zlib.decompressobj().decompress(stored, length)
        if compression == _ZIP_PREDICTION and len(stored) == length:
            stored = decode_prediction(stored, width, rows, depth)
    if len(stored) < length:
        raise ValueError(_CUT)
    pixels = np.frombuffer(stored, np.uint8, length)
    return pixels.reshape(bands, header.height, width, depth // 8)[..., 0]
