"""One picture in many encodings is one picture to a network."""

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

import dkse_jax
from dkse_jax.data.sources.painting import KINDS, paint
from tests.data.museum_files import pdf_of, planes_of, psd

rng = np.random.default_rng
pytestmark = pytest.mark.usefixtures("short")

# By pillow-heif 1.8.1: the picture below, quality 90 without subsampling.
HEIC = Path(__file__).with_name("painted.heic")


def painted():
    return paint(list(KINDS)[1], 48, rng(18))


def pillow(file_format, mode="RGB", **options):
    image = Image.fromarray(painted()).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def wide():
    return painted().astype(np.uint16) * 257


def tiff(*pages, **file):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, **file) as writer:
        for pixels, options in pages:
            writer.write(pixels, **{"photometric": "rgb", **options})
    return buffer.getvalue()


ENCODINGS = {
    "jpeg": lambda: pillow("JPEG", quality=95, subsampling=0),
    "jpeg progressive": lambda: pillow("JPEG", quality=95, subsampling=0, progressive=True),
    "jpeg cmyk": lambda: pillow("JPEG", "CMYK", quality=95),
    "jpeg lossless": lambda: imagecodecs.jpeg8_encode(painted(), lossless=True),
    "png": lambda: pillow("PNG"),
    "png of 16 bits": lambda: imagecodecs.png_encode(wide()),
    "png with alpha": lambda: pillow("PNG", "RGBA"),
    "webp": lambda: pillow("WEBP", lossless=True),
    "avif": lambda: pillow("AVIF", quality=95, subsampling="4:4:4"),
    "jp2": lambda: pillow("JPEG2000"),
    "jp2 of 16 bits": lambda: imagecodecs.jpeg2k_encode(wide(), codecformat="JP2", reversible=True),
    "tiff": lambda: tiff((painted(), {"compression": "lzw", "tile": (16, 16)})),
    "tiff planar of 16 bits": lambda: tiff(
        (np.moveaxis(wide(), -1, 0), {"planarconfig": "separate"})
    ),
    "tiff cmyk big-endian": lambda: tiff(
        (np.asarray(Image.fromarray(painted()).convert("CMYK")), {"photometric": "separated"}),
        byteorder=">",
    ),
    "tiff after a preview": lambda: tiff(
        (painted()[::4, ::4], {"subifds": 1, "subfiletype": 1}), (wide(), {})
    ),
    "bmp": lambda: pillow("BMP"),
    "psd": lambda: psd(planes_of(painted(), 8), compression=1),
    "psd of 16 bits": lambda: psd(planes_of(painted(), 16)),
    "psb": lambda: psd(planes_of(painted(), 8), version=2),
    "pdf": lambda: pdf_of(painted(), subsampling=0),
    "heic": HEIC.read_bytes,
}


def sharpened(answer):
    """Multiplies the logits, as a network of a few steps is sure of nothing."""
    powers = answer.probabilities**10
    return powers / powers.sum()


def test_one_picture_in_many_encodings_gives_the_same_class(trained, tmp_path):
    assert len(ENCODINGS) >= 18
    files = [tmp_path / f"{number}.img" for number in range(len(ENCODINGS))]
    for file, encode in zip(files, ENCODINGS.values(), strict=True):
        file.write_bytes(encode())
    noise = rng(0).normal(0, 20, painted().shape)
    others = [255 - painted(), painted()[..., ::-1], painted() // 2]
    others.append(np.clip(painted() + noise, 0, 255).astype(np.uint8))
    answers = dkse_jax.load(trained).predict([painted(), *others, *files])
    expected, *found = map(sharpened, answers)
    for name, probabilities in zip(ENCODINGS, found[len(others) :], strict=True):
        assert probabilities.argmax() == expected.argmax(), name
        assert np.abs(probabilities - expected).max() < 0.02, name
    # It notices other pictures.
    assert max(np.abs(other - expected).max() for other in found[: len(others)]) > 0.04
