"""Names as text that is safe to show."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence


def plain_text(name: str) -> str:
    """A class or file name that is safe to show: one line that steers no terminal.

    Control characters, line breaks, marks that change the direction of writing, and bytes of a
    file name that are no text become U+FFFD. The joiners that spell Persian and Indic words stay.
    """
    return "".join(
        "\ufffd"
        if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in "\u200c\u200d"
        else c
        for c in name
    )


def csv_text(header: Sequence[str], rows: Iterable[Sequence[str | int]]) -> str:
    """A table as CSV: its texts are plain, and no spreadsheet takes one for a formula.

    An apostrophe before the first character prevents that (OWASP, CSV Injection), as in a
    spreadsheet itself.
    """
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(
        [_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in (header, *rows)
    )
    return file.getvalue()


def _cell(text: str) -> str:
    """Where a comma divides whole numbers from tenths, a spreadsheet ends cells at semicolons."""
    return re.sub(r"(^|;)(?=\s*[=+\-@＝＋－＠])", r"\1'", plain_text(text))
