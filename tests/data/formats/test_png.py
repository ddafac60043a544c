"""PNG: 16 bits, transparent colours, long texts."""

import zlib

import numpy as np
import pytest
from PIL import Image

from dkse_jax.data.decode import BadImage, decode, decode_image
from dkse_jax.data.formats import open_picture
from tests.data.images import BLUE, GREEN, RED, WHITE, chunk, encode, picture, png, png_16bit


def test_16_bit_grey_keeps_its_shades(tmp_path):
    shades = np.array([[0, 0x4000, 0x8000, 0xFFFF]])
    expected = np.array([[0, 0x40, 0x80, 0xFF]], np.uint8)[..., None].repeat(3, axis=-1)
    np.testing.assert_array_equal(decode_image(png_16bit(0, shades)), expected)
    tiff = encode(Image.fromarray(shades.astype(np.uint16)), "TIFF")
    np.testing.assert_array_equal(decode_image(tiff), expected)


def test_16_bit_grey_transparency_is_white():
    decoded = decode_image(png_16bit(0, np.array([[0x4000, 0x4001]]), transparent=(0x4000,)))
    np.testing.assert_array_equal(decoded[0], [WHITE, (0x40, 0x40, 0x40)])


@pytest.mark.parametrize(
    ("colour_type", "pixel", "expected"),
    [
        (2, [0x1000, 0x8000, 0xFFFF], [0x10, 0x80, 0xFF]),
        (4, [0x8000, 0xFFFF], [0x80, 0x80, 0x80]),
        (4, [0x8000, 0], WHITE),
        (6, [0x1000, 0x8000, 0xFFFF, 0xFFFF], [0x10, 0x80, 0xFF]),
        (6, [0x1000, 0x8000, 0xFFFF, 0], WHITE),
    ],
)
def test_16_bit_png_keeps_its_shades(colour_type, pixel, expected):
    decoded = decode_image(png_16bit(colour_type, np.array([[pixel]])))
    np.testing.assert_array_equal(decoded[0], [expected])


def test_the_transparent_colour_of_a_png_is_in_its_own_bits():
    data = png(2, 0, [b"\x1b"], (4, 1), transparent=[1])
    np.testing.assert_array_equal(decode_image(data)[0, :, 0], [0, 255, 170, 255])
    data = png(4, 0, [b"\x02\x0f"], (4, 1), transparent=[2])
    np.testing.assert_array_equal(decode_image(data)[0, :, 0], [0, 255, 0, 255])
    pixels = np.array([[[0x1000, 0x8000, 0xC000], [0x2000, 0x8000, 0xC000]]])
    decoded = decode_image(png_16bit(2, pixels, transparent=[0x1000, 0x8000, 0xC000]))
    np.testing.assert_array_equal(decoded[0], [WHITE, (0x20, 0x80, 0xC0)])


def with_chunks(data, *chunks, after_pixels=False):
    """Inserts chunks before the first or after the last chunk of pixels."""
    place = data.index(b"IDAT") - 4
    if after_pixels:
        place = data.rindex(b"IEND") - 4
    return data[:place] + b"".join(chunk(*one) for one in chunks) + data[place:]


MEBIBYTE = 2**20
TEXTS = {
    "2 MiB": (b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 2 * MEBIBYTE)),
    "70 MiB": (b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 70 * MEBIBYTE, 1)),
    "XMP of 3 MiB": (
        b"iTXt",
        b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<x/>" * MEBIBYTE),
    ),
}


@pytest.mark.parametrize("after_pixels", [False, True])
@pytest.mark.parametrize("texts", [*([kind] for kind in TEXTS), list(TEXTS)], ids=str)
def test_long_texts_do_not_refuse_a_png(texts, after_pixels):
    exif = Image.Exif()
    exif[274] = 6
    data = encode(Image.fromarray(picture()), "PNG", exif=exif)
    longer = with_chunks(data, *(TEXTS[kind] for kind in texts), after_pixels=after_pixels)
    np.testing.assert_array_equal(decode_image(longer), decode_image(data))


def test_texts_that_are_too_long_together_do_not_refuse_a_png():
    data = encode(Image.fromarray(picture()), "PNG")
    text = (b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * MEBIBYTE, 1))
    np.testing.assert_array_equal(decode_image(with_chunks(data, *[text] * 66)), picture())


def test_short_texts_still_turn_a_png():
    xmp = b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="3"/>'
    data = with_chunks(encode(Image.fromarray(picture()), "PNG"), TEXTS["2 MiB"], (b"iTXt", xmp))
    np.testing.assert_array_equal(decode_image(data), picture()[::-1, ::-1])


@pytest.mark.parametrize("size", [1000, MEBIBYTE, MEBIBYTE + 1, 3 * MEBIBYTE])
def test_a_profile_of_any_length_is_known(size):
    profile = (b"profile " * size)[:size]
    iccp = (b"iCCP", b"ICC\0\0" + zlib.compress(profile, 1))
    data = with_chunks(encode(Image.fromarray(picture()), "PNG"), iccp)
    np.testing.assert_array_equal(decode_image(data), picture())
    opened = open_picture(data, None, 1)
    opened.image.load()
    assert opened.image.info["icc_profile"] == profile


@pytest.mark.parametrize("file_format", ["PNG", "GIF", "WEBP"])
def test_the_frames_of_an_animation_are_counted(file_format):
    frames = [Image.new("RGB", (5, 4), colour) for colour in (GREEN, RED, BLUE)]
    data = encode(frames[0], file_format, save_all=True, append_images=frames[1:])
    facts = decode(data).facts
    assert facts.pictures == 3
    assert facts.remarks == ("an animation of 3 frames: the first is read",)
    with pytest.raises(BadImage, match="of its 3 frames, only the first is read, not number 2"):
        decode(data, page=2)
    assert decode(encode(frames[0], file_format)).facts.pictures == 1
