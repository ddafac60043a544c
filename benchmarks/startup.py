"""Start-up: from the command to the first step of a training, with and without a cache."""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.workers import ROOT
from dkse_jax.errors import UserError

LATER_STARTS = 3
COMMAND = (  # one step of 16 images, which are painted in negligible time
    "train.py",
    "--config=configs/dkse.py",
    "--config.train.batch_size=16",
    "--config.train.epochs=1",
    "--config.data.synthetic.kinds=2",
    "--config.data.synthetic.train_per_kind=8",
    "--config.data.synthetic.val_per_kind=1",
    "--config.data.synthetic.test_per_kind=1",
)


def measure(folder: Path) -> list[dict[str, Any]]:
    """Measures three rows, with caches in the folder, empty at first."""
    to_step, compiling = start(folder, "first")
    later = [start(folder, f"later_{i}")[0] for i in range(LATER_STARTS)]
    return [
        {"case": "first start: compiling the train step, best", "ours_ms": 1000 * compiling},
        {"case": "first start: command to first step, best", "ours_ms": 1000 * to_step},
        {"case": "later start: command to first step, best", "ours_ms": 1000 * median(later)},
    ]


def environment(folder: Path, devices: int | None) -> dict[str, str]:
    """Returns variables with caches in the folder and, if given, a number of CPU devices."""
    own = {"JAX_NUM_CPU_DEVICES": str(devices)} if devices else {}
    return {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), **own}


def start(
    folder: Path, workdir: str, *arguments: str, devices: int | None = None
) -> tuple[float, float]:
    """Measures seconds from the command to the end of the first step, and those of compiling."""
    began = time.monotonic()
    seen: dict[str, float] = {}
    log = folder / f"{workdir}.log"
    with (
        log.open("w+") as errors,
        subprocess.Popen(
            [sys.executable, *COMMAND, f"--workdir={folder / workdir}", *arguments],
            cwd=ROOT,
            env=environment(folder, devices),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            words = " ".join(line.split()[:2])
            seen[words] = time.monotonic() - began
            if words == "step 1/1":
                process.kill()
                break
    if "step 1/1" not in seen:
        raise UserError(f"train.py made no step: {log.read_text()[-300:]}")
    return seen["step 1/1"], seen["compiled in"] - seen["compiling the"]
