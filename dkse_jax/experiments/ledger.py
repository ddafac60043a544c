"""The ledger of counts: every published parameter and GFLOPs cell beside ours."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import NamedTuple

from flax import linen as nn

from dkse_jax.experiments.published import TABLES
from dkse_jax.markdown import table
from dkse_jax.models.counts import count, totals

IMAGE_SIZE = 299  # the paper's
CLASSES = 5  # the paper's
WITHOUT_BLOCK = "none"
MATCH = "match"
HEADER = (
    "paper's table",
    "variant",
    "parameters",
    "printed, M",
    "verdict",
    "MACs",
    "printed GFLOPs",
    "which is",
)


class Entry(NamedTuple):
    """One network: our counts, and the cells of the paper, "" where it prints none."""

    paper_table: str
    variant: str
    parameters: int  # trainable ones
    printed_parameters: str
    parameters_verdict: str
    macs: int  # for one image of 299 pixels
    printed_gflops: str
    gflops_verdict: str


def ledger(variants: Iterable[str], network: Callable[[str], nn.Module]) -> list[Entry]:
    """Counts all variants, those of the paper's tables first and in their order.

    network: a variant's name -> the network, for the paper's five classes; only shapes are traced.
    """
    counts = {name: totals(count(network(name), IMAGE_SIZE)) for name in variants}
    printed = {
        name: (number, cells) for number, rows in TABLES.items() for name, cells in rows.items()
    }
    base_macs = counts[WITHOUT_BLOCK][1]
    entries = []
    for name in [*printed, *(name for name in counts if name not in printed)]:
        parameters, macs = counts[name]
        if name not in printed:
            entries.append(Entry("", name, parameters, "", "", macs, "", ""))
            continue
        number, cells = printed[name]
        verdict = parameters_verdict(cells.parameters, parameters)
        origin = gflops_verdict(cells.gflops, macs, base_macs) if cells.gflops else ""
        entries.append(
            Entry(number, name, parameters, cells.parameters, verdict, macs, cells.gflops, origin)
        )
    return entries


def parameters_verdict(printed: str, parameters: int) -> str:
    """Returns whether a cell, in millions, is our count at its printed precision."""
    rounded, truncated = _as_printed(parameters, 6, printed)
    if rounded == printed:
        return MATCH
    hint = " (truncated, not rounded, it would)" if truncated == printed else ""
    return f"no match: {rounded}{hint}"


def gflops_verdict(printed: str, macs: int, base_macs: int) -> str:
    """Returns the first way of counting that gives a cell, in billions, rounded before truncated.

    macs: of the row's network; base_macs: of the same network without a block.
    """
    ways = {
        "MACs": macs,
        "2 × MACs": 2 * macs,
        "MACs without the block": base_macs,
        "2 × MACs without the block": 2 * base_macs,
    }
    for cut, note in ((0, ""), (1, ", truncated")):
        for way, operations in ways.items():
            if _as_printed(operations, 9, printed)[cut] == printed:
                return way + note
    return f"none: MACs {macs / 1e9:.4f}, 2 × MACs {2 * macs / 1e9:.4f}"


def _as_printed(value: int, exponent: int, printed: str) -> tuple[str, str]:
    """Returns value / 10^exponent with the decimals of the printed cell: rounded, truncated."""
    unit = Decimal(1).scaleb(-len(printed.partition(".")[2]))
    scaled = Decimal(value).scaleb(-exponent)
    return str(scaled.quantize(unit, ROUND_HALF_UP)), str(scaled.quantize(unit, ROUND_DOWN))


def as_markdown(entries: Sequence[Entry]) -> str:
    """Formats the ledger as a table, followed by the number of the paper's cells that match."""
    rows = [tuple(_shown(value) for value in entry) for entry in entries]
    cells = [entry for entry in entries if entry.printed_parameters]
    matches = sum(entry.parameters_verdict == MATCH for entry in cells)
    gflops = [entry for entry in entries if entry.printed_gflops]
    ways = [f"{entry.printed_gflops} ({entry.gflops_verdict})" for entry in gflops]
    return (
        f"{table(HEADER, rows, numbers=(2, 3, 5, 6))}\n\n"
        f"{matches} of {len(cells)} parameter cells match at the precision in which they are"
        f" printed. The {len(gflops)} GFLOPs cells: {', '.join(ways)}.\n"
    )


def as_csv(entries: Iterable[Entry]) -> str:
    """Formats the ledger as CSV with a header line."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows([Entry._fields, *entries])
    return file.getvalue()


def _shown(value: str | int) -> str:
    return f"{value:,}" if isinstance(value, int) else value
