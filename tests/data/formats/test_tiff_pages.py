"""TIFF: previews, pyramids and files of several pictures."""

import sys

import numpy as np
import pytest

from dkse_jax.data.decode import BadImage, decode, decode_image
from tests.data import profiles
from tests.data.images import LAYOUTS, picture, written

SMALL, FULL = (24, 40), (96, 160)  # height, width; of equal proportions


def two(first, second=()):
    """Returns a black preview and a picture, each with further options."""
    return (
        (np.zeros((*SMALL, 3), np.uint8), dict(first)),
        (picture(*FULL), dict(second)),
    )


PREVIEWS = {
    "SubIFD": two({"subfiletype": 1, "subifds": 1}, {"subfiletype": 0}),
    "SubIFD of BigTIFF": two({"subfiletype": 1, "subifds": 1, "bigtiff": True}),
    "SubIFD, LZW, big-endian": two(
        {"subfiletype": 1, "subifds": 1, "byteorder": ">"},
        {"compression": "lzw", "predictor": True},
    ),
    "page": two({"subfiletype": 1}, {"subfiletype": 0}),
    "pages without marks": two({}),
    "picture first": two({"subfiletype": 1})[::-1],
    "old mark": two({"extratags": [(255, "H", 1, 2, True)]}, {}),
}


@pytest.mark.parametrize("kind", PREVIEWS)
@pytest.mark.parametrize("min_side", [None, 50])
def test_a_preview_is_not_the_picture(kind, min_side):
    pages = [(pixels, dict(options)) for pixels, options in PREVIEWS[kind]]
    decoded = decode(written(*pages), min_side)
    np.testing.assert_array_equal(decoded.pixels, picture(*FULL))
    assert decoded.facts.size == (160, 96)
    assert decoded.facts.pictures == 1
    assert decoded.facts.remarks == ()


def test_a_preview_alone_is_read():
    data = written((picture(*SMALL), {"subfiletype": 1}))
    np.testing.assert_array_equal(decode_image(data), picture(*SMALL))


@pytest.mark.parametrize("photometric", ["cfa", 34892])
def test_the_preview_of_raw_data_is_refused_or_developed(photometric, monkeypatch):
    monkeypatch.setitem(sys.modules, "rawpy", None)  # as where the extra is not installed
    raw = picture(*FULL).astype(np.uint16) * 256
    raw = raw[..., 0] if photometric == "cfa" else raw
    options = {"photometric": photometric, "planarconfig": "contig" if raw.ndim == 3 else None}
    small = (picture(*SMALL), {"subfiletype": 1, "subifds": 1})
    words = "its first picture is a preview of 40 x 24, and the picture is raw data of a camera"
    with pytest.raises(BadImage, match=words + r" \(160 x 96\), which needs the extra museum"):
        decode_image(written(small, (raw, options | {"subfiletype": 0})))
    with pytest.raises(BadImage, match="it is raw data of a camera"):
        decode_image(written((raw, options)))


