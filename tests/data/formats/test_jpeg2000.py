"""JPEG 2000 and AVIF."""

import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from dkse_jax.data.decode import BadImage, decode, decode_image
from dkse_jax.data.formats import limits
from tests.data import profiles
from tests.data.images import encode, picture


def scene(height=96, width=160):
    """Draws a smooth picture, 0 to 1, with white, black and coloured corners."""
    pixels = picture(height, width) / 255
    pixels[: height // 5, : width // 5] = 1
    pixels[height // 5 : height // 3, : width // 5] = 0
    pixels[-height // 5 :, -width // 5 :] = (1, 0, 0.5)
    return pixels


def encoded(pixels, bits, **options):
    numbers = np.rint(pixels * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16)
    options = {"codecformat": "jp2", "level": 0, "reversible": True, **options}
    return imagecodecs.jpeg2k_encode(numbers, bitspersample=bits, **options)


@pytest.mark.parametrize("bits", [8, 9, 10, 12, 16])
@pytest.mark.parametrize("codec", ["jp2", "j2k"])
@pytest.mark.parametrize("reversible", [True, False])
def test_every_depth_keeps_white_and_black(bits, codec, reversible):
    data = encoded(scene(), bits, codecformat=codec, reversible=reversible)
    decoded = decode_image(data).astype(int)
    assert np.abs(decoded - 255 * scene()).max() <= (1 if reversible else 5)
    assert np.abs(decoded - 255 * scene()).mean() < 0.6
    assert (decoded[:18, :31] >= (255 if reversible else 254)).all()
    assert (decoded[20:31, :31] <= (0 if reversible else 1)).all()


@pytest.mark.parametrize("quality", [30, 40, 60])
@pytest.mark.parametrize("seed", range(2))
def test_white_stays_white_in_lossy_files_of_12_bits(quality, seed):
    """Compares with a decoder that keeps 12 bits."""
    noise = np.random.default_rng(seed).normal(0, 0.05, (96, 160, 3))
    data = encoded(np.clip(scene() + noise, 0, 1), 12, level=quality, reversible=seed == 0)
    expected = imagecodecs.jpeg2k_decode(data).astype(float) / 4095 * 255
    assert np.abs(decode_image(data) - expected).max() <= 1.5


@pytest.mark.parametrize("channels", ["grey", "grey + alpha", "RGBA"])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_other_channels_keep_white(channels, bits):
    pixels = scene() if channels == "RGBA" else scene()[..., :1]
    if channels != "grey":
        pixels = np.concatenate([pixels, np.ones((96, 160, 1))], axis=-1)
    expected = 255 * (scene() if channels == "RGBA" else scene()[..., :1].repeat(3, axis=-1))
    decoded = decode_image(encoded(pixels.squeeze(), bits))
    assert np.abs(decoded - expected).max() <= 1.1


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("bits", [1, 2, 4, 7])
def test_few_bits_are_spread_to_the_full_range(bits, channels):
    pixels = scene()[..., :channels]
    if channels == 2:
        pixels = np.stack([pixels[..., 0], np.ones((96, 160))], axis=-1)
    numbers = np.rint(pixels * (2**bits - 1))
    colours = numbers if channels == 3 else numbers[..., :1]
    decoded = decode_image(encoded(pixels.squeeze(), bits))
    expected = np.rint(colours * 255 / (2**bits - 1))
    np.testing.assert_array_equal(decoded, np.broadcast_to(expected, decoded.shape))


def box(kind, data):
    return struct.pack(">I4s", len(data) + 8, kind) + data


def with_colours(jp2, *described):
    """Replaces the description of the colours of a file by other boxes."""
    start = jp2.index(b"jp2h") - 4
    end = start + int.from_bytes(jp2[start : start + 4], "big")
    colours = jp2.index(b"colr") - 4
    size = int.from_bytes(jp2[colours : colours + 4], "big")
    header = jp2[start + 8 : colours] + b"".join(described) + jp2[colours + size : end]
    return jp2[:start] + box(b"jp2h", header) + jp2[end:]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_of_any_depth_is_read(bits):
    table = np.random.default_rng(bits).integers(0, 256, (2**bits, 3), np.uint8)
    numbers = np.rint(scene()[..., 0] * (2**bits - 1)).astype(np.uint8)
    palette = struct.pack(">HB", 2**bits, 3) + b"\7\7\7" + table.tobytes()
    maps = b"".join(struct.pack(">HBB", 0, 1, column) for column in range(3))
    srgb = box(b"colr", struct.pack(">3BI", 1, 0, 0, 16))
    described = srgb, box(b"pclr", palette), box(b"cmap", maps)
    data = with_colours(encoded(scene()[..., 0], bits), *described)
    np.testing.assert_array_equal(decode_image(data), table[numbers])


ADOBE = profiles.rgb_profile("Adobe RGB (1998)", profiles.ADOBE, profiles.gamma(2.19921875))
LINEAR = profiles.grey_profile("linear", profiles.gamma(1.0))


@pytest.mark.parametrize("method", [2, 3])
@pytest.mark.parametrize("kind", ["RGB", "grey", "grey of 16 bits", "CMYK"])
def test_the_profile_of_a_file_is_applied(kind, method):
    expected = 255 * scene()
    if kind == "RGB":
        profile, stored = ADOBE, profiles.in_space(expected, profiles.ADOBE, profiles.gamma(2.2))
    elif kind == "CMYK":
        profile, stored = profiles.press_profile("press"), np.full((96, 160, 4), 51, np.uint8)
        expected = profiles.inks_to_srgb(stored / 255)
    else:
        profile, expected = LINEAR, expected[..., :1].repeat(3, axis=-1)
        stored = np.rint(255 * profiles.linear_of(expected[..., 0])).astype(np.uint8)
    bits = 16 if kind == "grey of 16 bits" else 8
    described = box(b"colr", bytes((method, 0, 0)) + profile)
    data = with_colours(encoded(stored / 255, bits), described)
    found = decode(data)
    assert np.abs(found.pixels - expected).mean() < 1.5
    assert found.facts.profile in ("Adobe RGB (1998)", "linear", "press")
    assert found.facts.remarks == ()
    if kind == "RGB":
        np.testing.assert_array_equal(decode_image(data, profiles=False), stored)


def test_of_two_descriptions_of_the_colours_the_first_counts():
    srgb, adobe = (struct.pack(">3BI", 1, 0, 0, 16), b"\2\0\0" + ADOBE)
    data = encoded(scene(), 8)
    found = decode(with_colours(data, box(b"colr", srgb), box(b"colr", adobe)))
    np.testing.assert_array_equal(found.pixels, decode_image(data))
    assert found.facts.profile == ""


@pytest.mark.parametrize("offset", [(1, 1), (2, 3), (37, 91)])
def test_a_picture_that_begins_elsewhere_is_read_for_training_too(offset):
    data = encode(
        Image.fromarray(picture(96, 160)), "JPEG2000", offset=offset, tile_size=(128, 128)
    )
    np.testing.assert_array_equal(decode_image(data), picture(96, 160))
    np.testing.assert_array_equal(decode_image(data, 20), picture(96, 160))


def test_subsampled_colours_are_read():
    image = Image.fromarray(picture(96, 160))
    data = encode(image.convert("YCbCr"), "JPEG2000")
    assert np.abs(decode_image(data).astype(int) - picture(96, 160)).mean() < 2


@pytest.mark.parametrize("seed", range(6))
def test_any_size_is_reduced_by_its_own_levels(seed):
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(60, 300, 2))
    pixels = Image.fromarray(picture(height, width))
    tiles = {"tile_size": (64, 48)} if seed % 2 else {}
    data = encode(pixels, "JPEG2000", irreversible=not tiles, **tiles, no_jp2=seed % 3 == 0)
    shorter = min(height, width)
    for halvings in range(4):
        decoded = decode(data, max(1, shorter // 2**halvings))
        assert decoded.pixels.shape[:2] == (-(-height // 2**halvings), -(-width // 2**halvings))
        assert decoded.facts.size == (width, height)
        expected = pixels.resize(decoded.pixels.shape[1::-1], Image.Resampling.BOX)
        # A wavelet's level is sampled at the corner of the squares of which BOX is the mean.
        assert np.abs(decoded.pixels.astype(int) - np.asarray(expected)).max() < 4 * 2**halvings
    np.testing.assert_array_equal(decode_image(data, shorter), decode_image(data))


@pytest.mark.parametrize("reversible", [True, False])
def test_white_stays_white_where_it_is_reduced(reversible):
    data = encoded(scene(97, 163), 16, reversible=reversible)
    decoded = decode_image(data, 20)
    assert decoded.shape == (25, 41, 3)
    assert (decoded[:4, :7] >= 245).all()
    assert (decoded[6:8, :7] <= 20).all()


def test_a_level_that_is_not_there_is_not_asked_for():
    data = encode(Image.fromarray(picture(96, 160)), "JPEG2000", num_resolutions=2)
    assert decode_image(data, 5).shape == (48, 80, 3)


def test_the_limit_is_on_what_is_decoded(monkeypatch):
    data = encode(Image.fromarray(picture(96, 160)), "JPEG2000")
    monkeypatch.setattr(limits, "MAX_PIXELS", 5000)
    assert decode_image(data, 48).shape == (48, 80, 3)
    with pytest.raises(BadImage, match="a JPEG 2000 image of 160 x 96 pixels, of which all"):
        decode_image(data, 49)


def test_a_bomb_is_refused_by_its_header():
    data = encode(Image.fromarray(picture(96, 160)), "JPEG2000", no_jp2=True, num_resolutions=1)
    place = data.index(b"\xff\x51") + 6
    bomb = data[:place] + struct.pack(">II", 60000, 60000) + data[place + 8 :]
    with pytest.raises(BadImage, match="a JPEG 2000 image of 60,000 x 60,000 pixels"):
        decode_image(bomb, 8)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("bits", [8, 16])
def test_what_is_cut_off_is_refused(share, bits):
    data = encoded(scene() + 0.0, bits)
    with pytest.raises(BadImage, match="a JPEG 2000 image"):
        decode_image(data[: int(share * len(data))])


def test_five_channels_are_named():
    data = encoded(np.zeros((16, 16, 5)), 8, codecformat="j2k")
    with pytest.raises(BadImage, match="a JPEG 2000 image of 5 x 8 bits, which is not read"):
        decode_image(data)


@pytest.mark.parametrize("depth", [8, 10, 12])
def test_avif_is_read(depth):
    pixels = np.rint(scene() * (2**depth - 1)).astype(np.uint8 if depth == 8 else np.uint16)
    data = imagecodecs.avif_encode(pixels, bitspersample=depth, level=100)
    decoded = decode(data)
    assert np.abs(decoded.pixels - 255 * scene()).mean() < 1
    assert decoded.facts.size == (160, 96)
    assert decoded.facts.remarks == ()


def test_avif_is_turned_and_composed_on_white():
    exif = Image.Exif()
    exif[274] = 6
    image = Image.fromarray(picture(96, 160))
    image.putalpha(
        Image.fromarray(np.where(np.arange(160) < 80, 255, 0).astype(np.uint8)[None].repeat(96, 0))
    )
    decoded = decode(encode(image, "AVIF", exif=exif, quality=95))
    assert decoded.facts.size == (96, 160)
    assert (decoded.pixels[88:] >= 250).all()
    upright = np.rot90(picture(96, 160), -1)
    assert np.abs(decoded.pixels[:72].astype(int) - upright[:72]).mean() < 3


def test_the_frames_of_avif_are_counted():
    frames = [Image.new("RGB", (32, 24), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    assert decode(data).facts.pictures == 2
    assert (decode_image(data)[..., 0] > 240).all()


def with_crop(avif):
    """Adds the property clap (16 x 16 pixels in the middle) to the one picture of an AVIF."""
    clap = struct.pack(">I4s8I", 40, b"clap", 16, 1, 16, 1, 0, 1, 0, 1)
    boxes = {kind: avif.index(kind) - 4 for kind in (b"meta", b"iprp", b"ipco", b"ipma")}
    data = bytearray(avif)
    for kind, size in ((b"meta", 41), (b"iprp", 41), (b"ipco", 40), (b"ipma", 1)):
        (old,) = struct.unpack_from(">I", data, boxes[kind])
        struct.pack_into(">I", data, boxes[kind], old + size)
    place = avif.index(b"mdat") + 4
    iloc = avif.index(struct.pack(">I", place), avif.index(b"iloc"))
    struct.pack_into(">I", data, iloc, place + 41)
    count = boxes[b"ipma"] + 18
    data[count] += 1
    data.insert(count + data[count], 0x80 | data[count])  # essential, the last of the properties
    data[boxes[b"ipma"] : boxes[b"ipma"]] = clap
    return bytes(data)


def test_a_crop_of_avif_is_mentioned():
    data = encode(Image.fromarray(picture(24, 32)), "AVIF")
    cropped = decode(with_crop(data))
    np.testing.assert_array_equal(cropped.pixels, decode_image(data))
    remark = "its crop (clap) is not applied: all its pixels were read"
    assert cropped.facts.remarks == (remark,)
    assert decode(data).facts.remarks == ()
