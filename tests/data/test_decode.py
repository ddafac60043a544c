"""Unusual images: turned, 16-bit, transparent, CMYK, misnamed, broken."""

import gzip
import io
import os
import struct
import threading
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from dkse_jax.data.decode import MAX_BYTES, BadImage, decode_image
from dkse_jax.data.formats.jpeg import MAX_SCANS

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encode(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def picture(height=48, width=64):
    """Draws a smooth image, which JPEG keeps within a few grey levels, without symmetry."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.stack([255 * x, 255 * y, 255 * (1 - x) * (1 - y)], axis=-1).astype(np.uint8)


def png(bits, colour_type, rows, size, transparent=()):
    """Encodes a PNG of a format that Pillow cannot write, from the packed bytes of each row."""

    def chunk(tag, data):
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))

    parts = [(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour_type, 0, 0, 0))]
    if transparent:
        parts.append((b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)))
    parts += [(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def png_16bit(colour_type, pixels, transparent=(), size=None):
    """Encodes a 16-bit PNG; its header may state another size."""
    rows = [row.astype(">u2").tobytes() for row in pixels]
    return png(16, colour_type, rows, size or pixels.shape[1::-1], transparent)


def tiff(bits, row, photometric, order="<", width=4, samples=1, deflate=False):
    """Encodes a TIFF of one row, given as its packed bytes."""
    row = zlib.compress(row) if deflate else row
    tags = {256: width, 257: 1, 258: bits, 259: 8 if deflate else 1, 262: photometric}
    tags |= {273: 0, 277: samples, 278: 1, 279: len(row)}
    extra = struct.pack(order + f"{samples}H", *[bits] * samples) if samples > 1 else b""
    start = 8 + 2 + 12 * len(tags) + 4
    tags[273] = start + len(extra)
    parts = [b"II*\0" if order == "<" else b"MM\0*", struct.pack(order + "IH", 8, len(tags))]
    for tag, value in tags.items():
        if tag == 258 and samples > 1:
            parts.append(struct.pack(order + "HHII", tag, 3, samples, start))
        else:
            parts.append(struct.pack(order + "HHIHH", tag, 3, 1, value, 0))
    return b"".join([*parts, struct.pack(order + "I", 0), extra, row])


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_lossless_formats_come_back_exactly(file_format, options):
    data = encode(Image.fromarray(picture()), file_format, **options)
    decoded = decode_image(data)
    np.testing.assert_array_equal(decoded, picture())
    assert decoded.dtype == np.uint8
    assert decoded.flags.writeable


def test_jpeg_is_near_the_original():
    data = encode(Image.fromarray(picture()), "JPEG", quality=95)
    assert np.abs(decode_image(data).astype(int) - picture()).mean() < 2


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first_counts(file_format):
    frames = [Image.new("RGB", (5, 4), colour) for colour in (GREEN, RED)]
    lossless = {"lossless": True} if file_format == "WEBP" else {}
    data = encode(frames[0], file_format, save_all=True, append_images=frames[1:], **lossless)
    np.testing.assert_array_equal(decode_image(data), np.full((4, 5, 3), GREEN))


def test_a_jpeg_of_several_pictures_is_its_first():
    frames = [Image.fromarray(p) for p in (picture(480, 640), picture(480, 640)[::-1])]
    exif = Image.Exif()
    exif[274] = 6
    data = encode(frames[0], "MPO", save_all=True, append_images=frames[1:], exif=exif)
    alone = encode(frames[0], "JPEG", exif=exif)
    np.testing.assert_array_equal(decode_image(data), decode_image(alone))
    assert decode_image(data, 60).shape == (80, 60, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".txt", ""])
def test_content_decides_not_the_name(tmp_path, suffix):
    path = tmp_path / f"picture{suffix}"
    path.write_bytes(encode(Image.fromarray(picture()), "PNG"))
    np.testing.assert_array_equal(decode_image(path), picture())
    np.testing.assert_array_equal(decode_image(str(path)), picture())


# What a viewer must do with stored pixels for each EXIF orientation (TIFF 6.0, tag 274).
UPRIGHT = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: np.rot90(p, 2).swapaxes(0, 1),
    8: lambda p: np.rot90(p, 1),
}


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied_once(file_format, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    plain = decode_image(encode(Image.fromarray(picture()), file_format))
    turned = decode_image(encode(Image.fromarray(picture()), file_format, exif=exif))
    np.testing.assert_array_equal(turned, UPRIGHT[orientation](plain))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
@pytest.mark.parametrize("exif", [b"Exif\0\0no TIFF header", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"])
def test_unreadable_exif_is_ignored(file_format, exif):
    original = Image.fromarray(picture())
    data = encode(original, file_format, exif=exif)
    np.testing.assert_array_equal(decode_image(data), decode_image(encode(original, file_format)))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_a_remark_of_pillows_does_not_refuse_a_picture(file_format):
    exif = Image.Exif()
    exif[274] = 6
    good = exif.tobytes()
    # The header announces 9 entries, but has 1: Pillow warns.
    odd = good[:14] + struct.pack(">H", 9) + good[16:]
    good, odd = (encode(Image.fromarray(picture()), file_format, exif=e) for e in (good, odd))
    with pytest.warns(UserWarning, match="EXIF"), Image.open(io.BytesIO(odd)) as image:
        image.getexif()
    np.testing.assert_array_equal(decode_image(odd), decode_image(good))


def test_16_bit_grey_keeps_its_shades(tmp_path):
    shades = np.array([[0, 0x4000, 0x8000, 0xFFFF]])
    expected = np.array([[0, 0x40, 0x80, 0xFF]], np.uint8)[..., None].repeat(3, axis=-1)
    np.testing.assert_array_equal(decode_image(png_16bit(0, shades)), expected)
    tiff = encode(Image.fromarray(shades.astype(np.uint16)), "TIFF")
    np.testing.assert_array_equal(decode_image(tiff), expected)


def test_16_bit_grey_transparency_is_white():
    decoded = decode_image(png_16bit(0, np.array([[0x4000, 0x4001]]), transparent=(0x4000,)))
    np.testing.assert_array_equal(decoded[0], [WHITE, (0x40, 0x40, 0x40)])


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


@pytest.mark.parametrize(("alpha", "expected"), [((0, 0), [RED, BLUE]), ((255, 0), [RED, WHITE])])
def test_an_empty_alpha_channel_of_a_bmp_hides_nothing(alpha, expected):
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, 2, 1, 1, 32, 3, 8, 0, 0, 0, 0) + masks + bytes(52)
    pixels = bytes([0, 0, 255, alpha[0], 255, 0, 0, alpha[1]])
    data = struct.pack("<2sIHHI", b"BM", 130, 0, 0, 122) + header + pixels
    np.testing.assert_array_equal(decode_image(data)[0], expected)


@pytest.mark.parametrize(
    "kind", ["palette", "palette_alpha", "rgba", "webp", "la", "gif", "colour_key"]
)
def test_transparent_becomes_white(kind):
    palette = Image.new("P", (2, 1))
    palette.putpalette([*RED, *BLUE])
    palette.putpixel((1, 0), 1)
    half_red = (255, 127, 127)
    rgba = Image.fromarray(np.array([[[*RED, 128], [*BLUE, 0]]], np.uint8))
    data, expected = {
        "palette": (encode(palette, "PNG", transparency=1), [RED, WHITE]),
        "palette_alpha": (encode(palette, "PNG", transparency=b"\x80\x00"), [half_red, WHITE]),
        "rgba": (encode(rgba, "PNG"), [half_red, WHITE]),
        "webp": (encode(rgba, "WEBP", lossless=True), [half_red, WHITE]),
        "la": (
            encode(Image.fromarray(np.array([[[0, 128], [0, 255]]], np.uint8), "LA"), "PNG"),
            [(127, 127, 127), (0, 0, 0)],
        ),
        "gif": (encode(palette, "GIF", transparency=1), [RED, WHITE]),
        "colour_key": (
            encode(Image.fromarray(np.array([[RED, BLUE]], np.uint8)), "PNG", transparency=BLUE),
            [RED, WHITE],
        ),
    }[kind]
    np.testing.assert_array_equal(decode_image(data)[0], expected)


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [("L", "JPEG"), ("CMYK", "JPEG"), ("L", "PNG"), ("1", "PNG"), ("P", "PNG"), ("CMYK", "TIFF")],
)
def test_other_modes_become_rgb(mode, file_format):
    image = Image.fromarray(picture()).convert(mode)
    decoded = decode_image(encode(image, file_format))
    assert decoded.shape == (48, 64, 3)
    assert np.abs(decoded.astype(int) - np.asarray(image.convert("RGB"))).mean() < 3


def test_32_bit_pixels_are_refused():
    with pytest.raises(BadImage, match="no known white"):
        decode_image(encode(Image.new("F", (4, 4)), "TIFF"))


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


def test_min_side_leaves_a_png_alone():
    data = encode(Image.fromarray(picture()), "PNG")
    np.testing.assert_array_equal(decode_image(data, 8), picture())


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_files_are_refused_by_name(tmp_path, file_format, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), file_format)
    path = tmp_path / "half.jpg"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(BadImage, match=r"half\.jpg"):
        decode_image(path)


def zipped_png():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("picture.png", encode(Image.fromarray(picture()), "PNG"))
    return buffer.getvalue()


NO_PICTURES = {
    "empty": b"",
    "text": b"no picture",
    "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"></svg>',
    "html": b"<!DOCTYPE html><html><img src=a.png></html>",
    "eps": encode(Image.fromarray(picture()), "EPS"),
    "ppm": encode(Image.fromarray(picture()), "PPM"),
    "ico": encode(Image.fromarray(picture()), "ICO"),
    "zip": zipped_png(),
    "gzip": gzip.compress(encode(Image.fromarray(picture()), "PNG")),
    "xcf": b"gimp xcf v011\0" + struct.pack(">III", 4, 4, 0) + bytes(64),
}


@pytest.mark.parametrize("content", NO_PICTURES.values(), ids=NO_PICTURES)
def test_what_is_no_picture_is_refused_by_name(tmp_path, content):
    path = tmp_path / "notes.jpg"
    path.write_bytes(content)
    with pytest.raises(BadImage, match=r'"[^"]*notes\.jpg" cannot be read: it is not a JPEG, PNG'):
        decode_image(path)


def test_missing_files_and_folders_are_refused_by_name(tmp_path):
    with pytest.raises(BadImage, match=r"gone\.jpg.*No such file"):
        decode_image(tmp_path / "gone.jpg")
    with pytest.raises(BadImage, match="cannot be read: Is a directory"):
        decode_image(tmp_path)


def test_only_a_file_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it would wait for whoever writes to it
    for path in (tmp_path / "pipe.jpg", "/dev/zero"):
        with pytest.raises(BadImage, match="cannot be read: it is not a file"):
            decode_image(path)


def test_a_large_file_is_refused_unread(tmp_path):
    path = tmp_path / "film.tif"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # takes no room on the disk
    with pytest.raises(BadImage, match="1,073,741,825 bytes are more than 1,073,741,824"):
        decode_image(path)


def test_refusals_are_plain_text(tmp_path):
    path = tmp_path / "a\x1b[31m\nb.jpg"
    path.touch()
    for call in (lambda: decode_image(path), lambda: decode_image(b"", name=str(path))):
        with pytest.raises(BadImage) as caught:
            call()
        assert 'a\ufffd[31m\ufffdb.jpg" cannot be read' in str(caught.value)


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


def test_bytes_are_called_by_the_name_given():
    with pytest.raises(BadImage, match='the image "train/7" cannot be read'):
        decode_image(b"no picture", name="train/7")


@pytest.mark.parametrize("side", [9460, 20000])
@pytest.mark.parametrize("warn", ["error", "ignore"])
def test_decompression_bombs_are_refused(side, warn):
    data = png_16bit(0, np.zeros((1, 1)), size=(side, side))
    with warnings.catch_warnings(action=warn), pytest.raises(BadImage, match="pixels"):
        decode_image(data)


def test_threads_get_the_same_pixels():
    data = [encode(Image.fromarray(picture(48, 64 + i)), "PNG") for i in range(8)]
    decoded = {}

    def decode(i):
        decoded[i] = decode_image(data[i])

    threads = [threading.Thread(target=decode, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(8):
        np.testing.assert_array_equal(decoded[i], picture(48, 64 + i))
