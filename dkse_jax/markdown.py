"""Tables in Markdown that read well as plain text too."""

from collections.abc import Collection, Iterable, Sequence


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Collection[int] = ()
) -> str:
    """Aligned columns; those whose index is in `numbers` are right-aligned."""
    rows = [list(row) for row in rows]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

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
