"""Markdown that is readable as plain text too, with all names escaped."""

import re
from collections.abc import Collection, Iterable, Sequence

from dkse_jax.text import plain_text


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Collection[int] = ()
) -> str:
    """Formats a table of escaped cells; columns whose index is in `numbers` are right-aligned."""
    header, *rows = [[_escaped(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    # The rule of a number's column is a colon after at least one dash.
    widths = [max(width, 1 + (i in numbers)) for i, width in enumerate(widths)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            f"{cell:>{width}}" if column in numbers else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    rule = [
        f"{'-' * (width - 1)}:" if column in numbers else "-" * width
        for column, width in enumerate(widths)
    ]
    return "\n".join([line(header), line(rule), *map(line, rows)])


def code(text: str) -> str:
    """Formats a line of code, between more backquotes than it has in a row."""
    text = plain_text(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}"


def _escaped(cell: str) -> str:
    """Returns plain text with a backslash before what would end a cell or begin markup."""
    return re.sub(r"[\\|<\[`*]|&(?=#?\w+;)", r"\\\g<0>", plain_text(cell))
