"""Formats of the extra `museum`: HEIC, PDF, PSD of 16 bits and PSB, raw files, large TIFFs."""

import io
import struct
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from psd_tools.psd.image_resources import VersionInfo

from dkse_jax.data.decode import BadImage, decode, decode_image
from dkse_jax.data.formats import identify, pdf, raw, vips
from dkse_jax.data.formats.rgb import upright_rgb
from tests.data.museum_files import (
    HEIC_TURNED,
    HEIC_TWO,
    dng,
    drawn_pdf,
    pdf_of,
    planes_of,
    psd,
    resource,
    tiff,
)
from tests.data.profiles import gamma, grey_profile

EXTRA = r", which needs the extra museum: pip install 'dkse_jax\[museum\]'$"


def gradient(height=48, width=80):
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.stack([255 * x, 255 * y, 255 * (1 - x) * (1 - y)], axis=-1).astype(np.uint8)


def difference(decoded, expected):
    assert decoded.shape == expected.shape
    return np.abs(decoded.astype(int) - expected).mean()


def absent(monkeypatch, *packages):
    for package in packages:
        for name in [one for one in sys.modules if one.split(".")[0] == package]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)


def test_a_heic_has_its_primary_picture_first():
    facts = decode(HEIC_TWO).facts
    assert (facts.size, facts.pictures, facts.profile) == ((80, 48), 2, "")
    assert difference(decode_image(HEIC_TWO), gradient()) < 1
    assert difference(decode_image(HEIC_TWO, page=2), gradient()[::-1]) < 1
    with pytest.raises(BadImage, match="it has 2 pictures, and no number 3"):
        decode_image(HEIC_TWO, page=3)


def test_a_heic_is_turned_once_and_keeps_its_profile():
    decoded = decode(HEIC_TURNED)
    assert difference(decoded.pixels, np.rot90(gradient(), -1)) < 1
    assert decoded.facts.profile == "sRGB built-in"
    assert decoded.facts.camera == "Maker M1"


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.98])
def test_a_heic_that_is_cut_off_is_damaged(share):
    with pytest.raises(BadImage, match="cannot be read: it is a HEIC image that is damaged: "):
        decode_image(HEIC_TWO[: int(share * len(HEIC_TWO))])


def box(kind, data):
    return struct.pack(">I", len(data) + 8) + kind + data


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("large", [False, True])
def test_items_of_a_heic_have_names_that_are_texts(version, large):
    item = struct.pack(">BxxxI" if version == 3 else ">BxxxH", version, 200) + b"\0\xff"
    wrong, right = item + b"Ex\xff\xff\0", item + b"Exif\0"
    start = box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"free", bytes(99))
    for data, reason in ((wrong, "the name of an item is no text"), (right, "Invalid input")):
        meta = bytes(4) + box(b"iinf", bytes(6) + box(b"infe", data))
        end = box(b"meta", meta)
        if large:
            end = struct.pack(">I4sQ", 1, b"meta", len(meta) + 16) + meta
        with pytest.raises(BadImage, match=f"it is a HEIC image that is damaged: {reason}"):
            decode_image(start + end)


@pytest.mark.parametrize("resolution", [30, 72, 137.3, 600])
def test_a_scanned_page_keeps_its_pixels(resolution):
    data = pdf_of(gradient(96, 160), gradient(160, 96), resolution=resolution)
    decoded = decode(data, page=2)
    assert (decoded.facts.size, decoded.facts.pictures) == ((96, 160), 2)
    assert difference(decoded.pixels, gradient(160, 96)) < 1.5
    reduced = np.asarray(Image.fromarray(gradient(96, 160)).reduce(2))
    assert difference(decode_image(data, 40), reduced) < 1.5
    assert decode_image(data, 500).shape == (96, 160, 3)  # no pixels are made up
    with pytest.raises(BadImage, match="it has 2 pictures, and no number 3"):
        decode_image(data, page=3)


