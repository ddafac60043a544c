"""Damaged images of every format: each is decoded or refused, in bounded time and size.

DKSE_FUZZ_MUTANTS=5000 tries more of them.
"""

import io
import os
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from dkse_jax.data import decode
from dkse_jax.data.decode import BadImage, decode_image
from dkse_jax.data.formats import MAX_PIXELS, raw, vips
from tests.data.museum_files import (
    HEIC_TURNED,
    HEIC_TWO,
    dng,
    drawn_pdf,
    pdf_of,
    planes_of,
    psd,
    tiff,
)

MUTANTS = int(os.environ.get("DKSE_FUZZ_MUTANTS", "600"))
SECONDS = 10  # for one image; the largest allowed one takes about 3 on a slow core
EXTREMES = [b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\1"]
KINDS = [
    ("JPEG", "RGB", {}),
    ("JPEG", "RGB", {"progressive": True}),
    ("JPEG", "L", {}),
    ("JPEG", "CMYK", {}),
    ("PNG", "RGB", {}),
    ("PNG", "RGBA", {}),
    ("PNG", "P", {"transparency": 1}),
    ("PNG", "1", {}),
    ("PNG", "I;16", {}),
    ("WEBP", "RGB", {}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("GIF", "P", {"transparency": 1}),
    ("BMP", "RGB", {}),
    ("BMP", "P", {}),
    ("TIFF", "RGB", {}),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ("TIFF", "RGB", {"compression": "jpeg"}),
    ("TIFF", "1", {"compression": "group4"}),
    ("TIFF", "CMYK", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", "I;16", {"compression": "packbits"}),
]


MUSEUM = {  # a name -> its encoder, and its reader where its content does not tell it
    "heic": (lambda pixels: HEIC_TURNED, None),
    "heic-two": (lambda pixels: HEIC_TWO, None),
    "pdf-scan": (lambda pixels: pdf_of(pixels, pixels), None),
    "pdf-drawn": (lambda pixels: drawn_pdf(), None),
    "psd": (lambda pixels: psd(planes_of(pixels, 8), compression=1), None),
    "psd-16": (lambda pixels: psd(planes_of(pixels, 16), compression=1), None),
    "psd-16-zip": (lambda pixels: psd(planes_of(pixels, 16), compression=3), None),
    "psb": (lambda pixels: psd(planes_of(pixels, 8), version=2, compression=1), None),
    "dng": (dng, raw.open_picture),
    "tiff-large": (lambda pixels: tiff(pixels, compression="lzw"), vips.open_picture),
    "tiff-large-tiled": (lambda pixels: tiff(pixels, tile=(16, 16)), vips.open_picture),
}


def make_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    pixels[8:] = pixels[8]  # so that compression has something to do
    return pixels


def make_pictures():
    pixels = make_pixels()
    exif = Image.Exif()
    exif[274] = 6
    pictures = []
    for file_format, mode, options in KINDS:
        image = Image.fromarray(pixels)
        if mode == "I;16":
            image = Image.fromarray(257 * pixels[..., 0].astype(np.uint16))
        elif mode != "RGB":
            image = image.convert(mode)
        buffer = io.BytesIO()
        with_exif = {} if file_format in ("GIF", "BMP") else {"exif": exif}
        image.save(buffer, file_format, **with_exif, **options)
        pictures.append(buffer.getvalue())
    return pictures


def mutate(data, other, rng):
    """Applies one to four mutations; headers are hit more often than by their share of bytes."""
    for _ in range(rng.integers(1, 5)):
        end = len(data) if rng.random() < 0.5 else min(len(data), 128)
        start = int(rng.integers(0, max(end, 1)))
        length = int(rng.integers(1, 65))
        block = data[start : start + length]
        match rng.integers(6):
            case 0:
                flipped = bytes([block[0] ^ (1 << int(rng.integers(8)))]) if block else b""
                data = data[:start] + flipped + data[start + 1 :]
            case 1:
                data = data[: max(start, 4)]
            case 2:
                data = data[:start] + block * int(rng.integers(2, 20)) + data[start + length :]
            case 3:
                data = data[:start] + bytes(len(block)) + data[start + length :]
            case 4:
                data = data[:start] + other[int(rng.integers(0, len(other))) :]
            case 5:
                extreme = EXTREMES[int(rng.integers(len(EXTREMES)))][: int(rng.integers(1, 5))]
                data = data[:start] + extreme + data[start + len(extreme) :]
    return data


def with_right_checksums(data):
    """Corrects the checksums of a damaged PNG, so that decoding gets further."""
    place = 8
    while data.startswith(b"\x89PNG") and place + 12 <= len(data):
        end = place + 8 + struct.unpack(">I", data[place : place + 4])[0]
        checksum = struct.pack(">I", zlib.crc32(data[place + 4 : end]))
        data = data[:end] + checksum + data[end + 4 :]
        place = end + 4
    return data


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=["-".join(k[:2]) for k in KINDS])
def test_damaged_pictures_are_decoded_or_refused(kind):
    pictures = make_pictures()
    decode_mutants(
        pictures[kind], pictures, MUTANTS // len(KINDS), np.random.default_rng([7, kind])
    )


@pytest.mark.parametrize("name", MUSEUM)
def test_damaged_files_of_museums_are_decoded_or_refused(name, monkeypatch):
    encode, reader = MUSEUM[name]
    others = [one(make_pixels()) for one, _ in MUSEUM.values()]
    if reader:
        monkeypatch.setattr(decode, "open_picture", reader)
    rng = np.random.default_rng([8, list(MUSEUM).index(name)])
    decode_mutants(encode(make_pixels()), others, MUTANTS // len(KINDS), rng)


def decode_mutants(picture, others, count, rng):
    decode_image(picture)
    sentences = []
    for _ in range(max(1, count)):
        data = mutate(picture, others[int(rng.integers(len(others)))], rng)
        if rng.random() < 0.7:
            data = with_right_checksums(data)
        start = time.monotonic()
        try:
            image = decode_image(data, min_side=[None, 16][int(rng.integers(2))])
        except BadImage as error:
            sentences.append(str(error))
        else:
            assert image.dtype == np.uint8
            assert image.ndim == 3
            assert image.shape[2] == 3
            assert 0 < image.size <= 3 * MAX_PIXELS
        assert time.monotonic() - start < SECONDS
    assert sentences
    assert all(sentence.isprintable() for sentence in sentences)
