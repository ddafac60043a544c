"""A table of runs as CSV, Markdown and a plot, beside the paper's cells."""

import csv
import io
import math
import shlex
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from dkse_jax.console import duration
from dkse_jax.evaluation.metrics import caution
from dkse_jax.experiments.compare import Difference
from dkse_jax.experiments.published import Cells
from dkse_jax.experiments.tables import Row
from dkse_jax.files import write_atomically
from dkse_jax.markdown import code, table

COLUMNS = (
    "row",
    "seed",
    "parameters",
    "macs",
    "minutes",
    "milliseconds",
    "n",
    "classes",
    "accuracy",
    "interval95",
)
HEADER = (
    "row",
    "parameters",
    "GMACs",
    "training, min",
    "ms an image",
    "test accuracy",
    "of seeds",
    "less the first row",
    "verdict",
)
PUBLISHED_HEADER = ("paper: accuracy", "paper: min")


class Line(NamedTuple):
    """One row of a table: the records of its finished runs by seed, and its difference.

    The difference is None for the first row, and where no pair of runs is finished.
    """

    row: Row
    records: dict[int, dict[str, Any]]
    difference: Difference | None
    seconds: float | None  # estimate for all seeds; None of a row that cannot be run


def write(folder: Path, name: str, command: str, lines: Sequence[Line]) -> str:
    """Writes name.csv, name.md and name.png into the folder; returns the Markdown."""
    text = as_markdown(command, lines)
    write_atomically(folder / f"{name}.csv", as_csv(lines))
    write_atomically(folder / f"{name}.md", text)
    finished = [line for line in lines if line.records]
    if finished:
        plot(folder / f"{name}.png", finished)
    return text


def as_csv(lines: Sequence[Line]) -> str:
    """Formats one line for each finished run; minutes are empty if it was interrupted."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in lines:
        for seed, record in sorted(line.records.items()):
            ends = record["interval95"] or ()  # none of too few groups
            cells = {"row": line.row.name, "seed": seed} | record
            cells |= {"interval95": " ".join(f"{end:.4f}" for end in ends)}
            writer.writerow(["" if cells[key] is None else cells[key] for key in COLUMNS])
    return file.getvalue()


def as_markdown(command: str, lines: Sequence[Line]) -> str:
    """Formats the command, a table of the rows, and how to run the missing ones."""
    published = any(line.row.published for line in lines)
    header = HEADER + (PUBLISHED_HEADER if published else ())
    rows = []
    for line in lines:
        cells = (
            _measured(line) if line.records else (line.row.name, *[""] * 4, "not run", *[""] * 3)
        )
        if published:
            cells += _printed(line.row.published)
        rows.append(cells)
    parts = [code(command), table(header, rows, numbers=(1, 2, 3, 4, 6))]
    fewest = min((line.difference.groups for line in lines if line.difference), default=None)
    if fewest is not None and (sentence := caution(fewest, "test")):
        parts.append(sentence)
    missing = [
        f"- {code(f'--rows={shlex.quote(line.row.name)}')}"
        + (f", about {duration(line.seconds)}" if line.seconds is not None else "")
        for line in lines
        if not line.records
    ]
    if missing:
        parts.append("Not run, and what to add to the command to run it:\n\n" + "\n".join(missing))
    return "\n\n".join(parts) + "\n"


def _printed(published: Cells | None) -> tuple[str, str]:
    return (published.accuracy, published.minutes) if published else ("", "")


def _measured(line: Line) -> tuple[str, ...]:
    records = [line.records[seed] for seed in sorted(line.records)]
    first = records[0]
    minutes = [record["minutes"] for record in records if record["minutes"] is not None]
    accuracies = [record["accuracy"] for record in records]
    shown = f"{100 * statistics.mean(accuracies):.1f}"
    if len(accuracies) > 1:
        shown += f" ± {100 * statistics.stdev(accuracies):.1f}"
    gap, verdict = "", ""
    if line.difference:
        mean, low, high, _ = line.difference
        gap, verdict = f"{100 * mean:+.1f}", line.difference.verdict
        if not math.isnan(low):
            gap += f" ({100 * low:+.1f} to {100 * high:+.1f})"
    return (
        line.row.name,
        "" if first["parameters"] is None else f"{first['parameters']:,}",
        "" if first["macs"] is None else f"{first['macs'] / 1e9:.3f}",
        f"{statistics.mean(minutes):.1f}" if minutes else "interrupted",
        f"{statistics.median(record['milliseconds'] for record in records):.1f}",
        shown,
        str(len(records)),
        gap,
        verdict,
    )


def plot(path: Path, lines: Sequence[Line]) -> None:
    """Plots the rows' accuracies, a dot for each seed and a bar at their mean, as a PNG."""
    figure = Figure(figsize=(7, 1 + 0.34 * len(lines)), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for y, line in enumerate(lines):
        accuracies = [100 * record["accuracy"] for record in line.records.values()]
        axes.plot(accuracies, [y] * len(accuracies), "o", color="#1f5a94", alpha=0.6)
        axes.plot([statistics.mean(accuracies)], [y], "|", color="#222222", markersize=18)
    axes.set_yticks(range(len(lines)), [line.row.name for line in lines])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlabel("test accuracy, %: a dot for each seed, a bar at the mean")
    axes.grid(axis="x", color="#e4e4e4")
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(left=False)
    figure.savefig(path, format="png")
