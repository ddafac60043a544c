"""TIFF: bits, photometric interpretations, layouts, sizes."""

import struct
import sys

import numpy as np
import pytest
from PIL import Image

from dkse_jax.data.decode import BadImage, decode, decode_image
from dkse_jax.data.formats import limits
from dkse_jax.data.formats import tiff as tiff_reader
from tests.data.images import LAYOUTS, encode, picture, tiff, written


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


def difference(decoded, expected):
    assert decoded.shape == expected.shape
    return np.abs(decoded.astype(float) - expected).mean()


KINDS = {  # photometric, number of colours, alpha
    "grey": ("minisblack", 1, None),
    "white is zero": ("miniswhite", 1, None),
    "grey + alpha": ("minisblack", 1, "unassalpha"),
    "grey + associated alpha": ("minisblack", 1, "assocalpha"),
    "RGB": ("rgb", 3, None),
    "RGB + alpha": ("rgb", 3, "unassalpha"),
    "RGB + associated alpha": ("rgb", 3, "assocalpha"),
    "RGB + unknown": ("rgb", 3, "unspecified"),
    "RGB + alpha + unknown": ("rgb", 3, "unassalpha unspecified"),
    "CMYK": ("separated", 4, None),
    "CMYK + spot": ("separated", 4, "unspecified"),
    "CMYK + alpha": ("separated", 4, "unassalpha"),
}


def samples_of(kind, bits):
    """Returns the samples of a picture, (H, W, samples), and its right 8-bit pixels."""
    photometric, colours, alpha = KINDS[kind]
    full = 2**bits - 1
    rgb = picture(48, 64) / 255
    rgb = rgb[..., :1].repeat(3, axis=-1) if colours == 1 else rgb
    opacity = np.ones((48, 64, 1))
    opacity[:20, :30] = 0.25
    values = {1: rgb[..., :1], 3: rgb, 4: np.concatenate([1 - rgb, 0 * opacity], axis=-1)}[colours]
    if photometric == "miniswhite":
        values = 1 - values
    extras = alpha.split() if alpha else []
    if "assocalpha" in extras:
        values = values * opacity
    values = np.concatenate([values, *[opacity] * len(extras)], axis=-1)
    seen = rgb if not extras or extras[0] == "unspecified" else rgb * opacity + 1 - opacity
    return np.rint(values * full).astype(np.uint8 if bits == 8 else np.uint16), seen * 255


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [8, 16])
def test_every_layout_of_the_samples_is_read(kind, bits):
    """Draws six of the layouts of each kind."""
    rng = np.random.default_rng([bits, list(KINDS).index(kind)])
    samples, expected = samples_of(kind, bits)
    photometric, _, alpha = KINDS[kind]
    for number in range(6):
        options = dict(LAYOUTS[str(rng.choice(list(LAYOUTS)))])
        options["byteorder"] = "<>"[number % 2]
        options["bigtiff"] = bool(rng.integers(4) == 0)
        options["compression"] = [None, None, "zlib"][number % 3]
        planar = samples.shape[2] > 1 and number < 3
        pixels = np.moveaxis(samples, -1, 0) if planar else samples
        if samples.shape[2] > 1:
            options["planarconfig"] = "separate" if planar else "contig"
        else:
            pixels = samples[..., 0]
        options["extrasamples"] = alpha.split() if alpha else None
        decoded = decode_image(written((pixels, options | {"photometric": photometric})))
        assert difference(decoded, expected) < 1.2, options


