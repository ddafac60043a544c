"""Start-up: from the command to the first step of a training, on a first and on a later start."""

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
COMMAND = (  # one step of 16 images; so few that painting them does not count
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
    """Three rows. The caches are the folder's, empty at first."""
    to_step, compiling = start(folder, "first")
    later = [start(folder, f"later_{i}")[0] for i in range(LATER_STARTS)]
    return [
        {"work": "first start: compiling the train step, best", "ours_ms": 1000 * compiling},
        {"work": "first start: command to first step, best", "ours_ms": 1000 * to_step},
        {"work": "later start: command to first step, best", "ours_ms": 1000 * median(later)},
    ]


def environment(folder: Path, devices: int | None) -> dict[str, str]:
    """Programs are kept in the folder; so many CPU devices, if not as many as JAX makes."""
    own = {"JAX_NUM_CPU_DEVICES": str(devices)} if devices else {}
    return {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), **own}


def start(
    folder: Path, workdir: str, *arguments: str, devices: int | None = None
) -> tuple[float, float]:
    """Seconds from the command to the end of the first step, and those spent compiling it."""
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
