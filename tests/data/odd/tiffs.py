"""TIFF: bits, colours, layouts, compressions, byte orders, pages, levels."""

import functools
import io
import itertools

import numpy as np
import tifffile
from PIL import Image

from tests.data.images import UPRIGHT
from tests.data.odd import (
    Odd,
    bytes_of,
    case,
    inks_of,
    lab_of,
    of_inks,
    on_white,
    picture,
    slope,
)


def encode(*pages, **options):
    """Encodes pages (pixels, options of that page)."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, **options) as writer:
        for pixels, of_page in pages:
            writer.write(pixels, **of_page)
    return buffer.getvalue()


def grey(bits, white_is_zero, rng):
    deep = picture(rng)[..., 0]
    stored = (deep >> (16 - bits)).astype(np.uint8 if bits <= 8 else np.uint16)
    top = 2**bits - 1
    true = stored >> 4 if bits == 12 else stored >> 8 if bits == 16 else stored * (255 // top)
    options = {"photometric": "minisblack"}
    if white_is_zero:
        stored, options = top - stored, {"photometric": "miniswhite"}
    if bits == 1:
        stored = stored.astype(bool)
    elif bits not in (8, 16):
        options["bitspersample"] = bits
    return stored, options, np.repeat(true.astype(np.uint8)[..., None], 3, -1), 0


def colours(bits, rng):
    deep = picture(rng)
    stored = (deep >> (16 - bits)).astype(np.uint8 if bits <= 8 else np.uint16)
    options = {"photometric": "rgb"} | ({} if bits in (8, 16) else {"bitspersample": bits})
    true = stored >> (bits - 8) if bits >= 8 else stored * (255 // (2**bits - 1))
    return stored, options, true.astype(np.uint8), 0.6


def transparent(bits, extra, channels, rng):
    deep = picture(rng)[..., :channels]
    alpha = slope(deep)
    share = alpha / 65_535
    true = bytes_of(deep)
    stored = deep
    if extra == "assocalpha":
        stored = np.round(deep * share[..., None]).astype(np.uint16)
    if extra != "unspecified":
        true = on_white(true, share)
    stored = np.concatenate([stored, alpha[..., None]], -1)
    stored = (stored >> 8).astype(np.uint8) if bits == 8 else stored
    kind = "rgb" if channels == 3 else "minisblack"
    return stored, {"photometric": kind, "extrasamples": [extra]}, true, 1.5


def palette(rng):
    indices = (picture(rng)[..., 0] >> 8).astype(np.uint8)
    table = rng.integers(0, 65_536, (3, 256)).astype(np.uint16)
    options = {"photometric": "palette", "colormap": table}
    return indices, options, (table >> 8).astype(np.uint8).T[indices], 0


def separated(bits, extra, rng):
    deep = picture(rng)
    stored, true, options = inks_of(deep), of_inks(inks_of(deep)), {"photometric": "separated"}
    if extra:
        spot = (slope(deep) >> 8).astype(np.uint8)
        stored = np.concatenate([stored, spot[..., None]], -1)
        options["extrasamples"] = [extra]
    if extra == "unassalpha":  # composed as inks, before these become colours
        true = of_inks((stored[..., :4] * (spot / 255)[..., None]).astype(np.uint8))
    return stored.astype(np.uint16) * 257 if bits == 16 else stored, options, true, 1


def cielab(bits, rng):
    deep = picture(rng)
    lab = lab_of(deep)
    if bits == 8:
        stored = np.round(lab * [2.55, 1, 1]).astype(int).astype(np.uint8)
    else:
        stored = np.round(lab * [655.35, 256, 256]).astype(int).astype(np.uint16)
    # Pillow converts 8 bits of a and b, in which dark colours are far apart.
    return stored, {"photometric": "cielab"}, bytes_of(deep), 3 if bits == 8 else 5


def numbers(dtype, channels, rng):
    pixels = picture(rng)[..., :channels].squeeze()
    pixels = pixels / 65_535 if np.dtype(dtype).kind == "f" else pixels
    options = {"photometric": "rgb" if channels == 3 else "minisblack"}
    return pixels.astype(dtype), options, None, "its .*pixels have no known white"


KINDS = {
    **{f"grey-{b}": functools.partial(grey, b, False) for b in (1, 2, 4, 8, 12, 16)},
    **{f"white-is-zero-{b}": functools.partial(grey, b, True) for b in (1, 4, 8, 16)},
    **{f"rgb-{b}": functools.partial(colours, b) for b in (8, 16)},
    **{
        f"{name}-{extra}-{bits}": functools.partial(transparent, bits, extra, channels)
        for name, channels in (("rgb", 3), ("grey", 1))
        for extra in ("unassalpha", "assocalpha", "unspecified")
        for bits in (8, 16)
    },
    "palette": palette,
    **{
        f"cmyk-{extra}-{bits}": functools.partial(separated, bits, extra)
        for extra in ("", "unspecified", "unassalpha")
        for bits in (8, 16)
    },
    **{f"cielab-{bits}": functools.partial(cielab, bits) for bits in (8, 16)},
}
# Another layout, that changes no pixel, for each try of a kind.
COMPRESSIONS = (None, "lzw", "deflate", "packbits", "lzma", "zstd")
SHAPES = ({}, {"rowsperstrip": 7}, {"tile": (32, 16)}, {"tile": (48, 64)})


def layout(kind, pixels, number, rng):
    """Draws options of the page and of the file, and the turn of an orientation."""
    page = dict(SHAPES[rng.integers(len(SHAPES))])
    # The first try of a kind is not compressed, which is where readers differ most.
    compression = COMPRESSIONS[rng.integers(len(COMPRESSIONS))] if number else None
    order = "<>"[rng.integers(2)]
    if kind in ("grey-2", "grey-4", "grey-12", "white-is-zero-4"):
        compression, order = None, "<"  # tifffile packs others wrong, or not at all
    elif pixels.dtype != bool and compression in ("lzw", "deflate", "zstd") and rng.random() < 0.5:
        page["predictor"] = True
    if compression:
        page["compression"] = compression
    if pixels.ndim == 3:
        planar = number == 1 or rng.random() < 0.3
        page["planarconfig"] = "separate" if planar else "contig"
    orientation = int(rng.integers(1, 9)) if rng.random() < 0.4 else 1
    page["extratags"] = [(274, 3, 1, orientation, True)]
    return page, {"byteorder": order, "bigtiff": bool(rng.random() < 0.2)}, UPRIGHT[orientation]


def combination(kind, number, rng):
    pixels, options, true, bound = KINDS[kind](rng)
    page, file, turn = layout(kind, pixels, number, rng)
    if page.get("planarconfig") == "separate":
        pixels = np.moveaxis(pixels, -1, 0)
    return Odd(encode((pixels, options | page), **file), turn(true), bound)


for _kind, _number in itertools.product(KINDS, range(4)):
    case(f"tiff {_kind} {_number}")(functools.partial(combination, _kind, _number))


def odd_bits(bits, big, rng):
    pixels, options, true, bound = colours(bits, rng)
    return Odd(encode((pixels, options), bigtiff=big), true, bound)


for _bits, _big in itertools.product((4, 10, 12), (False, True)):
    case(f"{'bigtiff' if _big else 'tiff'} rgb of {_bits} bits")(
        functools.partial(odd_bits, _bits, _big)
    )


def no_white(dtype, channels, rng):
    pixels, options, _, sentence = numbers(dtype, channels, rng)
    return Odd(encode((pixels, options)), sentence=sentence)


for _dtype, _channels in itertools.product(("f2", "f4", "f8", "u4", "i4"), (1, 3)):
    case(f"tiff {_dtype} x {_channels}")(functools.partial(no_white, _dtype, _channels))


def compressed(kind, compression, bound, rng):
    pixels, options, true, _ = KINDS[kind](rng)
    content = encode((pixels, options | {"compression": compression}))
    if bound is None:
        return Odd(content, sentence="it is a TIFF of")
    return Odd(content, true, bound)


for _kind, _compression, _bound in (
    ("grey-8", "jpeg", 3),
    ("rgb-8", "jpeg", 3),
    ("cmyk--8", "jpeg", 4),
    ("rgb-8", "webp", 3),
    ("rgb-8", "jpeg2000", None),
    ("rgb-16", "jpeg2000", None),
    ("rgb-8", "jpegxl", None),
    ("rgb-8", "jpegxr", None),
    ("rgb-8", "png", None),
):
    case(f"tiff {_kind} by {_compression}")(
        functools.partial(compressed, _kind, _compression, _bound)
    )


def fax(compression, rng):
    pixels = picture(rng)[..., 0] > 30_000
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "TIFF", compression=compression)
    true = np.repeat(pixels[..., None] * np.uint8(255), 3, -1)
    return Odd(buffer.getvalue(), true)


for _compression in ("group3", "group4", "tiff_ccitt"):
    case(f"tiff {_compression}")(functools.partial(fax, _compression))


RGB = {"photometric": "rgb"}


def preview_first(dtype, sub, tagged, rng):
    deep = picture(rng)
    full = deep if dtype == "u2" else bytes_of(deep)
    small = bytes_of(deep)[::4, ::4]
    mark = {"subfiletype": 1} if tagged else {}
    pages = [(small, RGB | mark | ({"subifds": 1} if sub else {})), (full, RGB)]
    return Odd(encode(*pages), bytes_of(deep))


for _dtype, _sub in itertools.product(("u1", "u2"), (True, False)):
    case(f"tiff preview first {_dtype} {'SubIFD' if _sub else 'page'}")(
        functools.partial(preview_first, _dtype, _sub, True)
    )


def pyramid(order, sub, rng):
    deep = picture(rng, 96)
    deep = deep[:, : deep.shape[1] // 8 * 8]
    true = bytes_of(deep)
    levels = [true] + [np.asarray(Image.fromarray(true).reduce(factor)) for factor in (2, 4, 8)]
    tiles = {"tile": (16, 16)}
    pages = []
    for number, level in enumerate(levels[::order]):
        reduced = level is not levels[0]
        below = {"subifds": 3} if sub and not number else {}
        pages.append((level, RGB | tiles | below | {"subfiletype": int(reduced)}))
    return Odd(encode(*pages), true)


case("tiff pyramid of pages")(functools.partial(pyramid, 1, False))
case("tiff ascending pyramid of pages")(functools.partial(pyramid, -1, False))
case("tiff pyramid of SubIFDs")(functools.partial(pyramid, 1, True))


def book(page, rng):
    pages = [bytes_of(picture(rng)) for _ in range(3)]
    return Odd(encode(*((one, RGB) for one in pages)), pages[page - 1], page=page)


for _page in (1, 2, 3):
    case(f"tiff page {_page} of 3")(functools.partial(book, _page))


@case("tiff page 4 of 3")
def no_such_page(rng):
    pages = [bytes_of(picture(rng)) for _ in range(3)]
    sentence = "it has 3 pictures, and no number 4"
    return Odd(encode(*((one, RGB) for one in pages)), sentence=sentence, page=4)