def levels(seed, **options):
    """Returns a pyramid's levels, the largest first, each of one grey, and their heights."""
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(90, 200, 2))
    sizes = [(-(-height // 2**n), -(-width // 2**n)) for n in range(4)]
    return [(np.full((*s, 3), 40 * n, np.uint8), dict(options)) for n, s in enumerate(sizes)], sizes


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["pages", "marked pages", "ascending", "SubIFDs", "tiles"])
def test_the_smallest_sufficient_level_of_a_pyramid_is_read(seed, kind):
    pages, sizes = levels(seed, **(LAYOUTS["tiles"] if kind == "tiles" else {}))
    if kind == "ascending":
        data = written(*pages[::-1])
    elif kind == "SubIFDs":
        pages[0][1]["subifds"] = 3
        data = written(pages[0], *((p, o | {"subfiletype": 1}) for p, o in pages[1:]))
    else:
        mark = {"subfiletype": 1} if kind == "marked pages" else {}
        data = written(pages[0], *((p, o | mark) for p, o in pages[1:]))
    for min_side, level in ((None, 0), (min(sizes[0]), 0), (min(sizes[1]) + 1, 0)):
        assert (decode_image(data, min_side) == 40 * level).all()
    for level in (1, 2, 3):
        decoded = decode(data, min(sizes[level]))
        assert decoded.pixels.shape[:2] == sizes[level]
        assert (decoded.pixels == 40 * level).all()
        assert decoded.facts.size == sizes[0][::-1]
        assert decoded.facts.pictures == 1


def test_the_level_of_a_pyramid_has_the_profile_and_the_turn_of_its_picture():
    pages, sizes = levels(0)
    pages[0][1]["extratags"] = [(34675, "B", 4, b"icc!", True), (274, "H", 1, 6, True)]
    decoded = decode(written(*pages), min(sizes[2]))
    assert decoded.pixels.shape[:2] == sizes[2][::-1]
    assert decoded.facts.profile == "a broken profile"
    assert decoded.facts.size == sizes[0]


@pytest.mark.parametrize("kind", ["by Pillow", "by tifffile", "by libvips"])
def test_what_a_level_does_not_state_is_that_of_its_picture_whoever_decodes_it(kind):
    profile = profiles.rgb_profile("ProPhoto RGB", profiles.PROPHOTO, profiles.gamma(1.8))
    full = picture(96, 160)
    levels = [full, np.ascontiguousarray(full[::2, ::2])]
    options = {"by libvips": {"compression": "webp", "compressionargs": {"level": 101}}}.get(
        kind, {}
    )
    if kind == "by tifffile":
        levels = [np.moveaxis(level.astype(np.uint16) * 257, -1, 0) for level in levels]
        options = {"photometric": "rgb", "planarconfig": "separate"}
    stated = {"iccprofile": profile, "extratags": [(274, "H", 1, 6, True)], "subifds": 1}
    data = written((levels[0], options | stated), (levels[1], options | {"subfiletype": 1}))
    whole, half = decode(data), decode(data, 48)
    assert half.pixels.shape == (80, 48, 3)
    assert half.facts.size == whole.facts.size == (96, 160)
    assert half.facts.profile == whole.facts.profile == "ProPhoto RGB"
    assert np.abs(half.pixels.astype(int) - whole.pixels[::2, ::2]).mean() < 4
    assert np.abs(whole.pixels.astype(int) - np.rot90(full, -1)).mean() > 5


@pytest.mark.parametrize("turn", [3, 6, 8])
@pytest.mark.parametrize("min_side", [None, 24])
@pytest.mark.parametrize("planar", [False, True])
def test_a_subifd_is_turned_as_the_preview_above_it(turn, min_side, planar):
    full = picture(*FULL)
    quarters = {3: 2, 6: -1, 8: 1}[turn]
    expected = np.rot90(full if min_side is None else full[::4, ::4], quarters)
    options = {"photometric": "rgb", "planarconfig": "separate"} if planar else {}
    stored = np.moveaxis(full.astype(np.uint16) * 257, -1, 0) if planar else full
    preview = {"subfiletype": 1, "subifds": 1, "extratags": [(274, "H", 1, turn, True)]}
    found = decode(written((full[::4, ::4], preview), (stored, options)), min_side)
    np.testing.assert_array_equal(found.pixels, expected)
    assert found.facts.size == ((160, 96) if turn == 3 else (96, 160))


@pytest.mark.parametrize("square", [16, 90])
@pytest.mark.parametrize("marks", [({}, {}), ({}, {"subfiletype": 0}), ({}, {"bigtiff": True})])
def test_a_subifd_larger_than_its_page_is_the_picture(square, marks):
    preview = np.zeros((square, square, 3), np.uint8)
    data = written((preview, {"subifds": 1, **marks[0]}), (picture(*FULL), dict(marks[1])))
    found = decode(data)
    np.testing.assert_array_equal(found.pixels, picture(*FULL))
    assert found.facts.pictures == 1


def test_webp_in_tiff_prints_nothing(capfd):
    pixels = picture(*FULL)
    data = written((pixels, {"compression": "webp"}))
    assert np.abs(decode_image(data).astype(int) - pixels).mean() < 4
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("options", [{}, {"compression": "lzw"}, {"bigtiff": True}])
def test_the_pages_of_a_scanned_book_are_pictures(options):
    pages = [np.full((30, 20 + i, 3), 50 * i, np.uint8) for i in range(1, 4)]
    data = written(*((pixels, dict(options)) for pixels in pages))
    for page in (1, 2, 3):
        decoded = decode(data, page=page)
        np.testing.assert_array_equal(decoded.pixels, pages[page - 1])
        assert decoded.facts.pictures == 3
        which = "the first" if page == 1 else f"number {page}"
        assert decoded.facts.remarks == (f"3 pictures: {which} was read",)
    for page in (0, 4, 999):
        with pytest.raises(BadImage, match=f"it has 3 pictures, and no number {page}"):
            decode(data, page=page)


def test_pages_of_one_size_are_not_levels():
    sheet = np.zeros((40, 28), np.uint8)
    half = np.zeros((28, 20), np.uint8)  # A4 and A5
    assert decode(written((sheet, {}), (half, {}))).facts.pictures == 2
    assert decode(written((sheet, {}), (sheet, {}))).facts.pictures == 2