def test_a_drawn_page_is_rendered_at_the_size_that_is_wanted():
    page = decode_image(drawn_pdf(), 100)
    assert page.shape == (100, 200, 3)
    assert (page[50, [5, 195]] == [(255, 0, 0), (255, 255, 255)]).all()
    turned = decode_image(drawn_pdf(rotate=90), 100)
    assert (turned[[5, 195], 50] == [(255, 0, 0), (255, 255, 255)]).all()
    assert decode_image(drawn_pdf()).shape == (500, 1000, 3)  # 200 dots an inch
    assert decode(drawn_pdf()).facts.size == (1000, 500)


def test_a_long_page_is_not_rendered_beyond_the_limit(monkeypatch):
    monkeypatch.setattr(pdf, "MAX_PIXELS", 10_000)
    assert 5_000 < decode_image(drawn_pdf("0 0 2000 20"), 300).size / 3 < 11_000


def test_a_tiny_page_has_a_size():
    for box in ("0 0 0.01 0.01", "0 0 0.1 90"):
        found = decode(drawn_pdf(box))
        assert found.facts.size == found.pixels.shape[1::-1]


def test_a_pdf_of_a_huge_picture_is_refused():
    huge = pdf_of(gradient()).replace(b"/Width 80", b"/Width 80000000")
    with pytest.raises(BadImage, match="it is a PDF of 80,000,000 x 48 pixels, of which"):
        decode_image(huge)


ENCRYPTED = b"/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<" + b"5" * 64 + b">/U<" + b"5" * 64 + b">>>"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"%PDF-1.7\n", "it is a PDF that is damaged"),
        (pdf_of(gradient())[:800], "it is a PDF that is damaged"),
        (
            drawn_pdf().replace(b"/Size 5", b"/Size 5/ID[<00><00>]" + ENCRYPTED),
            "it is a PDF that needs a password",
        ),
        (drawn_pdf().replace(b"[3 0 R]/Count 1", b"[]/Count 0"), "it is a PDF that is damaged"),
    ],
    ids=["empty", "cut", "locked", "no pages"],
)
def test_a_pdf_that_cannot_be_read_is_named(content, reason):
    with pytest.raises(BadImage, match=f"cannot be read: {reason}"):
        decode_image(content)


