"""Checks of the parts in which several machines predict one collection."""

from array import array
from collections.abc import Sequence
from pathlib import Path

from dkse_jax.errors import UserError
from dkse_jax.prediction.state import Part


def check_part(out: Path, parts: Sequence[Part]) -> None:
    """Raises UserError unless all parts are of one number of parts."""
    counts = sorted({count for _, count in parts})
    if len(counts) > 1:
        raise UserError(
            f"--out={out} has parts of {counts[0]} and of {counts[1]}; go on with the number of"
            " parts that it was begun with, or name a new folder"
        )


def check_whole(out: Path, indices: array, begun: Sequence[Part]) -> None:
    """Checks that every file has a row, so that parts can be merged.

    Args:
        out: the folder of predictions.
        indices: of each file's row, -1 of a file without one.
        begun: the parts that have begun.

    Raises:
        UserError: each part that lacks rows is named.
    """
    count = begun[0][1]
    lacking = [sum(index < 0 for index in indices[part::count]) for part in range(count)]
    mistakes = [
        f"part {number} of {count} "
        + (f"lacks {missing} files" if (number, count) in begun else "has not begun")
        for number, missing in enumerate(lacking, start=1)
        if missing
    ]
    if mistakes:
        remedy = f"run each with --part=I/{count}, and then this command again"
        raise UserError(f"--out={out} cannot be merged yet: {', '.join(mistakes)}; {remedy}")
