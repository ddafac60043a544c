"""Names of classes, splits and groups as people write them."""

import os
import posixpath
import re
import unicodedata
from collections.abc import Iterable

from dkse_jax.data.formats import SUFFIXES
from dkse_jax.data.splits import Report
from dkse_jax.errors import refuse

# Soft hyphens, zero-width spaces, marks of writing direction, fillers and selectors of a glyph. The
# joiners of Persian and Indic words are no mistake inside a name.
_INVISIBLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    r"\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0100-\U000e01ef]"
)
_PAGE = re.compile(r"(.+(\.\w+))#([1-9][0-9]*)", re.DOTALL)
_BETWEEN = re.compile(r"[ _\-\u2010-\u2015]+")  # words
_NUMBER = re.compile(r"0*([0-9]+)(\.0+)?")
_ENDS = re.compile(r"^[\s\u200c\u200d]+|[\s\u200c\u200d]+$")


def nfc(name: str) -> str:
    """Returns a name in Unicode NFC, since a copy from macOS spells the same name differently."""
    return unicodedata.normalize("NFC", name)


def clean(name: str) -> str:
    """Returns a name in NFC, without spaces at its ends and without invisible characters."""
    if name.isascii():
        return name.strip()
    return nfc(_ENDS.sub("", _INVISIBLE.sub("", name)))


def split_page(name: str) -> tuple[str, int]:
    """Returns the file and the page of an id such as "scan.tif#2"; page 1 of any other id."""
    found = _PAGE.fullmatch(name) if "#" in name else None  # mostly there is none
    if found is None or found[2].lower() not in SUFFIXES:
        return name, 1
    return found[1], int(found[3])


def page_of(name: str, path: str) -> int:
    """Returns the page that an id means of a file, whose own name may end as a page does."""
    file, page = split_page(name)
    return 1 if file == name or nfc(os.path.basename(path)) == posixpath.basename(name) else page


def check_alike(kind: str, names: Iterable[str], where: str, report: Report = refuse) -> None:
    """Reports each two names that differ only in case, runs of spaces or final dots.

    Args:
        kind: what the names are of, such as "classes".
        names: results of `clean`.
        where: the data that have the names, for the sentence.
        report: receives a sentence about each name that is like an earlier one.
    """
    first: dict[str, tuple[int, str]] = {}
    for place, name in enumerate(names):
        other_place, other = first.setdefault(_key(name), (place, name))
        if other_place != place:
            report(
                f'the {kind} "{other}" and "{name}" of {where} differ only in case, spaces or a '
                "final dot: give both one name, or names that differ in more"
            )


def spelt_alike(kind: str, names: Iterable[str]) -> list[str]:
    """Returns a sentence about each name that may be an earlier one in another spelling.

    Such are 1, 01 and 1.0; or oil painting and oil_painting. Names that `check_alike` reports are
    left out.

    Args:
        kind: what the names are of, such as "classes".
        names: results of `clean`.
    """
    first: dict[str, str] = {}
    found = []
    for name in names:
        spelling = _BETWEEN.sub(" ", unicodedata.normalize("NFKC", _key(name)))
        number = _NUMBER.fullmatch(spelling)
        other = first.setdefault(number[1] if number else spelling, name)
        if _key(other) != _key(name):
            found.append(
                f'the {kind} "{other}" and "{name}" look like one in two spellings: if they are, '
                "give both one name"
            )
    return found


def _key(name: str) -> str:
    return " ".join(name.split()).rstrip(". ").lower()
