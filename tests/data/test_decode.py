"""Unusual images: turned, 16-bit, transparent, CMYK, misnamed, broken."""

import gzip
import io
import os
import struct
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from dkse_jax.data.decode import BadImage, decode_image
from dkse_jax.data.formats import FORMATS, identify
from tests.data.images import BLUE, GREEN, RED, UPRIGHT, WHITE, encode, picture


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


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first_counts(file_format):
    frames = [Image.new("RGB", (5, 4), colour) for colour in (GREEN, RED)]
    lossless = {"lossless": True} if file_format == "WEBP" else {}
    data = encode(frames[0], file_format, save_all=True, append_images=frames[1:], **lossless)
    np.testing.assert_array_equal(decode_image(data), np.full((4, 5, 3), GREEN))


@pytest.mark.parametrize("suffix", [".jpg", ".txt", ""])
def test_content_decides_not_the_name(tmp_path, suffix):
    path = tmp_path / f"picture{suffix}"
    path.write_bytes(encode(Image.fromarray(picture()), "PNG"))
    np.testing.assert_array_equal(decode_image(path), picture())
    np.testing.assert_array_equal(decode_image(str(path)), picture())


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
    "archive": b"7z\xbc\xaf\x27\x1c",
}


@pytest.mark.parametrize("content", NO_PICTURES.values(), ids=NO_PICTURES)
def test_what_is_no_picture_is_refused_by_name(tmp_path, content):
    path = tmp_path / "notes.jpg"
    path.write_bytes(content)
    with pytest.raises(BadImage, match=r'"[^"]*notes\.jpg" cannot be read: it is not a JPEG, PNG'):
        decode_image(path)


IMAGE = Image.new("RGB", (8, 8))
NOT_READ = {
    "a JPEG XL image": (b"\xff\x0a\xfa\x1f", b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl "),
    "a JPEG XR image": (b"II\xbc\1\x20\0\0\0",),
    "an OpenEXR image": (b"\x76\x2f\x31\x01\2\0\0\0",),
    "a Radiance HDR image": (b"#?RADIANCE\n", b"#?RGBE\n"),
    "a PNM image": (encode(IMAGE, "PPM"), encode(IMAGE.convert("1"), "PPM"), b"P7\nWIDTH 4\n"),
    "a GIMP file": (b"gimp xcf v011\0" + struct.pack(">III", 4, 4, 0),),
    "a DjVu document": (b"AT&TFORM\0\0\x10\0DJVM",),
    "a DICOM image": (bytes(128) + b"DICM\2\0\0\0UL",),
    "a FITS image": (b"SIMPLE  =                    T",),
    r"an icon \(ICO\)": (encode(IMAGE, "ICO"), b"\0\0\2\0\1\0"),
    r"a PostScript file \(EPS\)": (encode(IMAGE, "EPS"), b"%!PS-Adobe-3.0"),
    "an SVG drawing": (
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"></svg>',
        b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- by hand -->\n'
        b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "svg11.dtd">\n<svg\n width="4">',
        b"<svg>",
    ),
}
NO_IMAGES = {
    r"a web page \(HTML\)": (b"<!DOCTYPE html><html></html>", b"\n <HTML><img src=a.png>"),
    "a ZIP archive": (zipped_png(),),
    "a gzip archive": (gzip.compress(encode(Image.fromarray(picture()), "PNG")),),
    "a RAR archive": (b"Rar!\x1a\x07\x01\0",),
    r"a video \(MP4 or MOV\)": (b"\0\0\0\x20ftypisom\0\0\2\0", b"\0\0\0\x08wide\0\0\0\0mdat"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n",),
    "a file of macOS about another file": (b"\0\5\x16\7\0\2\0\0Mac OS X",),
}


@pytest.mark.parametrize("words", [*NOT_READ, *NO_IMAGES])
def test_other_files_are_called_what_they_are(words):
    remedy = "which is not read: convert it to TIFF" if words in NOT_READ else "no image"
    for content in NOT_READ.get(words) or NO_IMAGES[words]:
        with pytest.raises(BadImage, match=f"cannot be read: it is {words}, {remedy}"):
            decode_image(content)


def test_every_format_without_a_reader_is_tested():
    found = {
        identify(content) for kind in (NOT_READ, NO_IMAGES) for c in kind.values() for content in c
    }
    assert found == {one for one in FORMATS if not one.reader}


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


def test_refusals_are_plain_text(tmp_path):
    path = tmp_path / "a\x1b[31m\nb.jpg"
    path.touch()
    for call in (lambda: decode_image(path), lambda: decode_image(b"", name=str(path))):
        with pytest.raises(BadImage) as caught:
            call()
        assert 'a\ufffd[31m\ufffdb.jpg" cannot be read' in str(caught.value)


def test_bytes_are_called_by_the_name_given():
    with pytest.raises(BadImage, match='the image "train/7" cannot be read'):
        decode_image(b"no picture", name="train/7")


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
