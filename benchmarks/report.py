"""Page of the results: python -m benchmarks.report runs/bench/*.json > BENCHMARKS.md"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dkse_jax import markdown
from dkse_jax.errors import UserError

PACKAGES = ("python", "jax", "flax", "torch", "torchvision", "onnxruntime", "openvino")
HEADER = ("case", "ours", "other", "its figure", "other / ours", "of peak, ours", "of peak, other")
NOTES = """\
Each backend runs in its own process; runs are interleaved, never concurrent. Times are medians over
rounds; *other / ours* is the median of the ratios per round, with the smallest and the largest. All
backends have the same weights and images; before timing, their logits are checked to be equal to
1e-4 of the largest one, those of OpenVINO in its own choice of precision (*openvino*) to 0.05. In
bfloat16 PyTorch has autocast; the serving backends are in both tables, so that the faster of ours
can be put beside them. *torch frozen* is TorchScript, frozen and optimised for inference, with the
memory setting below; ONNX Runtime and OpenVINO get the network of PyTorch exported to ONNX, its
BatchNorm folded. PyTorch uses channels_last; its BatchNorm is folded for inference, as ours is.
*plain* is our own `ops=plain`, not folded. resnet50 and vgg16 of PyTorch are torchvision's; best
and figure10, variants of the paper's network, are written in PyTorch for this comparison. A train
step is the forward pass, with dropout where the network has it, the gradients, their clipping and
the update. Our programs let glibc keep the memory that a step frees (dkse_jax/runtime.py); PyTorch
runs with default settings and, as *memory kept*, with the same setting in GLIBC_TUNABLES. Peak
memory is the maximum of the resident memory of a process during three train steps after two, the
median of three such processes; on an accelerator, the allocated memory."""
PEAK_NOTE = """\
*of peak* is the rate of a case as a share of the largest rate of a matrix product above. Operations
are those of direct convolution (2 for each multiply-accumulate, three times that for a train step);
Winograd convolution needs fewer, so a share can exceed 100 %."""


def page(runs: Sequence[dict[str, Any]]) -> str:
    """Formats BENCHMARKS.md from the contents of results.json files, one for each dtype."""
    machine, roofline = runs[0]["machine"], runs[0]["roofline"]
    versions = [f"{name} {machine[name]}" for name in PACKAGES if name in machine]
    products = ", ".join(machine["bfloat16"]) or "none: model.dtype=bfloat16 is float32 here"
    dates = sorted({run["date"][:10] for run in runs})
    lines = [
        "# Benchmarks",
        "",
        f"`make bench`, {' and '.join(dates)}: 299 pixels where a case names no others. The"
        " strongest other backend of each case comes first.",
        "",
        f"- {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB,"
        f" {machine['system']}; {roofline['backend']} ({roofline['device']})",
        f"- products of bfloat16: {products}",
        f"- {', '.join(versions)}",
    ]
    lines += [
        f"- largest rates measured in the run of {run['dtype']}: matrix product"
        f" {matrix_products(run)} GFLOP/s, memory read and written"
        f" {run['roofline']['bytes_per_s'] / 1e9:,.1f} GB/s; load of the machine before it:"
        f" {run['machine']['load_before']}"
        for run in runs
    ]
    for run in runs:
        lines += ["", f"## {run['dtype']}", "", table(run)]
    return "\n".join([*lines, "", NOTES, "", PEAK_NOTE])


def matrix_products(results: dict[str, Any]) -> str:
    """Formats rates in GFLOP/s, such as 281 (JAX), 343 (PyTorch)."""
    rates = [(results["roofline"]["ours_flops_per_s"], "JAX")]
    if "torch" in results["machine"]:
        rates.append((results["roofline"]["other_flops_per_s"], "PyTorch"))
    return ", ".join(f"{rate / 1e9:,.0f} ({name})" for rate, name in rates)


def table(results: dict[str, Any]) -> str:
    """Formats the rows as a Markdown table."""
    peak = results["roofline"]["flops_per_s"]
    cases = [row["case"] for row in results["rows"]]
    strongest_first = sorted(
        results["rows"], key=lambda row: (cases.index(row["case"]), row.get("ratio", 0))
    )
    rows = [cells(row, peak) for row in strongest_first]
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
    if not arguments:
        raise UserError("name a results.json: python -m benchmarks.report runs/bench/results.json")
    runs = []
    for file in arguments:
        try:
            runs.append(json.loads(Path(file).read_text(encoding="utf-8")))
            page(runs[-1:])
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file} is not the results.json of a benchmark") from error
    print(page(runs))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
