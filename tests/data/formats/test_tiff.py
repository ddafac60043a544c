"""TIFF: bits, photometric interpretations, layouts, pages."""

import numpy as np
import pytest
from PIL import Image

from dkse_jax.data.decode import BadImage, decode_image
from tests.data.images import encode, tiff


@pytest.mark.parametrize("order", "<>")
def test_16_bit_tiff_keeps_its_shades(order):
    def row(*values):
        return np.array(values, f"{order}u2").tobytes()

    shades = row(0, 0x4000, 0x8000, 0xFFFF)
    expected = np.array([0, 0x40, 0x80, 0xFF])[:, None].repeat(3, axis=-1)
    for deflate in (False, True):
        decoded = decode_image(tiff(16, shades, 1, order, deflate=deflate))
        np.testing.assert_array_equal(decoded[0], expected)
    decoded = decode_image(tiff(16, row(0x1000, 0x8000, 0xFFFF), 2, order, width=1, samples=3))
    np.testing.assert_array_equal(decoded, [[[0x10, 0x80, 0xFF]]])


def test_12_bit_tiff_keeps_its_shades():
    decoded = decode_image(tiff(12, bytes.fromhex("000400800fff"), 1))
    np.testing.assert_array_equal(decoded[0, :, 0], [0, 0x40, 0x80, 0xFF])


@pytest.mark.parametrize(
    ("bits", "row"),
    [(1, b"\x50"), (4, b"\x0f\x0f"), (8, b"\0\xff\0\xff"), (16, b"\0\0\xff\xff" * 2)],
)
def test_a_tiff_says_whether_0_is_black_or_white(bits, row):
    expected = np.array([0, 255, 0, 255])
    np.testing.assert_array_equal(decode_image(tiff(bits, row, 1))[0, :, 0], expected)
    np.testing.assert_array_equal(decode_image(tiff(bits, row, 0))[0, :, 0], 255 - expected)


def test_32_bit_pixels_are_refused():
    with pytest.raises(BadImage, match="no known white"):
        decode_image(encode(Image.new("F", (4, 4)), "TIFF"))
