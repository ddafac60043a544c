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
from dkse_jax.training.loop import train
from tests.conftest import thin_config
from tests.data.museum_files import pdf_of, planes_of, psd
from tests.short import FULL

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
    "webp lossy": lambda: pillow("WEBP", quality=95),
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


@pytest.fixture(scope="module")
def loaded(trained, tmp_path_factory):
    if not FULL:
        return dkse_jax.load(trained)
    config, longer = thin_config(), tmp_path_factory.mktemp("runs") / "longer"
    config.data.synthetic.train_per_kind, config.train.epochs = 24, 40.0
    train(config, longer)
    return dkse_jax.load(longer)


def test_one_picture_in_many_encodings_gives_the_same_class(loaded, tmp_path):
    assert len(ENCODINGS) >= 18
    files = [tmp_path / f"{number}.img" for number in range(len(ENCODINGS))]
    for file, encode in zip(files, ENCODINGS.values(), strict=True):
        file.write_bytes(encode())
    others = [
        255 - painted(),
        painted()[..., ::-1],
        paint("hatched_forest", 48, np.random.default_rng(1)),
    ]
    expected, *unlike = (answer.probabilities for answer in loaded.predict([painted(), *others]))
    answers = list(loaded.predict(files))
    for name, answer in zip(ENCODINGS, answers, strict=True):
        assert answer.probabilities.argmax() == expected.argmax(), name
        assert np.abs(answer.probabilities - expected).max() < 0.02, name
    assert all(np.abs(probabilities - expected).max() > 0.02 for probabilities in unlike)
