"""Conversion of names to text that is safe to print."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence

_NOT_OF_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def plain_text(name: str) -> str:
    """Returns a class or file name as one line without control sequences.

    Control characters, line breaks, marks of writing direction, bytes that are not valid text and
    what XML cannot hold become U+FFFD. The joiners of Persian and Indic words stay.
    """
    text = "".join(
        "\ufffd"
        if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in "\u200c\u200d"
        else c
        for c in name
    )
    return xml_text(text)


def xml_text(text: str) -> str:
    """Returns a text with U+FFFD for each character that XML cannot hold."""
    return _NOT_OF_XML.sub("\ufffd", text)


def as_text(data: bytes) -> str:
    """Decodes what `as_bytes` encoded."""
    return data.decode("utf-8", "surrogateescape")


def as_bytes(name: str) -> bytes:
    """Encodes in UTF-8; bytes of a file name that are not valid text stay unchanged."""
    return name.encode("utf-8", "surrogateescape")


def csv_text(
    header: Sequence[str], rows: Iterable[Sequence[str | int]], delimiter: str = ","
) -> str:
    """Formats a table as CSV of plain texts that no spreadsheet evaluates as a formula.

    As in spreadsheets themselves, an apostrophe before the first character prevents that (OWASP,
    CSV Injection).
    """
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(
        [_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in (header, *rows)
    )
    return file.getvalue()


def _cell(text: str) -> str:
    """Escapes a cell, also after semicolons: the separator where decimals have a comma."""
    return re.sub(r"(^|;)(?=\s*[=+\-@＝＋－＠])", r"\1'", plain_text(text))
