"""File formats of images: how each is recognised by its content, and which module reads it."""

import dataclasses
import importlib
import re

from PIL import Image, UnidentifiedImageError

from dkse_jax.data.formats.limits import MAX_PIXELS, MEGAPIXELS, TooManyPixels

NEEDS_MUSEUM = "needs the extra museum: pip install 'dkse_jax[museum]'"


@dataclasses.dataclass(frozen=True, slots=True)
class Format:
    """A file format of images.

    Attributes:
        name: for sentences, such as "a JPEG".
        suffixes: of its files, in lower case; files of other suffixes are not listed.
        magic: matches the first bytes of its files.
        reader: the module of this package that opens its files; "" where none does.
        extra: whether the reader needs the packages of the extra `museum`.
    """

    name: str
    suffixes: tuple[str, ...]
    magic: re.Pattern[bytes]
    reader: str
    extra: bool = False


@dataclasses.dataclass(slots=True)
class Opened:
    """An image that is opened, and of which at most MAX_PIXELS are decoded.

    Attributes:
        image: a PIL image, perhaps not loaded yet; info["icc_profile"] holds an embedded profile.
        size: stored width and height in pixels, before any reduction; before the turn of an EXIF
            orientation that `image` still has.
        pictures: number of pictures in the file.
        remarks: what a user should know of how it was read.
    """

    image: Image.Image
    size: tuple[int, int]
    pictures: int = 1
    remarks: list[str] = dataclasses.field(default_factory=list)


def _format(
    name: str, suffixes: str, magic: bytes, reader: str = "", extra: bool = False
) -> Format:
    return Format(name, tuple(suffixes.split()), re.compile(magic, re.DOTALL), reader, extra)


# Most raw files of cameras are TIFFs by their first bytes; the reader of TIFF finds those.
_RAW = """.dng .nef .nrw .cr2 .cr3 .arw .srf .sr2 .orf .rw2 .rwl .raf .pef .srw .3fr .fff .iiq .mef
    .mos .erf .kdc .dcr"""
_RAW_MAGIC = rb"II\*\0....CR\x02|....ftypcrx |FUJIFILMCCD-RAW|IIU\0|IIR[OS]|MMOR"
_AVIF_MAGIC = rb"....ftyp(?:avi[fs]|mi[fa][1f].{4}(?:.{4}){,9}?avif)"
_HEIC_MAGIC = rb"....ftyp(?:hei[cmsx]|hev[cmsx]|mi[fa][12f]|msf1)"

# The first that matches counts. Those without a reader are here to be named.
FORMATS = (
    _format("a JPEG", ".jpg .jpeg .jpe .jfif", rb"\xff\xd8\xff", "jpeg"),
    _format("a PNG", ".png", rb"\x89PNG\r\n\x1a\n", "png"),
    _format("a WebP image", ".webp", rb"RIFF....WEBP", "pillow"),
    _format("a GIF", ".gif", rb"GIF8[79]a", "pillow"),
    _format("a BMP", ".bmp", rb"BM", "pillow"),
    _format("a RAW image", _RAW, _RAW_MAGIC, "raw", extra=True),
    _format("a TIFF", ".tif .tiff", rb"II[*+]\0|MM\0[*+]", "tiff"),
    _format("a PSD", ".psd .psb", rb"8BPS\0[\1\2]", "psd"),
    _format("an AVIF image", ".avif", _AVIF_MAGIC, "avif"),
    _format("a HEIC image", ".heic .heif .hif", _HEIC_MAGIC, "heif", extra=True),
    _format(
        "a JPEG 2000 image",
        ".jp2 .j2k .jpf .jpx .jpc .j2c",
        rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
        "jpeg2000",
    ),
    _format("a JPEG XL image", ".jxl", rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"),
    _format("a JPEG XR image", ".jxr .wdp .hdp", rb"II\xbc"),
    _format("an OpenEXR image", ".exr", rb"\x76\x2f\x31\x01"),
    _format("a Radiance HDR image", ".hdr", rb"#\?R"),
    _format("a PNM image", ".pnm .pbm .pgm .ppm .pam .pfm", rb"P[1-7Ff][\s#]"),
    _format("a GIMP file", ".xcf", rb"gimp xcf"),
    _format("a DjVu document", ".djvu .djv", rb"AT&TFORM"),
    _format("a DICOM image", ".dcm .dicom", rb".{128}DICM"),
    _format("a FITS image", ".fits .fit", rb"SIMPLE  ="),
    _format("an icon (ICO)", ".ico .cur", rb"\0\0[\x01\x02]\0[^\0]"),
    _format("a PostScript file (EPS)", ".eps .ps .ai", rb"%!PS|\xc5\xd0\xd3\xc6"),
    _format("an SVG drawing", ".svg", rb"[^<]{0,9}(<[?!][^>]*>\s*)*<svg[\s>]"),
    _format("a web page (HTML)", "", rb"(?i)[^<]{0,9}(<!doctype html|<html|<head)"),
    _format("a ZIP archive", "", rb"PK\x03\x04"),
    _format("a gzip archive", "", rb"\x1f\x8b"),
    _format("a RAR archive", "", rb"Rar!\x1a\x07"),
    _format("a video (MP4 or MOV)", "", rb"....(ftyp|moov|mdat|wide)"),
    _format("a Git LFS pointer", "", rb"version https://git-lfs"),
    _format("a file of macOS about another file", "", rb"\0\x05\x16\x07"),
    _format("a PDF", ".pdf", rb".{0,1019}?%PDF-", "pdf", extra=True),
)
SUFFIXES = frozenset(suffix for one in FORMATS if one.reader for suffix in one.suffixes)


def identify(content: bytes) -> Format | None:
    """Returns the format of a file's content; None if it is unknown."""
    return next((one for one in FORMATS if one.magic.match(content)), None)


def open_picture(content: bytes, min_side: int | None, page: int) -> Opened:
    """Opens a picture, as much smaller as its format allows cheaply.

    Args:
        content: of the file.
        min_side: the shorter side keeps at least this many pixels, if it has them; None for the
            original size.
        page: the number of the picture in its file, from 1.

    Raises:
        ValueError: the reason why it cannot be read, in words for a user; libraries raise others.
    """
    found = identify(content)
    if found is None:
        names = ", ".join(
            one.name.split(maxsplit=1)[1].removesuffix(" image") for one in FORMATS if one.reader
        )
        raise ValueError(f"it is not a {names} image")
    if not found.reader:
        remedy = "which is not read: convert it to TIFF, PNG or JPEG"
        raise ValueError(f"it is {found.name}, {remedy if found.suffixes else 'no image'}")
    reader = importlib.import_module(f"{__name__}.{found.reader}")
    try:
        return reader.open_picture(content, min_side, page)
    except ImportError as error:
        raise ValueError(f"it is {found.name}, which {NEEDS_MUSEUM}") from error
    except TooManyPixels as error:
        width, height = error.size
        raise ValueError(
            f"it is {found.name} of {width:,} x {height:,} pixels, of which all would be decoded, "
            f"and more than {MAX_PIXELS:,} are not: reduce it below {MEGAPIXELS} megapixels"
        ) from error
    except (SyntaxError, UnidentifiedImageError) as error:  # of Pillow's plugins
        raise ValueError(f"it is {found.name} of a kind that cannot be read") from error


def check_page(page: int, pictures: int) -> None:
    """Raises ValueError for a picture that a file of that many pictures does not have."""
    if not 1 <= page <= pictures:
        count = "one picture" if pictures == 1 else f"{pictures} pictures"
        raise ValueError(f"it has {count}, and no number {page}")
