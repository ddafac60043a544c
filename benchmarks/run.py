"""A benchmark, told top to bottom."""

import datetime
import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine, works
from benchmarks.report import table
from configs import art5
from dkse_jax.data.sources import load_splits
from dkse_jax.errors import UserError
from dkse_jax.files import write_atomically
from dkse_jax.workdir.journal import duration


def run(
    names: Sequence[str],
    *,
    torch_python: str | None,
    rounds: int,
    data_root: str | None,
    out: Path,
    dtype: str,
) -> None:
    """Measures the named works, writes out/results.json after each, prints the table.

    Raises:
        UserError: before anything is measured, for an interpreter without PyTorch or data that
            cannot be read; later, for a side that fails or whose logits are not ours.
    """
    described = machine.describe()
    if torch_python:
        described |= torch_versions(torch_python)
    published = not torch_python or "torchvision" in described
    if not published:
        print(f"{torch_python} has no torchvision: {', '.join(works.PUBLISHED)} are left out")
    if data_root:
        check_data(data_root)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, (out / "worker.log").open("w") as log:
        settings = works.Settings(
            tuple(names), torch_python, published, rounds, data_root, dtype, Path(folder), log
        )
        measured = works.plan(settings)
        if described["load_before"] > 0.5:
            print(f"the machine is busy (load {described['load_before']}): figures will be off")
        print(f"{len(measured)} works, about {duration(left(measured, 0, 0))}", flush=True)
        results: dict[str, Any] = {
            "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
            "dtype": dtype,
            "machine": described,
            "roofline": works.roofline(settings),
            "rows": [],
        }
        began = time.monotonic()
        for number, work in enumerate(measured):
            remaining = left(measured, number, time.monotonic() - began)
            print(
                f"[{number + 1}/{len(measured)}] {work.name}, about {duration(remaining)} left",
                flush=True,
            )
            results["rows"] += work.measure()
            write_atomically(out / "results.json", json.dumps(results, indent=1))
    print(table(results))
    print(f"{out / 'results.json'} has the rows", flush=True)


TORCH_VERSIONS = """
import importlib.util, json, platform, torch
versions = {"torch": f"{torch.__version__} (Python {platform.python_version()})"}
if importlib.util.find_spec("torchvision"):
    import torchvision
    versions["torchvision"] = torchvision.__version__
print(json.dumps(versions))
"""


def torch_versions(python: str) -> dict[str, str]:
    """Of the interpreter's PyTorch and torchvision, if any. UserError where it has no PyTorch."""
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
    """Raises UserError where configs/art5.py cannot train on the folder."""
    config = art5.get_config()
    config.data.root = root
    load_splits(config.data, config.seed)


def left(measured: Sequence[works.Work], done: int, elapsed: float) -> float:
    """Seconds that the works from number `done` on will take, by how long those before took."""
    guessed = sum(work.seconds for work in measured[:done])
    pace = elapsed / guessed if done else 1.0
    return pace * sum(work.seconds for work in measured[done:])
