"""Embedded ICC profiles: the colours come out as those of sRGB, or the profile is named."""

import io
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms

from dkse_jax.data import colour
from dkse_jax.data.decode import decode, decode_image, image_to_rgb
from tests.data import profiles
from tests.data.images import chunk, png_16bit
from tests.data.profiles import gamma, grey_profile, in_space, rgb_profile

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SPACES = {
    "Adobe RGB (1998)": (profiles.ADOBE, gamma(2.19921875)),
    "ProPhoto RGB": (profiles.PROPHOTO, gamma(1.8)),
    "eciRGB v2": (profiles.ECI, profiles.lightness_curve),
}
GREYS = {"Dot Gain 20%": profiles.dot_gain, "linear": gamma(1.0), "Gray Gamma 1.8": gamma(1.8)}


def encode(pixels, profile, file_format="PNG", mode=None, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels, mode)
    buffer = io.BytesIO()
    image.save(buffer, file_format, icc_profile=profile, **options)
    return buffer.getvalue()


def chart(seed=0):
    """Smooth colours, greys and random patches, uint8 (48, 64, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : 24 * 1j, 0 : 1 : 64 * 1j]
    smooth = 255 * np.stack([x, y, (1 - x) * (1 - y)], axis=-1)
    greys = 255 * np.repeat(x[:8, :, None], 3, axis=2)
    patches = rng.integers(0, 256, (4, 16, 3)).repeat(4, axis=0).repeat(4, axis=1)
    return np.concatenate([smooth, greys, patches]).round().astype(np.uint8)


def off(found, expected):
    return np.abs(np.asarray(found, float) - expected).mean()


@pytest.mark.parametrize("name", SPACES)
def test_the_colours_of_an_rgb_space_are_converted(name):
    matrix, curve = SPACES[name]
    stored = in_space(chart(), matrix, curve)
    profile = rgb_profile(name, matrix, curve)
    found = decode(encode(stored, profile))
    assert off(found.pixels, chart()) < 1
    assert (found.facts.profile, found.facts.remarks) == (name, ())
    jpeg = encode(stored, profile, "JPEG", quality=100, subsampling=0)
    assert off(decode_image(jpeg), chart()) < 2
    for data in (encode(stored, profile), jpeg):
        without = decode(data, profiles=False)
        untagged = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        np.testing.assert_array_equal(without.pixels, untagged)
        assert without.facts.profile == name
    assert off(stored, chart()) > 2


@pytest.mark.parametrize("seed", range(4))
def test_the_colours_of_any_rgb_space_are_converted(seed):
    rng = np.random.default_rng(seed)
    corners = np.array([(0.66, 0.33), (0.25, 0.68), (0.14, 0.06)])
    matrix = profiles.matrix_of(*(corners + rng.uniform(-0.015, 0.015, (3, 2))))
    curve = gamma(rng.uniform(1.4, 2.6))
    stored = in_space(chart(seed), matrix, curve)
    found = decode_image(encode(stored, rgb_profile("any", matrix, curve)))
    inside = (stored > 0).all(axis=-1) & (stored < 255).all(axis=-1)  # the others were cut off
    assert inside.mean() > 0.5
    assert off(found[inside], chart(seed)[inside]) < 1.5


def test_values_that_are_known():
    adobe = rgb_profile("Adobe RGB (1998)", *SPACES["Adobe RGB (1998)"])
    pixels = np.array([[(0, 255, 0), (128, 64, 200)]], np.uint8)
    assert decode_image(encode(pixels, adobe))[0].tolist() == [[0, 255, 0], [146, 62, 205]]
    for name, value in (("linear", 188), ("Dot Gain 20%", 149)):
        data = encode(np.full((2, 2), 128, np.uint8), grey_profile(name, GREYS[name]))
        assert np.abs(decode_image(data).astype(int) - value).max() <= 1


@pytest.mark.parametrize("name", GREYS)
def test_greys_are_converted(name):
    srgb = np.linspace(0, 255, 256).astype(np.uint8)[None].repeat(3, axis=0)
    stored = profiles.encoded(profiles.linear_of(srgb), GREYS[name])
    profile = grey_profile(name, GREYS[name])
    for data in (encode(stored, profile), encode(stored, profile, "TIFF")):
        found = decode(data)
        assert off(found.pixels, srgb[:, :, None]) < 2
        assert (found.pixels == found.pixels[:, :, :1]).all()
        assert (found.facts.profile, found.facts.remarks) == (name, ())
    assert off(stored, srgb) > 5


@pytest.mark.parametrize("file_format", ["TIFF", "JPEG"])
def test_inks_are_converted(file_format):
    """A JPEG of inks is stored inverted, as Adobe does it."""
    inks = np.random.default_rng(0).uniform(0, 1, (8, 8, 4)).repeat(8, axis=0).repeat(8, axis=1)
    stored = Image.fromarray((255 * inks).round().astype(np.uint8), "CMYK")
    options = {"quality": 100, "subsampling": 0} if file_format == "JPEG" else {}
    data = encode(stored, profiles.press_profile("a press"), file_format, **options)
    found = decode(data)
    expected = profiles.inks_to_srgb(inks)
    assert off(found.pixels, expected) < 2
    assert (found.facts.profile, found.facts.remarks) == ("a press", ())
    assert off(decode_image(data, profiles=False), expected) > 10


def test_white_and_black_of_sixteen_bits_stay_and_the_rest_is_converted():
    values = np.array([[0, 0x1000, 0x8000, 0xFFFF]], np.uint16)
    profile = grey_profile("linear", gamma(1.0))
    for file_format in ("PNG", "TIFF"):
        found = decode_image(encode(values, profile, file_format))[0, :, 0].astype(int)
        assert np.abs(found - [0, 71, 188, 255]).max() <= 1


@pytest.mark.parametrize("seed", range(2))
def test_a_profile_of_srgb_changes_no_bit(seed):
    pixels = chart(seed)
    own = rgb_profile("mine", profiles.SRGB_TO_XYZ, profiles.srgb_curve)
    for profile in (SRGB, own):
        for data in (encode(pixels, profile), encode(pixels, profile, "JPEG")):
            found = decode(data)
            np.testing.assert_array_equal(found.pixels, decode_image(data, profiles=False))
            assert found.facts.profile
        assert colour.read_profile(profile).transform is None
    grey = decode(encode(pixels[:, :, 0], SRGB))
    assert grey.facts.remarks == ()


PRO = rgb_profile("ProPhoto RGB", *SPACES["ProPhoto RGB"])
LINEAR = grey_profile("linear", gamma(1.0))


@pytest.mark.parametrize(
    ("mode", "profile", "remark"),
    [
        ("RGB", LINEAR, "its profile is of grey, its pixels are RGB: ignored"),
        ("P", LINEAR, "its profile is of grey, its pixels are RGB: ignored"),
        ("RGBA", profiles.press_profile("press", 3), "its profile is of CMYK, its pixels are RGB"),
        ("L", PRO, "its profile is of RGB, its pixels are grey: ignored"),
        ("LA", PRO, "its profile is of RGB, its pixels are grey: ignored"),
        ("CMYK", PRO, "its profile is of RGB, its pixels are CMYK: ignored"),
        ("RGB", PRO[:200], "its colour profile is broken: ignored"),
        ("RGB", b"no profile", "its colour profile is broken: ignored"),
        ("L", bytes(128) + LINEAR[128:], "its colour profile is broken: ignored"),
    ],
)
def test_a_profile_that_does_not_fit_is_ignored_and_named(mode, profile, remark):
    image = Image.fromarray(chart()).convert(mode)
    data = encode(image, profile, "TIFF" if mode == "CMYK" else "PNG")
    found = decode(data)
    np.testing.assert_array_equal(found.pixels, decode_image(data, profiles=False))
    (line,) = found.facts.remarks
    assert line.startswith(remark)
    assert decode(data, profiles=False).facts.remarks == ()


@pytest.mark.parametrize("file_format", ["WEBP", "16-bit PNG", "palette"])
@pytest.mark.parametrize("alpha", [255, 128])
def test_a_grey_profile_fits_greys_that_are_stored_as_colours(file_format, alpha):
    grey = np.arange(256, dtype=np.uint8)[None]
    stored = np.stack([grey, np.full_like(grey, alpha)], axis=-1)
    expected = decode_image(encode(Image.fromarray(stored, "LA"), LINEAR))
    if file_format == "WEBP":
        data = encode(Image.fromarray(stored, "LA"), LINEAR, "WEBP", lossless=True, exact=True)
    elif file_format == "palette":
        image = Image.fromarray(grey).convert("P")
        data = encode(image, LINEAR, transparency=bytes([alpha] * 256))
    else:
        plain = png_16bit(4, stored.astype(np.uint16) * 257)
        profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(LINEAR))
        data = plain[:33] + profile + plain[33:]
    found = decode(data)
    np.testing.assert_array_equal(found.pixels, expected)
    assert (found.facts.profile, found.facts.remarks) == ("linear", ())


def test_colours_are_converted_before_transparency_is_composed():
    stored = np.array([[(128, 64, 200, a) for a in (0, 128, 255)]], np.uint8)
    data = encode(stored, rgb_profile("Adobe RGB (1998)", *SPACES["Adobe RGB (1998)"]))
    opaque = np.array([146, 62, 205])
    half = opaque * 128 / 255 + 127
    assert np.abs(decode_image(data)[0] - np.array([[255] * 3, half, opaque])).max() <= 1
    grey = np.array([[(128, 0), (128, 128), (128, 255)]], np.uint8)
    found = decode_image(encode(Image.fromarray(grey, "LA"), LINEAR))[0, :, 0]
    assert np.abs(found - [255, 188 * 128 / 255 + 127, 188]).max() <= 1


def test_a_transparent_colour_stays_transparent():
    for mode, colours, key in (("RGB", [(9, 9, 9), (128, 64, 200)], (9, 9, 9)), ("L", [9, 128], 9)):
        image = Image.new(mode, (2, 1))
        image.putdata(colours)
        profile = LINEAR if mode == "L" else PRO
        found = decode_image(encode(image, profile, transparency=key))[0]
        assert found[0].tolist() == [255, 255, 255]
        np.testing.assert_array_equal(found[1], decode_image(encode(image, profile))[0, 1])


def test_a_palette_is_converted():
    stored = in_space(chart(), *SPACES["ProPhoto RGB"])
    palette = Image.fromarray(stored).quantize(64)
    expected = decode_image(encode(palette.convert("RGB"), PRO))
    np.testing.assert_array_equal(decode_image(encode(palette, PRO)), expected)
    assert off(decode_image(encode(palette, PRO)), stored) > 5


def test_images_that_are_open_are_converted():
    data = encode(in_space(chart(), *SPACES["ProPhoto RGB"]), PRO)
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(image_to_rgb(image), decode_image(data))
    with Image.open(io.BytesIO(data)) as image:
        before = image_to_rgb(image, profiles=False)
    np.testing.assert_array_equal(before, decode_image(data, profiles=False))


def test_threads_share_a_transform_that_is_built_once(monkeypatch):
    built = []
    whole = colour._transform
    monkeypatch.setattr(colour, "_transform", lambda *a: built.append(a[1]) or whole(*a))
    colour.read_profile.cache_clear()
    data = [encode(chart(seed), PRO) for seed in range(24)]
    alone = [decode_image(one) for one in data]
    start = threading.Barrier(4)

    def work(_):
        start.wait()
        return [decode_image(one) for one in data]

    with ThreadPoolExecutor(4) as executor:
        for found in executor.map(work, range(4)):
            np.testing.assert_array_equal(found, alone)
    assert built == ["RGB"]


def test_few_profiles_are_kept():
    for number in range(40):
        colour.read_profile(grey_profile(f"grey {number}", gamma(1.0)))
    kept = colour.read_profile.cache_info()
    assert kept.currsize == kept.maxsize < 40
