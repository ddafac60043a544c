"""The run of a benchmark, top to bottom."""

import datetime
import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import cases, machine
from benchmarks.report import table
from configs import art5
from dkse_jax.console import duration
from dkse_jax.data.sources import load_splits
from dkse_jax.errors import UserError
from dkse_jax.files import write_atomically


def run(
    names: Sequence[str],
    *,
    torch_python: str | None,
    rounds: int,
    data_root: str | None,
    out: Path,
    dtype: str,
) -> None:
    """Measures the named cases, writes out/results.json after each, prints the table.

    Raises:
        UserError: before measuring, for an interpreter without PyTorch or data that cannot be
            read; later, for a backend that fails or has other logits.
    """
    described = machine.describe()
    if torch_python:
        described |= torch_versions(torch_python)
    published = not torch_python or "torchvision" in described
    if not published:
        print(f"{torch_python} has no torchvision: {', '.join(cases.PUBLISHED)} are left out")
    if data_root:
        check_data(data_root)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, (out / "worker.log").open("w") as log:
        settings = cases.Settings(
            tuple(names),
            torch_python,
            published,
            rounds,
            data_root,
            dtype,
            Path(folder),
            log,
            tuple(name for name, package in cases.SERVING.items() if package in described),
        )
        planned = cases.plan(settings)
        if described["load_before"] > 0.5:
            print(f"the machine is busy (load {described['load_before']}): figures will be off")
        print(f"{len(planned)} cases, about {duration(left(planned, 0, 0))}", flush=True)
        results: dict[str, Any] = {
            "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
            "dtype": dtype,
            "machine": described,
            "roofline": cases.roofline(settings),
            "rows": [],
        }
        began = time.monotonic()
        for number, case in enumerate(planned):
            remaining = left(planned, number, time.monotonic() - began)
            print(
                f"[{number + 1}/{len(planned)}] {case.name}, about {duration(remaining)} left",
                flush=True,
            )
            results["rows"] += case.measure()
            write_atomically(out / "results.json", json.dumps(results, indent=1))
    print(table(results))
    print(f"{out / 'results.json'} has the rows", flush=True)


TORCH_VERSIONS = """
import importlib, importlib.util, json, platform, torch
versions = {"torch": f"{torch.__version__} (Python {platform.python_version()})"}
for name in ("torchvision", "onnxruntime", "openvino"):
    if importlib.util.find_spec(name):
        versions[name] = importlib.import_module(name).__version__
print(json.dumps(versions))
"""


def torch_versions(python: str) -> dict[str, str]:
    """Returns versions of PyTorch and torchvision, if any; raises UserError without PyTorch."""
    command = [python, "-c", TORCH_VERSIONS]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(
            f"--torch-python is {python}, which cannot be run: {error.strerror}"
        ) from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it failed"]
        raise UserError(f"--torch-python is {python}, which has no PyTorch: {lines[-1]}")
    return json.loads(done.stdout)


def check_data(root: str) -> None:
    """Raises UserError if configs/art5.py cannot train on the folder."""
    config = art5.get_config()
    config.data.root = root
    load_splits(config.data, config.seed)


def left(planned: Sequence[cases.Case], done: int, elapsed: float) -> float:
    """Estimates the seconds of the cases from number `done` on, at the pace of those before."""
    guessed = sum(case.seconds for case in planned[:done])
    pace = elapsed / guessed if done else 1.0
    return pace * sum(case.seconds for case in planned[done:])
