"""Times an accelerator in bfloat16: python -m benchmarks.on_device [--torch-python=PATH]

Train step and inference of best, figure10 and ResNet-50, and the merged stem on and off, against
torch.compile (channels_last, autocast) if --torch-python names an interpreter with PyTorch; the
device's largest rates. No case begins after --minutes. Prints a table and writes --out; with
--batch=2 it can be tried on a CPU.
"""

import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from absl import flags

from benchmarks import cases, machine
from benchmarks.workers import Worker, ask_all, interleave, ratios
from dkse_jax import cli, markdown
from dkse_jax.console import log
from dkse_jax.files import write_atomically

NETWORKS = ("best", "figure10", "resnet50")
KINDS = ("train", "inference")
MERGED = {"ours, stem merged": True, "ours, stem apart": False}
HEADER = ("case", "backend", "time", "other / ours", "images/s")
ROUNDS, ROUND_SECONDS, MOST_SECONDS = 5, 0.5, 15.0

TORCH = cli.define_path("torch-python", None, "A Python interpreter that has PyTorch.")
BATCH = flags.DEFINE_integer("batch", 128, "Images of a batch.")
MINUTES = flags.DEFINE_float("minutes", 6.0, "No case begins after these minutes.")
OUT = cli.define_path("out", "runs/bench-device.json", "The file of the results.")


def main() -> None:
    """Measures the cases one after another."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as output:
        settings = cases.Settings(
            (), TORCH.value, True, ROUNDS, None, "bfloat16", Path(folder), output
        )
        with cases.jax_worker(settings) as worker:
            limits = worker.ask("roofline", dtype="bfloat16")
        results: dict[str, Any] = {"machine": machine.describe(), "roofline": limits, "rows": []}
        for network in NETWORKS:
            for kind in KINDS:
                if time.monotonic() - began > 60 * MINUTES.value:
                    log(f"{kind}, {network}: left out, {MINUTES.value:g} minutes are over")
                    continue
                log(f"{kind}, {network}, batch {BATCH.value}")
                results["rows"] += measure(settings, kind, network)
                write_atomically(Path(OUT.value), json.dumps(results, indent=1))
    for line in table(results).splitlines():
        log(line)


def measure(settings: cases.Settings, kind: str, network: str) -> list[dict[str, Any]]:
    """Measures one case: ours first, then ours with each form of the stem, and PyTorch."""
    path, macs = cases.weights(settings, network, BATCH.value)
    names: list[str] = ["ours"]
    if kind == "train" and network not in cases.PUBLISHED:
        names += list(MERGED)
    ours = dict.fromkeys(names, (cases.JAX_SIDE, cases.JAX_ENVIRONMENT))
    theirs: dict[str, Any] = {}
    if settings.torch_python:
        theirs["torch.compile"] = ([settings.torch_python, "-m", "benchmarks.torch_side"], {})
    workers = [
        Worker(name, command, settings.log, environment)
        for name, (command, environment) in (ours | theirs).items()
    ]

    def arguments(worker: Worker) -> dict[str, Any]:
        side = worker.name if worker.name in theirs else "ours"
        asked = cases.task(settings, side, kind, network, BATCH.value, path)
        return asked | {"merge_stem": MERGED[worker.name]} if worker.name in MERGED else asked

    try:
        ask_all(workers, "prepare", arguments)
        ask_all(workers, "run", lambda worker: {"seconds": 0, "least": 2})
        times = interleave(workers, ROUNDS, ROUND_SECONDS, MOST_SECONDS)
    finally:
        for worker in workers:
            worker.__exit__(None, None, None)
    return [
        {
            "case": f"{kind}, {network}, batch {BATCH.value}",
            "backend": worker.name,
            "ms": median(of_worker),
            "ratio": median(ratios(times[0], of_worker)),
            "images_per_s": 1000 * BATCH.value / median(of_worker),
            "macs": macs,
        }
        for worker, of_worker in zip(workers, times, strict=True)
    ]


def table(results: dict[str, Any]) -> str:
    """Formats the rows as a Markdown table, and the device's limits."""
    rows = [
        (
            row["case"],
            row["backend"],
            f"{row['ms']:,.1f} ms",
            f"{row['ratio']:.2f}",
            f"{row['images_per_s']:,.0f}",
        )
        for row in results["rows"]
    ]
    limits = results["roofline"]
    rates = f"{limits['flops_per_s'] / 1e12:,.2f} TFLOP/s, {limits['bytes_per_s'] / 1e9:,.0f} GB/s"
    device = f"{limits['backend']} ({limits['device']})"
    return f"{device}: {rates}\n\n{markdown.table(HEADER, rows, numbers=(2, 3, 4))}"


if __name__ == "__main__":
    cli.run(main)
