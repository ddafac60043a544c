"""WebP, AVIF, GIF, BMP, PSD, PDF; what is named for something else, and what is no picture."""

import functools
import gzip
import io
import itertools
import zipfile

import imagecodecs
import numpy as np
import pyvips
from PIL import Image

from tests.data.images import UPRIGHT
from tests.data.museum_files import HEIC_TURNED, HEIC_TWO, dng, drawn_pdf, pdf_of, planes_of, psd
from tests.data.odd import Odd, bytes_of, case, inks_of, of_inks, on_white, picture, slope
from tests.data.odd.jpegs import pillow


def with_alpha(rng):
    deep = picture(rng)
    pixels, alpha = bytes_of(deep), slope(deep) >> 8
    image = Image.fromarray(np.concatenate([pixels, alpha[..., None].astype(np.uint8)], -1))
    return image, on_white(pixels, alpha / 255)


def rgb(file_format, options, bound, rng):
    pixels = bytes_of(picture(rng))
    return Odd(pillow(Image.fromarray(pixels), file_format, **options), pixels, bound)


def rgba(file_format, options, bound, rng):
    image, true = with_alpha(rng)
    return Odd(pillow(image, file_format, **options), true, bound)


def frames(file_format, options, bound, rng):
    pixels = bytes_of(picture(rng))
    others = [Image.fromarray(np.roll(pixels, by, 1)) for by in (9, 30)]
    more = {"save_all": True, "append_images": others} | options
    return Odd(pillow(Image.fromarray(pixels), file_format, **more), pixels, bound)


for _name, _make, _format, _options, _bound in (
    ("webp lossless", rgb, "WEBP", {"lossless": True}, 0),
    ("webp lossy", rgb, "WEBP", {"quality": 90}, 5),
    ("webp lossless alpha", rgba, "WEBP", {"lossless": True, "exact": True}, 1),
    ("webp lossy alpha", rgba, "WEBP", {"quality": 90}, 5),
    ("webp animated", frames, "WEBP", {"lossless": True}, 0),
    ("avif 4:4:4", rgb, "AVIF", {"quality": 90, "subsampling": "4:4:4"}, 3),
    ("avif 4:2:0", rgb, "AVIF", {"quality": 90, "subsampling": "4:2:0"}, 5),
    ("avif alpha", rgba, "AVIF", {"quality": 90}, 5),
    ("avif animated", frames, "AVIF", {"quality": 90}, 5),
    ("bmp", rgb, "BMP", {}, 0),
):
    case(_name)(functools.partial(_make, _format, _options, _bound))


@case("bmp of 32 bits")
def bmp_of_32_bits(rng):
    image, _ = with_alpha(rng)  # the fourth byte is reserved
    return Odd(pillow(image, "BMP"), np.asarray(image)[..., :3])


def avif_of_bits(bits, channels, rng):
    deep = picture(rng)
    stored = (deep >> (16 - bits))[..., :channels].squeeze()
    true = np.broadcast_to(bytes_of(deep)[..., :channels], deep.shape)
    content = imagecodecs.avif_encode(stored, 90, bitspersample=bits, speed=10)
    return Odd(content, true, 4)


for _bits, _channels in itertools.product((10, 12), (1, 3)):
    case(f"avif of {_channels} x {_bits} bits")(functools.partial(avif_of_bits, _bits, _channels))


def indexed(file_format, colours, options, rng):
    image = Image.fromarray(bytes_of(picture(rng))).quantize(colours)
    return Odd(pillow(image, file_format, **options), np.asarray(image.convert("RGB")))


for _format, _colours in itertools.product(("GIF", "BMP", "TIFF", "PNG"), (2, 16, 200)):
    case(f"{_format.lower()} of {_colours} colours")(
        functools.partial(indexed, _format, _colours, {})
    )


@case("gif interlaced")
def gif_interlaced(rng):
    return indexed("GIF", 64, {"interlace": 1}, rng)


@case("gif with a transparent colour")
def gif_transparent(rng):
    image = Image.fromarray(bytes_of(picture(rng))).quantize(32)
    indices = np.asarray(image)
    true = np.asarray(image.convert("RGB"))
    true = np.where((indices == indices[40, 40])[..., None], 255, true).astype(np.uint8)
    return Odd(pillow(image, "GIF", transparency=int(indices[40, 40])), true)


@case("gif animated")
def gif_animated(rng):
    image = Image.fromarray(bytes_of(picture(rng))).quantize(64)
    other = image.transpose(Image.Transpose.ROTATE_180)
    content = pillow(image, "GIF", save_all=True, append_images=[other])
    return Odd(content, np.asarray(image.convert("RGB")))


@case("gif by libvips")
def gif_by_libvips(rng):
    pixels = bytes_of(picture(rng))
    return Odd(pyvips.Image.new_from_array(pixels).gifsave_buffer(dither=0), pixels, 8)


def bilevel(file_format, rng):
    pixels = picture(rng)[..., 0] > 30_000
    content = pillow(Image.fromarray(pixels), file_format)
    return Odd(content, np.repeat(pixels[..., None] * np.uint8(255), 3, -1))


for _format in ("BMP", "PNG", "TIFF", "GIF"):
    case(f"{_format.lower()} bilevel")(functools.partial(bilevel, _format))


