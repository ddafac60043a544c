"""Blank scans and pictures that came out black are recognised; drawings are not."""

import io

import numpy as np
import pytest
from PIL import Image

from dkse_jax.data.decode import decode_image
from dkse_jax.data.sources.painting import KINDS, paint
from dkse_jax.data.tools.tones import one_tone


def told(pixels):
    return one_tone(np.array(Image.fromarray(pixels).histogram()).reshape(3, 256))


def numbers_of_bits(bits, file_format):
    values = np.linspace(0, 2**bits - 1, 48 * 64).reshape(48, 64).astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, file_format)
    return decode_image(buffer.getvalue())


@pytest.mark.parametrize("file_format", ["TIFF", "PNG"])
@pytest.mark.parametrize(("bits", "most"), [(10, 3), (12, 15), (8, 0)])
def test_numbers_of_few_bits_in_sixteen_are_one_tone(file_format, bits, most):
    assert told(numbers_of_bits(bits, file_format)) == (
        f"its levels are 0 to {most} of 255; if they are numbers of 10 or 12 bits in a file of 16,"
        " scale them to 16"
    )


@pytest.mark.parametrize("bits", [14, 15, 16])
def test_numbers_of_more_bits_are_not(bits):
    assert told(numbers_of_bits(bits, "TIFF")) == ""


@pytest.mark.parametrize("seed", range(3))
def test_blank_scans_are_one_tone(seed):
    rng = np.random.default_rng(seed)
    paper = rng.uniform(60, 245, 3) + rng.normal(0, 3, (300, 400, 3))
    scan = np.clip(paper, 0, 255).astype(np.uint8)
    scan[5, 7:90] = 0  # a hair
    assert told(scan).startswith("its levels are ")
    assert "10 or 12 bits" not in told(scan)
    assert told(np.full((8, 8, 3), 255, np.uint8)) == "its levels are 255 to 255 of 255"


@pytest.mark.parametrize("ink", [0.03, 0.01, 0.004])
def test_a_drawing_with_little_ink_is_none(ink):
    rng = np.random.default_rng(0)
    drawing = np.full((200, 300), 240.0) + rng.normal(0, 2, (200, 300))
    drawing[:, : round(300 * ink)] -= 100  # pencil
    assert told(np.clip(drawing, 0, 255).astype(np.uint8)[:, :, None].repeat(3, axis=2)) == ""


def test_painted_pictures_and_coloured_shades_are_none():
    rng = np.random.default_rng(0)
    for kind in KINDS:
        assert told(paint(kind, 64, rng)) == ""
    shades = np.full((64, 64, 3), 128, np.uint8)
    shades[:, :, 2] = np.arange(96, 160)
    assert told(shades) == ""