@pytest.mark.parametrize("compression", range(4), ids=["raw", "rle", "zip", "predicted"])
@pytest.mark.parametrize(("bits", "version"), [(16, 1), (8, 2), (16, 2)])
def test_the_composite_of_a_psd_comes_back_exactly(bits, version, compression):
    data = psd(planes_of(gradient(), bits), version=version, compression=compression)
    np.testing.assert_array_equal(decode_image(data), gradient())
    for size in (10, 40, len(data) // 2, len(data) - 8):
        with pytest.raises(
            BadImage, match=r"it is a (PSD that is cut off|PS. of .* that is damaged: )"
        ):
            decode_image(data[:size])


@pytest.mark.parametrize("compression", [2, 3])
def test_a_psd_of_8_bits_that_pillow_cannot_decompress_is_named(compression):
    data = psd(planes_of(gradient(), 8), compression=compression)
    with pytest.raises(BadImage, match="its composite is compressed in a way that cannot be read"):
        decode_image(data)


@pytest.mark.parametrize("bits", [8, 16])
def test_the_colour_modes_of_a_psd(bits):
    picture = Image.fromarray(gradient())
    grey = np.asarray(picture.convert("L"))[..., None]
    np.testing.assert_array_equal(decode_image(psd(planes_of(grey, bits), 1)), grey.repeat(3, -1))
    inks = 255 - np.asarray(picture.convert("CMYK"))
    np.testing.assert_array_equal(decode_image(psd(planes_of(inks, bits), 4)), gradient())
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    lab = np.stack(list(map(np.asarray, ImageCms.applyTransform(picture, to_lab).split())), -1)
    assert difference(decode_image(psd(planes_of(lab, bits), 9)), gradient()) < 2
    with pytest.raises(BadImage, match=r"of 3 x (8|16) bits in a colour mode that cannot be read"):
        decode_image(psd(planes_of(gradient(), bits), 7))


@pytest.mark.parametrize("bits", [8, 16])
def test_colours_of_a_psd_are_matted_on_white_already(bits):
    with_mask = np.concatenate([gradient(), gradient()[..., :1]], -1)
    np.testing.assert_array_equal(decode_image(psd(planes_of(with_mask, bits))), gradient())


@pytest.mark.parametrize("bits", [8, 16])
def test_resources_of_a_psd(bits):
    profile = grey_profile("Studio", gamma(1.8))
    info = VersionInfo(has_composite=True, writer="a", reader="b").tobytes()
    data = psd(
        planes_of(gradient(), bits), resources=resource(1039, profile) + resource(1057, info)
    )
    assert decode(data).facts.profile == "Studio"
    without = data.replace(info[:5], struct.pack(">IB", 1, 0))
    with pytest.raises(BadImage, match='without a composite: save it with "Maximize Compat'):
        decode_image(without)


@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("pattern", [b"\0\1\1\2", b"\2\1\1\0"], ids=["rggb", "bggr"])
def test_a_raw_file_is_developed_to_srgb(pattern, byteorder):
    picture = gradient(96, 160)
    picture[:16, :16], picture[-16:, -16:] = 255, 0
    opened = raw.open_picture(dng(picture, pattern, byteorder=byteorder), None, 1)
    assert difference(upright_rgb(opened.image, True, []), picture) < 1.5
    assert opened.size == (160, 96)
    assert opened.image.getexif()[272] == "M1"
    half = raw.open_picture(dng(picture, pattern, byteorder=byteorder), 48, 1)
    assert half.size == (160, 96)
    assert difference(upright_rgb(half.image, True, []), picture[::2, ::2]) < 4
    assert upright_rgb(raw.open_picture(dng(picture), 49, 1).image, True, []).shape == (96, 160, 3)


def test_a_raw_file_is_turned_once():
    picture = gradient(96, 160)
    turned = upright_rgb(raw.open_picture(dng(picture, orientation=6), None, 1).image, True, [])
    assert difference(turned, np.rot90(picture, -1)) < 1.5


def test_a_raw_file_that_is_cut_off_is_named(capfd):
    with pytest.raises(ValueError, match="it is a RAW image that cannot be developed: Input/outp"):
        raw.open_picture(dng(gradient())[:3000], None, 1)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "a RAW image"),
        (b"FUJIFILMCCD-RAW 0201", "a RAW image"),
        (b"IIU\0\x18\0\0\0", "a RAW image"),
        (b"IIRO\x08\0\0\0", "a RAW image"),
        (b"II*\0\x10\0\0\0CR\2\0", "a RAW image"),
        (b"II*\0\x08\0\0\0", "a TIFF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC image"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "a HEIC image"),
        (b"8BPS\0\2", "a PSD"),
        (b"\n" * 1019 + b"%PDF-1.4", "a PDF"),
    ],
)
def test_the_content_names_the_format(content, name):
    found = identify(content)
    assert found
    assert found.name == name
    with pytest.raises(BadImage, match="cannot be read: "):
        decode_image(content)


def test_what_is_named_late_is_no_pdf():
    assert identify(b"\n" * 1020 + b"%PDF-1.4") is None


def test_without_the_extra_the_sentence_names_it(monkeypatch):
    absent(monkeypatch, "pi_heif", "pypdfium2", "psd_tools", "rawpy")
    for content, name in (
        (HEIC_TWO, "a HEIC image"),
        (drawn_pdf(), "a PDF"),
        (psd(planes_of(gradient(), 16)), "a PSD of 3 x 16 bits"),
        (psd(planes_of(gradient(), 8), version=2), "a PSB of 3 x 8 bits"),
        (b"FUJIFILMCCD-RAW 0201", "a RAW image"),
    ):
        with pytest.raises(BadImage, match=f"cannot be read: it is {name}{EXTRA}"):
            decode_image(content)
    np.testing.assert_array_equal(decode_image(psd(planes_of(gradient(), 8))), gradient())


def streamed(content, min_side=None, page=1, **which):
    opened = vips.open_picture(content, min_side, page, **which)
    return upright_rgb(opened.image, True, []), opened


