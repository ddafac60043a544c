"""JPEG: reduced decoding, kinds that are not read, limits."""

import base64
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from dkse_jax.data.decode import BadImage, decode, decode_image
from dkse_jax.data.formats import limits
from dkse_jax.data.formats.jpeg import MAX_SCANS
from tests.data.images import encode, picture


def test_jpeg_is_near_the_original():
    data = encode(Image.fromarray(picture()), "JPEG", quality=95)
    assert np.abs(decode_image(data).astype(int) - picture()).mean() < 2


def test_a_jpeg_of_several_pictures_is_its_first():
    frames = [Image.fromarray(p) for p in (picture(480, 640), picture(480, 640)[::-1])]
    exif = Image.Exif()
    exif[274] = 6
    data = encode(frames[0], "MPO", save_all=True, append_images=frames[1:], exif=exif)
    alone = encode(frames[0], "JPEG", exif=exif)
    np.testing.assert_array_equal(decode_image(data), decode_image(alone))
    assert decode_image(data, 60).shape == (80, 60, 3)


def test_min_side_reduces_a_jpeg_but_never_below():
    exif = Image.Exif()
    exif[274] = 6
    data = encode(Image.fromarray(picture(480, 642)), "JPEG", exif=exif)
    assert decode_image(data).shape == (642, 480, 3)
    for min_side in (1, 59, 60, 61, 112, 120, 121, 240, 299, 480, 1000):
        side = min(decode_image(data, min_side).shape[:2])
        assert side >= min(min_side, 480)
        assert side < 2 * max(min_side, 60) or side == 480
    assert decode_image(data, 112).shape == (161, 120, 3)