@pytest.mark.parametrize("compression", ["lzw", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_pillow_does_not_know_is_read_in_every_lossless_compression(
    compression, predictor, layout
):
    samples, expected = samples_of("CMYK + alpha", 16)
    options = {"photometric": "separated", "extrasamples": ["unassalpha"], **LAYOUTS[layout]}
    options |= {"compression": compression, "predictor": predictor and compression != "packbits"}
    for order in "<>":
        decoded = decode_image(written((samples, options | {"byteorder": order})))
        assert difference(decoded, expected) < 1.2


@pytest.mark.parametrize(
    ("bits", "photometric", "samples"), [(12, 0, 1), (12, 2, 3), (10, 1, 1), (14, 2, 3), (6, 2, 3)]
)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("deflate", [False, True])
def test_packed_samples_keep_their_shades(bits, photometric, samples, order, deflate):
    shades = [0, 0.25, 0.75, 1] * samples
    digits = "".join(f"{round(shade * (2**bits - 1)):0{bits}b}" for shade in shades)
    row = int(digits.ljust(-(-len(digits) // 8) * 8, "0"), 2).to_bytes(-(-len(digits) // 8), "big")
    decoded = decode_image(tiff(bits, row, photometric, order, 4, samples, deflate))
    expected = np.array(shades).reshape(1, 4, samples)
    expected = 1 - expected if photometric == 0 else expected
    assert np.abs(decoded - 255 * expected).max() <= 2


def test_the_bits_that_a_maximum_states_are_the_full_range():
    samples, expected = samples_of("grey", 16)
    tag = (281, "H", 1, 4095, True)
    for order in "<>":
        data = written((samples[..., 0] >> 4, {"extratags": [tag], "byteorder": order}))
        assert difference(decode_image(data), expected) < 1.2
    rgb, expected = samples_of("RGB", 16)
    tag = (281, "H", 3, (1023, 1023, 1023), True)
    data = written((rgb >> 6, {"extratags": [tag], "compression": "zlib"}))
    assert difference(decode_image(data), expected) < 1.2
    # The largest value of the pixels, as TIFF 6.0 has it, changes nothing.
    data = written((samples[..., 0] >> 4, {"extratags": [(281, "H", 1, 4000, True)]}))
    assert decode_image(data).max() == 15


@pytest.mark.parametrize("photometric", ["cielab", "icclab"])
@pytest.mark.parametrize("bits", [8, 16])
def test_lab_is_read(photometric, bits):
    """Red, grey and a light blue by CIE 1976 with the white D50."""
    lab = np.array([[[54.29, 80.8, 69.9], [53.59, 0, 0], [80, -20, -20]]])
    expected = np.array([[[255, 0, 0], [128, 128, 128], [134, 210, 235]]])
    stored = lab * [2.55, 1, 1] + ([0, 128, 128] if photometric == "icclab" else 0)
    if bits == 16:
        scale = [65535 / 255 if photometric == "cielab" else 256, 256, 256]
        stored = stored * scale
    kind = np.uint8 if bits == 8 else np.uint16
    samples = np.rint(stored).astype(np.int32).astype(kind)
    decoded = decode_image(written((samples, {"photometric": photometric})))
    assert np.abs(decoded.astype(int) - expected).max() <= 12


NOT_READ = {
    "its pixels have no known white: it is a TIFF of 3 x 32 bits of floating point, RGB": (
        np.zeros((4, 4, 3), np.float32),
        {"photometric": "rgb"},
    ),
    "its pixels have no known white: it is a TIFF of 16 bits of floating point, grey": (
        np.zeros((4, 4), np.float16),
        {},
    ),
    "its pixels have no known white: it is a TIFF of 3 x 32 bits, RGB": (
        np.zeros((4, 4, 3), np.uint32),
        {"photometric": "rgb"},
    ),
    "its samples are not of known colours: it is a TIFF of 7 x 8 bits, grey": (
        np.zeros((4, 4, 7), np.uint8),
        {"photometric": "minisblack", "extrasamples": ["unspecified"] * 6},
    ),
}


@pytest.mark.parametrize("words", NOT_READ)
def test_a_tiff_that_is_not_read_is_called_what_it_is(words, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvips", None)
    pixels, options = NOT_READ[words]
    with pytest.raises(BadImage, match=f"cannot be read: {words}"):
        decode_image(written((pixels, dict(options))))


@pytest.mark.parametrize("bytes_after", [0, 10_000])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_uncompressed_subsampled_colours_are_not_taken_for_whole_ones(
    bytes_after, planar, monkeypatch
):
    monkeypatch.setitem(sys.modules, "pyvips", None)
    options = {"photometric": "ycbcr", "planarconfig": planar, "subsampling": (1, 1)}
    pixels = np.zeros((16, 16, 3) if planar == "contig" else (3, 16, 16), np.uint8)
    whole = written((pixels, options))
    np.testing.assert_array_equal(decode_image(whole)[..., 1], 135)  # of YCbCr 0, 0, 0
    tag = struct.pack("<HHIHH", 530, 3, 2, 1, 1)
    assert whole.count(tag) == 1
    subsampled = whole.replace(tag, tag[:-4] + struct.pack("<HH", 2, 2)) + bytes(bytes_after)
    words = "it is a TIFF of 3 x 8 bits, YCbCr 2:2 subsampled, which needs the extra museum"
    with pytest.raises(BadImage, match=words):
        decode_image(subsampled)


@pytest.mark.parametrize("bytes_after", [0, 10_000])
@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("colours", [(128, 200, 60), (90, 128, 180)])
def test_the_default_of_the_subsampling_counts_where_the_bytes_fit_it(bytes_after, stated, colours):
    pixels = np.broadcast_to(np.array(colours, np.uint8), (16, 16, 3))
    whole = written((pixels, {"photometric": "ycbcr", "subsampling": (1, 1)}))
    expected = decode_image(whole)
    tag, no_tag = (struct.pack("<HHIHH", name, 3, 2, 1, 1) for name in (530, 65000))
    np.testing.assert_array_equal(decode_image(whole.replace(tag, no_tag)), expected)
    blocks = bytes((*[colours[0]] * 4, *colours[1:])) * 64
    data = whole.replace(pixels.tobytes(), blocks + bytes(len(blocks)))
    counts = [struct.pack("<HHII", 279, 4, 1, size) for size in (768, 384)]
    assert data.count(counts[0]) == 1
    data = data.replace(*counts)
    data = data.replace(tag, tag[:-4] + struct.pack("<HH", 2, 2) if stated else no_tag)
    assert np.abs(decode_image(data + bytes(bytes_after)).astype(int) - expected).max() <= 2


@pytest.mark.parametrize("scale", [1, 257])
@pytest.mark.parametrize("options", [{}, {"compression": "lzw"}, {"byteorder": ">"}])
def test_a_palette_of_8_bits_is_not_black(scale, options):
    table = np.random.default_rng(3).integers(0, 256, (3, 256)).astype(np.uint16)
    indices = picture(24, 32)[..., 0]
    options = {"photometric": "palette", "colormap": table * scale, **options}
    expected = table.T[indices]
    np.testing.assert_array_equal(decode_image(written((indices, options))), expected)


@pytest.mark.parametrize("compression", [34712, 50002, 22610, 34887])
def test_data_of_other_formats_in_a_tiff_are_named(compression, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvips", None)
    whole = written((np.zeros((16, 16, 3), np.uint8), {"compression": "zlib"}))
    tag = struct.pack("<HHIHH", 259, 3, 1, 8, 0)
    assert whole.count(tag) == 1
    name = {34712: "JPEG 2000", 50002: "JPEG XL", 22610: "JPEG XR", 34887: "LERC"}[compression]
    with pytest.raises(BadImage, match=f"a TIFF of 3 x 8 bits, RGB, {name}, which needs the extra"):
        decode_image(whole.replace(tag, struct.pack("<HHIHH", 259, 3, 1, compression, 0)))


@pytest.mark.parametrize("seed", range(6))
def test_what_is_too_large_is_read_reduced_in_parts(seed, monkeypatch):
    """Compares with the mean of squares, on a limit that small images exceed."""
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(200, 300, 2))
    samples = rng.integers(0, 2**16, (height, width, 3)).astype(np.uint16)
    options = {"byteorder": "<>"[seed % 2], "compression": [None, "zlib", "lzw"][seed % 3]}
    options |= list(LAYOUTS.values())[seed // 2]
    pixels = np.moveaxis(samples, -1, 0) if seed > 2 else samples
    options["planarconfig"] = "separate" if seed > 2 else "contig"
    data = written((pixels, options | {"photometric": "rgb"}))
    monkeypatch.setattr(limits, "MAX_PIXELS", 5_000)
    monkeypatch.setattr(tiff_reader, "MAX_PIXELS", 5_000)
    factor = min(height, width) // 40
    decoded = decode(data, 40)
    for row, column in rng.integers(0, 40, (50, 2)):
        square = samples[row * factor :, column * factor :][:factor, :factor]
        assert np.abs(decoded.pixels[row, column] - square.mean((0, 1)) / 256).max() < 1
    assert decoded.pixels.shape[:2] == (-(-height // factor), -(-width // factor))
    assert decoded.facts.size == (width, height)
    with pytest.raises(BadImage, match=f"a TIFF of {width} x {height} pixels, of which all would"):
        decode(data)


def test_what_is_too_large_for_pillow_needs_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvips", None)
    monkeypatch.setattr(tiff_reader, "MAX_PIXELS", 5_000)
    data = encode(Image.fromarray(picture(96, 160)), "TIFF", compression="jpeg")
    words = (
        "it is a TIFF of 160 x 96 pixels, which needs the extra museum: "
        r"pip install 'dkse_jax\[museum\]', or reduce it below 89 megapixels"
    )
    with pytest.raises(BadImage, match=words):
        decode(data, 40)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "lzma"])
def test_damaged_data_are_no_code_of_a_decoder(compression):
    data = encode(Image.fromarray(picture()), "TIFF", compression=compression)
    with pytest.raises(BadImage, match=r"it is a TIFF of 3 x 8 bits, .*, that is damaged"):
        decode_image(data[:10] + bytes(len(data) - 400) + data[-390:])


def test_a_file_without_pages_has_a_sentence():
    with pytest.raises(BadImage, match="a TIFF that is damaged, or of a kind"):
        decode_image(b"II*\0\0\0\0\0")