WIDE = gradient().astype(np.uint16) * 257


@pytest.mark.parametrize(
    "content",
    [
        tiff(gradient()),
        tiff(WIDE),
        tiff(np.moveaxis(WIDE, -1, 0), planarconfig="separate"),
        tiff(WIDE, tile=(16, 16), compression="lzw", byteorder=">"),
        tiff(WIDE, bigtiff=True, byteorder=">"),
        tiff(np.concatenate([WIDE, WIDE[..., :1]], -1), extrasamples=["unspecified"]),
    ],
    ids=["8", "16", "planar", "tiled", "big", "mask"],
)
def test_a_streamed_tiff_comes_back_exactly(content):
    pixels, opened = streamed(content)
    np.testing.assert_array_equal(pixels, gradient())
    assert opened.size == (80, 48)
    pixels, opened = streamed(content, 16)
    assert opened.size == (80, 48)
    assert pixels.shape == (16, 27, 3)
    expected = gradient()[:, :78].reshape(16, 3, 26, 3, 3).mean((1, 3))
    assert difference(pixels[:, :26], expected) < 1


def test_other_colours_of_a_streamed_tiff():
    grey = WIDE[..., 0]
    expected = gradient()[..., :1].repeat(3, -1)
    np.testing.assert_array_equal(streamed(tiff(grey, photometric="minisblack"))[0], expected)
    np.testing.assert_array_equal(
        streamed(tiff(65535 - grey, photometric="miniswhite"))[0], expected
    )
    inks = np.asarray(Image.fromarray(gradient()).convert("CMYK"))
    np.testing.assert_array_equal(streamed(tiff(inks, photometric="separated"))[0], gradient())
    with pytest.raises(ValueError, match="no known white"):
        streamed(tiff(gradient().astype(np.float32)))


def test_transparency_of_a_streamed_tiff_becomes_white():
    share = WIDE[..., :1] / 65535
    expected = share * gradient() + (1 - share) * 255
    stored = np.concatenate([WIDE, WIDE[..., :1]], -1)
    content = tiff(stored, extrasamples=["unassalpha"])
    assert difference(streamed(content, alpha=True)[0], expected) < 1
    stored[..., :3] = WIDE * share
    content = tiff(stored, extrasamples=["assocalpha"])
    assert difference(streamed(content, alpha=True)[0], expected) < 1


def test_pages_and_levels_of_a_streamed_tiff():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(gradient()[::4, ::4], photometric="rgb", subifds=1)
        writer.write(gradient(), photometric="rgb", extratags=[(274, 3, 1, 6, True)])
        writer.write(gradient()[::-1], photometric="rgb")
    content = buffer.getvalue()
    np.testing.assert_array_equal(streamed(content, subifd=0)[0], np.rot90(gradient(), -1))
    pixels, opened = streamed(content, page=2)
    np.testing.assert_array_equal(pixels, gradient()[::-1])
    assert opened.pictures == 2
    for which in ({"page": 3}, {"subifd": 1}):
        with pytest.raises(ValueError, match="it is a TIFF that libvips cannot read: "):
            streamed(content, **which)


def test_a_streamed_tiff_is_limited_by_what_it_becomes(monkeypatch):
    monkeypatch.setattr("dkse_jax.data.formats.limits.MAX_PIXELS", 1000)
    assert streamed(tiff(WIDE), 16)[0].shape == (16, 27, 3)
    with pytest.raises(ValueError, match="80 x 24 pixels are more than 1,000"):
        streamed(tiff(np.tile(WIDE, (1, 2, 1))), 24)
    with pytest.raises(ValueError, match="80 x 48 pixels are more than 1,000"):
        streamed(tiff(WIDE), 47)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_streamed_tiff_that_is_cut_off_is_refused(share, capfd):
    content = tiff(WIDE, rowsperstrip=8)
    with pytest.raises(ValueError, match="it is a TIFF that libvips cannot read: "):
        streamed(content[: int(share * len(content))])
    assert capfd.readouterr() == ("", "")
