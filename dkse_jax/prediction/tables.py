"""The table of predictions: its columns, and the formats that are written row by row.

Columns: file, status (ok or failed), class, p (of that class), p_<class> for each class, known
(yes, no or empty), prediction_set (names with a bar between them), and note (remarks, or why a file
failed). A cell without a value is empty.
"""

import json
from collections.abc import Callable, Sequence

from dkse_jax.prediction.row import DECIMALS, Row
from dkse_jax.text import csv_text, plain_text

Cell = str | float | None
BETWEEN = "|"  # the names of a prediction set


def columns(class_names: Sequence[str]) -> list[str]:
    """Returns the names of the columns: those of the numbers are `numbers`."""
    of_classes = [f"p_{name}" for name in class_names]
    return ["file", "status", "class", "p", *of_classes, "known", "prediction_set", "note"]


def numbers(class_names: Sequence[str]) -> range:
    """Returns the places of the columns that have probabilities."""
    return range(3, 4 + len(class_names))


def cells(row: Row, class_names: Sequence[str]) -> list[Cell]:
    """Returns a row's cells: plain texts of one line, floats, and None where there is no value."""
    p = row.probabilities
    values: list[Cell] = [max(p), *p] if p else [None] * (1 + len(class_names))
    texts = row.known, BETWEEN.join(row.prediction_set), row.note
    first = row.file, row.status, row.class_name
    return [*map(_text, first), *values, *map(_text, texts)]


def csv_line(values: Sequence[Cell], *, decimal_comma: bool = False) -> str:
    """Formats cells as a line of CSV; with a decimal comma, semicolons are between them.

    A first cell that begins with "#" is quoted: readers would take the line for a comment.
    """
    delimiter = ";" if decimal_comma else ","
    texts = [_number(value) if isinstance(value, float) else value or "" for value in values]
    if decimal_comma:
        pairs = zip(texts, values, strict=True)
        texts = [t.replace(".", ",") if isinstance(v, float) else t for t, v in pairs]
    line = csv_text(texts, (), delimiter)
    if not line.startswith("#"):
        return line
    first, between, rest = line.partition(delimiter)
    return f'"{first}"{between}{rest}'


def json_line(values: Sequence[Cell], names: Sequence[str]) -> str:
    """Formats cells as a line of JSON Lines, in UTF-8."""
    return json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False) + "\n"


def line_maker(
    suffix: str, class_names: Sequence[str], decimal_comma: bool
) -> tuple[str, Callable[[Row], str]]:
    """Returns the head of a file of the format csv or jsonl, and what makes a row's line."""
    names = [plain_text(name) for name in columns(class_names)]
    if suffix == "jsonl":
        return "", lambda row: json_line(cells(row, class_names), names)
    head = csv_line(names, decimal_comma=decimal_comma)
    return head, lambda row: csv_line(cells(row, class_names), decimal_comma=decimal_comma)


def _text(text: str) -> str | None:
    return plain_text(text) or None


def _number(value: float) -> str:
    return f"{value:.{DECIMALS}f}"
