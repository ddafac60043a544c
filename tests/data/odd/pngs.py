"""PNG: bits, colour types, interlacing, transparent colours, texts."""

import functools
import io
import itertools
import struct
import zlib

import imagecodecs
import numpy as np
import pyvips
from PIL import Image, PngImagePlugin

from tests.data.odd import Odd, bytes_of, case, on_white, picture, slope

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encode(stored, bits, colour_type, *chunks, level=6, packed=None):
    """Encodes samples (H, W, C) with extra chunks (kind, data), for kinds that no writer offers."""
    height, width = stored.shape[:2]
    if bits == 16:
        rows = [row.astype(">u2").tobytes() for row in stored]
    else:
        steps = np.arange(8 // bits)[::-1] * bits
        flat = stored.reshape(height, -1).astype(int)
        flat = np.pad(flat, ((0, 0), (0, -flat.shape[1] % (8 // bits))))
        rows = list((flat.reshape(height, -1, 8 // bits) << steps).sum(-1).astype(np.uint8))
        rows = [row.tobytes() for row in rows]
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows), level)
    parts = [chunk(b"IHDR", header), *(chunk(*one) for one in chunks)]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IDAT", data), chunk(b"IEND", b"")])


def sample(bits, colour_type, rng):
    """Returns samples of a colour type, the chunks that they need and the true pixels."""
    deep = picture(rng)
    channels = deep[..., : 3 if colour_type in (RGB, RGB_ALPHA) else 1]
    stored = channels >> (16 - bits)
    true = stored >> 8 if bits == 16 else stored * (255 // (2**bits - 1))
    true = np.broadcast_to(true, (*deep.shape[:2], 3)).astype(np.uint8)
    if colour_type == PALETTE:
        table = rng.integers(0, 256, (2**bits, 3)).astype(np.uint8)
        return stored, [(b"PLTE", table.tobytes())], table[stored[..., 0]]
    if colour_type in (GREY_ALPHA, RGB_ALPHA):
        alpha = slope(deep)
        stored = np.concatenate([stored, (alpha >> (16 - bits))[..., None]], -1)
        true = on_white(true, alpha / 65_535)
    return stored, [], true


ALLOWED = [
    *itertools.product((1, 2, 4, 8, 16), (GREY,)),
    *itertools.product((1, 2, 4, 8), (PALETTE,)),
    *itertools.product((8, 16), (RGB, GREY_ALPHA, RGB_ALPHA)),
]


def plain(bits, colour_type, rng):
    stored, chunks, true = sample(bits, colour_type, rng)
    return Odd(encode(stored, bits, colour_type, *chunks), true, 1)


def keyed(bits, colour_type, rng):
    """One colour, or one entry of the palette, is transparent."""
    stored, chunks, true = sample(bits, colour_type, rng)
    chosen = stored[stored.shape[0] // 2, stored.shape[1] // 2]
    if colour_type == PALETTE:
        shares = np.full(2**bits, 255, np.uint8)
        shares[chosen] = 0
        chunks.append((b"tRNS", shares.tobytes()))
    else:
        chunks.append((b"tRNS", struct.pack(f">{len(chosen)}H", *chosen)))
    true = np.where((stored == chosen).all(-1, keepdims=True), 255, true).astype(np.uint8)
    return Odd(encode(stored, bits, colour_type, *chunks), true)


for _bits, _type in ALLOWED:
    case(f"png type {_type} of {_bits} bits")(functools.partial(plain, _bits, _type))
    if _type in (GREY, RGB, PALETTE):
        case(f"png type {_type} of {_bits} bits, colour key")(
            functools.partial(keyed, _bits, _type)
        )


def interlaced(bits, colour_type, rng):
    stored, _, true = sample(bits, colour_type, rng)
    image = pyvips.Image.new_from_array(np.ascontiguousarray(stored), interpretation=None)
    kinds = {GREY: "b-w", RGB: "srgb", GREY_ALPHA: "b-w", RGB_ALPHA: "srgb"}
    wide = {"b-w": "grey16", "srgb": "rgb16"}
    kind = kinds[colour_type]
    image = image.cast("ushort" if bits == 16 else "uchar")
    image = image.copy(interpretation=wide[kind] if bits == 16 else kind)
    return Odd(image.pngsave_buffer(interlace=True, bitdepth=bits), true, 1)


for _bits, _type in itertools.product((8, 16), (GREY, RGB, GREY_ALPHA, RGB_ALPHA)):
    case(f"png type {_type} of {_bits} bits, interlaced")(
        functools.partial(interlaced, _bits, _type)
    )


def with_chunk(kind, data, rng):
    stored, _, true = sample(8, RGB, rng)
    return Odd(encode(stored, 8, RGB, (kind, data)), true)


def of_zeros(size):
    return zlib.compress(bytes(size))


for _name, _kind, _data in (
    ("text", b"tEXt", b"Comment\0" + b"long " * 99),
    ("compressed text", b"zTXt", b"Comment\0\0" + zlib.compress(b"long " * 99)),
    ("long compressed text", b"zTXt", b"Comment\0\0" + of_zeros(3 * 2**20)),
    ("long international text", b"iTXt", b"XML\0\1\0\0\0" + of_zeros(3 * 2**20)),
    ("gamma", b"gAMA", struct.pack(">I", 45_455)),
    ("resolution", b"pHYs", struct.pack(">IIB", 3_000, 3_000, 1)),
    ("an unknown chunk", b"quEx", b"\xff" * 99),
    ("broken EXIF data", b"eXIf", b"MM\0*\0\0\0\x08\xff\xff"),
):
    case(f"png with {_name}")(functools.partial(with_chunk, _kind, _data))


@case("png by libpng")
def by_libpng(rng):
    deep = picture(rng)
    return Odd(imagecodecs.png_encode(deep), bytes_of(deep))


@case("png animated")
def animated(rng):
    deep = picture(rng)
    frames = np.stack([bytes_of(deep), bytes_of(deep)[::-1]])
    return Odd(imagecodecs.apng_encode(frames), frames[0])


@case("png with many texts")
def many_texts(rng):
    pixels = bytes_of(picture(rng))
    texts = PngImagePlugin.PngInfo()
    for number in range(200):
        texts.add_itxt(f"key {number}", "é" * 99, zip=bool(number % 2))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=texts)
    return Odd(buffer.getvalue(), pixels)
