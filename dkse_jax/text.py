"""Text from elsewhere, made safe to show."""

import unicodedata


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