def many_scans(scans):
    """Makes a progressive JPEG with repeated scans of the chroma's highest coefficients."""
    data = encode(Image.fromarray(picture()), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xc4")  # its Huffman table; then the scan, to the end of the image
    return data[:last] + data[last:-2] * scans + data[-2:]


def test_a_jpeg_of_too_many_scans_is_refused():
    assert decode_image(many_scans(MAX_SCANS // 2)).shape == (48, 64, 3)
    with pytest.raises(BadImage, match="a JPEG of more than 100 scans"):
        decode_image(many_scans(MAX_SCANS))


def test_scans_that_are_not_of_the_picture_do_not_count():
    whole = encode(Image.fromarray(picture()), "JPEG", progressive=True)
    assert 2 < whole.count(b"\xff\xda") < 20
    others = b"\xff\xda" * 2 * MAX_SCANS
    comment = b"\xff\xfe" + struct.pack(">H", len(others) + 2) + others
    for data in (whole + others, whole[:2] + comment + whole[2:]):
        np.testing.assert_array_equal(decode_image(data), decode_image(whole))


# picture(24, 40) // 64 * 64, in RGB and its red alone, as lossless JPEG of Huffman codes (SOF3).
LOSSLESS = {
    "rgb": ""
    "c-pPcJqp4=5C!138^r`f34(Zo>@9+6QU-DaiM2P7+{7FupuMeHiItV4j3BNv`O$=J-C~MwXXnl8lYU^bOg5`E67b"
    "P`xHcA0R_r2l5xCF?%prt8?~H7H!PtrsA^_bTpYN1dIVIK1y8<%ZrFCy~ry~4}>fqhjtWZ>)vWL5rG0GXeTa7e|P"
    ";Svd4pH3BD16B{q!!k}3#?8lo1sv`M`cm|wQ40YdL(-rk<E(MXjWqsCA-mN9Mns0|M(03ex^(H)-cyIH-QlfBNIm"
    "C|7EJrAID5n?E",
    "grey": ""
    "c-s4a<NpH&0WUXCHwH#V1_nkTWcYuWft!Otf<c3kQIO&P5e6}!6i^r$uyg#s#lXP`R(}2g7XwoR!vY3|Axhi-zX<"
    "?T<0{7",
}


@pytest.mark.parametrize("min_side", [None, 24, 8, 1])
@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_lossless_jpeg_is_read_in_full(kind, min_side):
    expected = picture(24, 40) // 64 * 64
    if kind == "grey":
        expected = expected[..., :1].repeat(3, axis=-1)
    data = zlib.decompress(base64.b85decode(LOSSLESS[kind]))
    np.testing.assert_array_equal(decode_image(data, min_side), expected)


def with_frame(data, marker, bits=8):
    """Changes the frame header of a baseline JPEG."""
    start = data.index(b"\xff\xc0")
    return (
        data[: start + 1]
        + bytes([marker])
        + data[start + 2 : start + 4]
        + bytes([bits])
        + (data[start + 5 :])
    )


@pytest.mark.parametrize(
    ("marker", "bits", "words"),
    [
        (0xC1, 12, "a JPEG of 12 bits a sample"),
        (0xC0, 10, "a JPEG of 10 bits a sample"),
        (0xC3, 16, "a lossless JPEG of 16 bits a sample"),
        (0xC3, 12, "a lossless JPEG of 12 bits a sample"),
        (0xC5, 8, "a hierarchical JPEG"),
        (0xCE, 8, "a hierarchical JPEG"),
        (0xCB, 8, "a lossless JPEG with arithmetic coding"),
        (0xF7, 8, "a JPEG-LS image"),
    ],
)
def test_a_jpeg_that_is_not_read_is_called_what_it_is(marker, bits, words):
    data = with_frame(encode(Image.fromarray(picture()), "JPEG"), marker, bits)
    with pytest.raises(BadImage, match=f"it is {words}.*: convert it to TIFF"):
        decode_image(data)


def test_the_limit_is_on_the_pixels_that_are_decoded():
    data = encode(Image.new("L", (16000, 5800), 90), "JPEG")
    with warnings.catch_warnings(record=True, action="always") as warned:
        decoded = decode(data, 300)
    assert not warned
    assert decoded.pixels.shape == (725, 2000, 3)
    assert (decoded.pixels == 90).all()
    assert decoded.facts.size == (16000, 5800)
    refusal = r"a JPEG of 16,000 x 5,800 pixels.* reduce it below 89 megapixels"
    with pytest.raises(BadImage, match=refusal):
        decode_image(data)
    with pytest.raises(BadImage, match=refusal):
        decode_image(data, 3000)


@pytest.mark.parametrize("seed", range(4))
def test_a_jpeg_is_read_wherever_a_fraction_of_it_may_be(seed, monkeypatch):
    """Compares sizes and orientations with a limit that small images exceed."""
    rng = np.random.default_rng(seed)
    width, height = (int(side) for side in rng.integers(200, 900, 2))
    exif = Image.Exif()
    exif[274] = turn = int(rng.integers(1, 9))
    data = encode(Image.new("L", (width, height), 90), "JPEG", exif=exif, progressive=seed > 1)
    monkeypatch.setattr(limits, "MAX_PIXELS", width * height - 1)
    upright = (width, height) if turn < 5 else (height, width)
    decoded = decode(data, min(width, height) // 5)
    assert decoded.facts.size == upright
    assert decoded.pixels.shape[:2] == tuple(-(-side // 4) for side in upright[::-1])
    with pytest.raises(BadImage, match="of which all would be decoded"):
        decode_image(data, min(width, height) // 2 + 1)


def with_size(data, marker, width, height):
    start = data.index(b"\xff" + bytes([marker])) + 5
    return data[:start] + struct.pack(">HH", height, width) + data[start + 4 :]


def test_a_progressive_jpeg_is_kept_in_memory_whole():
    data = encode(Image.fromarray(picture()).convert("L"), "JPEG", progressive=True)
    with pytest.raises(BadImage, match=r"a JPEG of 60,000 x 60,000 pixels.*89 megapixels"):
        decode_image(with_size(data, 0xC2, 60000, 60000), 300)
    assert decode_image(with_size(data, 0xC2, 9500, 9500), 300).shape == (1188, 1188, 3)


def test_a_jpeg_has_one_picture():
    data = encode(Image.fromarray(picture()), "JPEG")
    assert decode(data).facts.pictures == 1
    with pytest.raises(BadImage, match="it has one picture, and no number 2"):
        decode(data, page=2)
