"""The table of faults, with a verdict for each row, from the reports of the tests."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import cpu_model, usable_cores
from dkse_jax import markdown

FILE = Path(__file__).parents[2] / "results" / "faults.md"


class Outcome(NamedTuple):
    """One test of a row."""

    row: str  # such as F4
    what: str
    outcome: str  # passed, failed or skipped
    saboteur: bool  # whether it plants a defect that must be noticed
    seconds: float


def as_markdown(outcomes: Iterable[Outcome]) -> str:
    """A line for each row in the order of their numbers."""
    rows: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        rows.setdefault(outcome.row, []).append(outcome)
    header = ("row", "fault", "tests", "saboteurs noticed", "seconds", "verdict")
    lines = []
    for row in sorted(rows, key=lambda name: int(name[1:])):
        tests = rows[row]
        sabotaged = [test for test in tests if test.saboteur]
        noticed = sum(test.outcome == "passed" for test in sabotaged)
        lines.append(
            (
                row,
                "; ".join(dict.fromkeys(test.what for test in tests)),
                str(len(tests) - len(sabotaged)),
                f"{noticed} of {len(sabotaged)}" if sabotaged else "",
                f"{sum(test.seconds for test in tests):.0f}",
                _verdict(tests),
            )
        )
    return markdown.table(header, lines, numbers=(2, 3, 4)) + "\n"


def write(table: str) -> None:
    """Keeps the table, with the day and the machine, for RELIABILITY.md."""
    FILE.write_text(
        f"{time.strftime('%Y-%m-%d')}, {usable_cores()} cores of {cpu_model()}:\n\n{table}",
        encoding="utf-8",
    )


def _verdict(tests: list[Outcome]) -> str:
    outcomes = [test.outcome for test in tests]
    if "failed" in outcomes:
        return "FAILS"
    if "skipped" in outcomes:
        return f"holds; {outcomes.count('skipped')} not run here"
    return "holds"