def photoshop(mode, bits, version, compression, mask, rng):
    deep = picture(rng)
    pixels, true = bytes_of(deep), bytes_of(deep)
    if mode == "grey":
        pixels, true = pixels[..., :1], np.repeat(pixels[..., :1], 3, -1)
    elif mode == "cmyk":
        pixels, true = 255 - inks_of(deep), of_inks(inks_of(deep))
    if mask:
        pixels = np.concatenate([pixels, pixels[..., :1]], -1)
    number = {"grey": 1, "rgb": 3, "cmyk": 4}[mode]
    return Odd(psd(planes_of(pixels, bits), number, version, compression), true)


for _mode, (_bits, _version), _compression in itertools.product(
    ("grey", "rgb", "cmyk"), ((8, 1), (16, 1), (8, 2), (16, 2)), (0, 1)
):
    case(f"{'psd' if _version == 1 else 'psb'} {_mode} {_bits} {('raw', 'rle')[_compression]}")(
        functools.partial(photoshop, _mode, _bits, _version, _compression, False)
    )
for _bits in (8, 16):
    case(f"psd with a mask {_bits}")(functools.partial(photoshop, "rgb", _bits, 1, 1, True))


def scan(page, resolution, rng):
    pages = [bytes_of(picture(rng)) for _ in range(3)]
    return Odd(pdf_of(*pages, resolution=resolution), pages[page - 1], 4, page=page)


for _page, _resolution in itertools.product((1, 3), (40, 300, 611)):
    case(f"pdf page {_page} of {_resolution} dpi")(functools.partial(scan, _page, _resolution))


@case("pdf page 4 of 3")
def no_such_page(rng):
    content = pdf_of(*(bytes_of(picture(rng)) for _ in range(3)))
    return Odd(content, sentence="it has 3 pictures, and no number 4", page=4)


@case("pdf drawn")
def drawing(rng):
    true = np.full((500, 1000, 3), 255, np.uint8)
    true[:, :500] = 255, 0, 0
    return Odd(drawn_pdf(), true, 1)


def gradient():
    y, x = np.mgrid[0:1:48j, 0:1:80j]
    return np.stack([255 * x, 255 * y, 255 * (1 - x) * (1 - y)], -1).astype(np.uint8)


for _name, _content, _true, _page in (
    ("primary picture", HEIC_TWO, gradient(), 1),
    ("second picture", HEIC_TWO, gradient()[::-1], 2),
    ("turned", HEIC_TURNED, np.rot90(gradient(), -1), 1),
):
    case(f"heic {_name}")(lambda rng, c=_content, t=_true, p=_page: Odd(c, t, 1, page=p))


def mosaic(pattern, order, orientation, rng):
    pixels = bytes_of(picture(rng, 96))
    pixels = pixels[:, : pixels.shape[1] // 2 * 2]
    content = dng(pixels, pattern, orientation, order)
    return Odd(content, UPRIGHT[orientation](pixels), 4)


for (_name, _pattern), _order, _orientation in itertools.product(
    {"rggb": b"\0\1\1\2", "gbrg": b"\1\2\0\1"}.items(), "<>", (1, 6)
):
    case(f"dng {_name} {_order} orientation {_orientation}")(
        functools.partial(mosaic, _pattern, _order, _orientation)
    )


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.jpg", b"\xff\xd8\xff")
    return buffer.getvalue()


for _name, _content, _sentence in (
    ("nothing", b"", "it is (empty|not a JPEG)"),
    ("one byte", b"\xff", "it is not a JPEG"),
    ("text", b"no picture", "it is not a JPEG"),
    ("zeros", bytes(5000), "it is not a JPEG"),
    ("html", b"<!DOCTYPE html>\n<html><img src=a.png></html>", "it is a web page"),
    ("html after a byte order mark", b"\xef\xbb\xbf\r\n<html></html>", "it is a web page"),
    ("svg", b'<?xml version="1.0"?>\n<svg width="9"></svg>', "it is an SVG drawing"),
    ("zip", zipped(), "it is a ZIP archive"),
    ("gzip", gzip.compress(b"\xff\xd8\xff"), "it is a gzip archive"),
    ("eps", b"%!PS-Adobe-3.0 EPSF-3.0\n", "it is a PostScript file"),
    ("git lfs", b"version https://git-lfs.github.com/spec/v1\noid", "it is a Git LFS pointer"),
    ("apple double", b"\0\5\x16\7\0\2\0\0Mac OS X", "it is a file of macOS"),
    ("mp4", b"\0\0\0\x20ftypisom\0\0\2\0", "it is a video"),
    ("dicom", bytes(128) + b"DICM" + bytes(99), "it is a DICOM image"),
    ("raw without data", b"FUJIFILMCCD-RAW 0201" + bytes(300), "it is a RAW image that cannot"),
):
    case(f"no picture: {_name}")(lambda rng, c=_content, s=_sentence: Odd(c, sentence=s))


def unread(encode, sentence, rng):
    return Odd(encode(bytes_of(picture(rng))), sentence=sentence)


for _name, _encode, _sentence in (
    ("jpeg xl", lambda p: imagecodecs.jpegxl_encode(p), "it is a JPEG XL image"),
    ("jpeg xr", lambda p: imagecodecs.jpegxr_encode(p), "it is a JPEG XR image"),
    ("pnm", lambda p: pillow(Image.fromarray(p), "PPM"), "it is a PNM image"),
    ("icon", lambda p: pillow(Image.fromarray(p), "ICO"), "it is an icon"),
    ("qoi", lambda p: imagecodecs.qoi_encode(np.ascontiguousarray(p)), "it is not a JPEG"),
    ("tga", lambda p: pillow(Image.fromarray(p), "TGA"), "it is not a JPEG"),
):
    case(f"no reader: {_name}")(functools.partial(unread, _encode, _sentence))
