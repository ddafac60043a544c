"""Page of the results: python -m benchmarks.report runs/bench/results.json > BENCHMARKS.md"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dkse_jax import markdown
from dkse_jax.errors import UserError

HEADER = ("case", "ours", "other", "its figure", "other / ours", "of peak, ours", "of peak, other")
NOTES = """\
Each backend runs in its own process; runs are interleaved, never concurrent. Times are medians over
rounds; *other / ours* is the median of the ratios per round, with the smallest and the largest.
Against the best backend of PyTorch the smallest ratio counts. All backends have the same weights
and images; before timing, their logits are checked to be equal to 1e-4 of the largest one. PyTorch
uses channels_last; its BatchNorm is folded for inference, as ours is. *plain* is our own
`ops=plain`, not folded. resnet50 and vgg16 of PyTorch are torchvision's; best and figure10,
variants of the paper's network, are written in PyTorch for this comparison. A train step is the
forward pass, with dropout where the network has it, the gradients, their clipping and the update.
Our programs let glibc keep the memory that a step frees (dkse_jax/runtime.py); PyTorch runs with
default settings and, as *memory kept*, with the same setting in GLIBC_TUNABLES. Peak memory is the
maximum of the resident memory of a process during three train steps after two, the median of three
such processes; on an accelerator, the allocated memory."""
PEAK_NOTE = """\
*of peak* is the rate of a case as a share of the largest rate of a matrix product above. Operations
are those of direct convolution (2 for each multiply-accumulate, three times that for a train step);
Winograd convolution needs fewer, so a share can exceed 100 %."""


def page(results: dict[str, Any]) -> str:
    """Formats BENCHMARKS.md from the content of a results.json."""
    machine, roofline = results["machine"], results["roofline"]
    versions = [
        f"{name} {machine[name]}"
        for name in ("python", "jax", "flax", "torch", "torchvision")
        if name in machine
    ]
    lines = [
        "# Benchmarks",
        "",
        f"`make bench`, {results['date'][:10]}: {results['dtype']}, 299 pixels where a case names"
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
    """Formats rates in GFLOP/s, such as 281 (JAX), 343 (PyTorch)."""
    rates = [(results["roofline"]["ours_flops_per_s"], "JAX")]
    if "torch" in results["machine"]:
        rates.append((results["roofline"]["other_flops_per_s"], "PyTorch"))
    return ", ".join(f"{rate / 1e9:,.0f} ({name})" for rate, name in rates)


def table(results: dict[str, Any]) -> str:
    """Formats the rows as a Markdown table."""
    peak = results["roofline"]["flops_per_s"]
    rows = [cells(row, peak) for row in results["rows"]]
    return markdown.table(HEADER, rows, numbers=(1, 3, 4, 5, 6))


def cells(row: dict[str, Any], peak: float) -> tuple[str, ...]:
    """Formats a row as texts; peak: operations a second."""
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
    return row["case"], figures[0], row.get("other", ""), figures[1], ratio, *shares


def milliseconds(value: float | None) -> str:
    """Formats a time, such as 41.2 ms, 2,492 ms or 12.3 s; empty for None."""
    if value is None:
        return ""
    if value >= 10_000:
        return f"{value / 1000:.1f} s"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms"


def share(value: float) -> str:
    """Formats a share, such as 62 %."""
    return f"{100 * value:.0f} %"


def main(arguments: Sequence[str]) -> None:
    """Prints the page; raises UserError for another file."""
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
