"""The pages of a TIFF: which are pictures, and what they hold."""

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import tifffile

MAX_PAGES = 10_000
_MAX_SUBPAGES = 100  # of one page
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
RAW = {32803: "raw data of a camera", 34892: "raw data of a camera"}  # photometric
_PHOTOMETRICS = {
    0: "grey, white is 0",
    1: "grey",
    2: "RGB",
    3: "palette",
    4: "mask",
    5: "CMYK",
    6: "YCbCr",
    8: "CIELab",
    9: "ICCLab",
    10: "ITULab",
    32844: "LogL",
    32845: "LogLuv",
}
COLOURS = {0: 1, 1: 1, 2: 3, 5: 4, 6: 3, 8: 3, 9: 3}  # number of samples by photometric
_COMPRESSIONS = {
    5: "LZW",
    8: "deflate",
    32773: "PackBits",
    32946: "deflate",
    34925: "LZMA",
    50000: "Zstandard",
    2: "CCITT",
    3: "CCITT",
    4: "CCITT",
    6: "old JPEG",
    7: "JPEG",
    22610: "JPEG XR",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34887: "LERC",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_ASSOCIATED, _UNASSOCIATED = 1, 2  # kinds of alpha
_NEW_SUBFILE_TYPE, _OLD_SUBFILE_TYPE = 254, 255


def find_pictures(file: "tifffile.TiffFile") -> list[list["tifffile.TiffPage"]]:
    """Returns the pictures of a file, each with its levels, the full size first.

    Of pages in a row with equal proportions and unlike sizes, that are marked as reduced or not
    marked at all, only the largest is a picture. A SubIFD that is larger than its page is the
    picture of that page. A file of previews alone has one picture.

    Raises:
        ValueError: it has no page, or more than MAX_PAGES.
    """
    if not 1 <= len(file.pages) <= MAX_PAGES:
        raise ValueError(f"it is a TIFF of {len(file.pages):,} pages")
    pictures: list[list[tifffile.TiffPage]] = []
    previews: list[tifffile.TiffPage] = []
    pages = cast(list["tifffile.TiffPage"], list(file.pages))
    for page in pages:
        if _type(page) & _MASK:
            continue
        if _type(page) & _REDUCED:
            joins = bool(pictures) and _alike(pictures[-1][0], page)
        else:
            joins = bool(pictures) and _is_level(pictures[-1][0], page)
        if joins:
            pictures[-1].append(page)
        elif _type(page) & _REDUCED:
            previews.append(page)
        else:
            pictures.append([page])
        for below in _subpages(page):
            if pictures and _alike(pictures[-1][0], below) and pictures[-1][0] not in previews:
                pictures[-1].append(below)
            elif _type(below) & _REDUCED:
                previews.append(below)
            elif _type(page) & _REDUCED:
                pictures.append([below])
            elif pictures[-1] == [page] and _pixels(below) > _pixels(page):
                pictures[-1] = [below]
        if pictures:
            pictures[-1].sort(key=_pixels, reverse=True)
    if not pictures:
        return [sorted(previews, key=_pixels, reverse=True)[:1] or pages[:1]]
    for levels in pictures:
        levels += [one for one in previews if _alike(levels[0], one) and one not in levels]
        levels.sort(key=_pixels, reverse=True)
    return pictures


def level_for(levels: list["tifffile.TiffPage"], min_side: int | None) -> "tifffile.TiffPage":
    """Returns the smallest level whose shorter side has min_side pixels, else the largest."""
    enough = [
        one
        for one in levels[1:]
        if min_side is not None
        and min(one.imagewidth, one.imagelength) >= min_side
        and one.samplesperpixel == levels[0].samplesperpixel
        and one.photometric == levels[0].photometric
    ]
    return min(enough, key=_pixels, default=levels[0])


def _type(page: "tifffile.TiffPage") -> int:
    new = page.tags.valueof(_NEW_SUBFILE_TYPE)
    if isinstance(new, int):
        return new
    return _REDUCED if page.tags.valueof(_OLD_SUBFILE_TYPE) == 2 else 0


def _is_level(picture: "tifffile.TiffPage", page: "tifffile.TiffPage") -> bool:
    """Returns whether two pages, neither marked by a tag, are levels of one picture."""
    unmarked = not any(_NEW_SUBFILE_TYPE in one.tags for one in (picture, page))
    return unmarked and _alike(picture, page)


def _alike(one: "tifffile.TiffPage", other: "tifffile.TiffPage") -> bool:
    """Returns whether the proportions are equal, within a pixel, and the sizes unlike."""
    small, large = sorted((one, other), key=_pixels)
    if 2 * large.imagewidth < 3 * small.imagewidth:  # sheets of paper differ by the root of 2
        return False
    height = large.imagelength * small.imagewidth / large.imagewidth
    width = large.imagewidth * small.imagelength / max(large.imagelength, 1)
    return abs(height - small.imagelength) <= 1 or abs(width - small.imagewidth) <= 1


def _pixels(page: "tifffile.TiffPage") -> int:
    return page.imagewidth * page.imagelength


def _subpages(page: "tifffile.TiffPage") -> list["tifffile.TiffPage"]:
    if not page.subifds or page.pages is None:
        return []
    below = cast(list["tifffile.TiffPage"], page.pages[:_MAX_SUBPAGES])
    return [one for one in below if not _type(one) & _MASK]


def describe(page: "tifffile.TiffPage") -> str:
    """Returns what a page is, such as "5 x 8 bits, CMYK + alpha, LZW"."""
    bits = page.bitspersample
    kind = {3: " of floating point", 2: " with sign"}.get(int(page.sampleformat), "")
    name = RAW.get(photometric(page)) or _PHOTOMETRICS.get(photometric(page), "unknown colours")
    if alpha_of(page):
        name += " + alpha"
    if page.is_subsampled:
        name += " " + ":".join(map(str, page.subsampling or ())) + " subsampled"
    count = f"{page.samplesperpixel} x " if page.samplesperpixel > 1 else ""
    packed = _COMPRESSIONS.get(int(page.compression), f"compression {int(page.compression)}")
    packed = "" if page.compression == 1 else f", {packed}"
    return f"{count}{bits} bits{kind}, {name}{packed}"


def is_raw(page: "tifffile.TiffPage") -> bool:
    """Returns whether a page is not developed yet."""
    return photometric(page) in RAW


def photometric(page: "tifffile.TiffPage") -> int:
    """Returns the number of a page's photometric interpretation; -1 without one."""
    return int(page.photometric) if page.photometric is not None else -1


def alpha_of(page: "tifffile.TiffPage") -> tuple[int, bool] | None:
    """Returns the index of the transparency, and whether the colours are multiplied by it."""
    colours = COLOURS.get(photometric(page), 1)
    extras = [int(extra) for extra in page.extrasamples]
    if not extras and page.samplesperpixel == 4 and colours == 3:
        extras = [_UNASSOCIATED]  # as Pillow takes it
    for place, extra in enumerate(extras, start=page.samplesperpixel - len(extras)):
        if extra in (_ASSOCIATED, _UNASSOCIATED):
            return place, extra == _ASSOCIATED
    return None
