"""The page of a benchmark: python -m benchmarks.report runs/bench/results.json > BENCHMARKS.md"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dkse_jax import markdown
from dkse_jax.errors import UserError

HEADER = ("work", "ours", "other", "its figure", "other / ours", "of peak, ours", "of peak, other")
NOTES = """\
Times are medians over rounds in which the sides take turns, in processes of their own, one working
at a time; *other / ours* is the median of the ratios round by round, with the smallest and the
largest. Against PyTorch at its best the smallest ratio counts. All sides have the same
weights and images; before anything is timed their logits are found equal to 1e-4 of the largest
one. PyTorch is in channels_last, its BatchNorm folded for inference, as is ours; *plain* is our own
`ops=plain`, not folded. Its resnet50 and vgg16 are torchvision's; best and figure10, variants of
the paper's network, are written in PyTorch for this comparison. A train step has the forward pass
with dropout, where a network has it, the gradients, their clipping and the update. Our programs
tell glibc to keep the memory that a step frees (dkse_jax/runtime.py); PyTorch runs as it comes, and
once more, as *memory kept*, with the same set by hand in GLIBC_TUNABLES. Peak memory is the
resident memory of a process that does nothing else, at most during three train steps after two, the
median of three such processes; on an accelerator, what it allocated."""
PEAK_NOTE = """\
*of peak* is the rate of a work by direct convolution (2 operations for each multiply-accumulate,
three times that for a train step) as a share of the largest rate of a matrix product above.
Winograd convolution needs fewer operations than are counted here, so a share can exceed 100 %."""


def page(results: dict[str, Any]) -> str:
    """BENCHMARKS.md of the contents of a results.json."""
    machine, roofline = results["machine"], results["roofline"]
    versions = [
        f"{name} {machine[name]}"
        for name in ("python", "jax", "flax", "torch", "torchvision")
        if name in machine
    ]
    lines = [
        "# Benchmarks",
        "",
        f"`make bench`, {results['date'][:10]}: {results['dtype']}, 299 pixels where a work names"
        " no others.",
        "",
        f"- {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB,"
        f" {machine['system']}; {roofline['backend']} ({roofline['device']})",
        f"- {', '.join(versions)}",
        f"- largest rates measured in the same run: matrix product {results['dtype']}"
        f" {matrix_products(results)} GFLOP/s, memory read and written"
        f" {roofline['bytes_per_s'] / 1e9:,.1f} GB/s",
        f"- load of the machine before the run: {machine['load_before']}",
        "",
        table(results),
        "",
        NOTES,
        "",
        PEAK_NOTE,
    ]
    return "\n".join(lines)


def matrix_products(results: dict[str, Any]) -> str:
    """Such as 281 (JAX), 343 (PyTorch), in GFLOP/s."""
    rates = [(results["roofline"]["ours_flops_per_s"], "JAX")]
    if "torch" in results["machine"]:
        rates.append((results["roofline"]["other_flops_per_s"], "PyTorch"))
    return ", ".join(f"{rate / 1e9:,.0f} ({name})" for rate, name in rates)


def table(results: dict[str, Any]) -> str:
    """The rows as a Markdown table."""
    peak = results["roofline"]["flops_per_s"]
    rows = [cells(row, peak) for row in results["rows"]]
    return markdown.table(HEADER, rows, numbers=(1, 3, 4, 5, 6))


def cells(row: dict[str, Any], peak: float) -> tuple[str, ...]:
    """A row as texts; peak: operations a second."""
    if "ours_ms" in row:
        ours, other = row["ours_ms"], row.get("other_ms")
        figures = [milliseconds(value) for value in (ours, other)]
        shares = [
            share(row["gflop"] * 1e9 / (value / 1000) / peak) if "gflop" in row and value else ""
            for value in (ours, other)
        ]
    else:
        ours, other = row["ours"], row.get("other_value")
        figures = [
            "" if value is None else f"{value:,.4g} {row['unit']}" for value in (ours, other)
        ]
        shares = ["", ""]
    ratio = f"{row['ratio']:.2f}" if "ratio" in row else ""
    if "ratio_low" in row:
        ratio += f" ({row['ratio_low']:.2f}–{row['ratio_high']:.2f})"
    return row["work"], figures[0], row.get("other", ""), figures[1], ratio, *shares


def milliseconds(value: float | None) -> str:
    """Such as 41.2 ms, 2,492 ms or 12.3 s; empty for None."""
    if value is None:
        return ""
    if value >= 10_000:
        return f"{value / 1000:.1f} s"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms"


def share(value: float) -> str:
    """Such as 62 %."""
    return f"{100 * value:.0f} %"


def main(arguments: Sequence[str]) -> None:
    """Prints the page. Raises UserError for a file that is none of ours."""
    if len(arguments) != 1:
        raise UserError(
            "name one results.json: python -m benchmarks.report runs/bench/results.json"
        )
    try:
        results = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        print(page(results))
    except OSError as error:
        raise UserError(f"{arguments[0]} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{arguments[0]} is not the results.json of a benchmark") from error


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
