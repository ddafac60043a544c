"""Overhead of dividing a train step over devices: python -m benchmarks.scale_of_devices

Times the same global batch on 1 to 8 virtual devices that share this machine's cores, in
interleaved processes, with replicated weights and with weights sharded over 8 devices. Ideally the
times are equal.
"""

import contextlib
import os
import sys
from pathlib import Path
from statistics import median

from benchmarks.machine import usable_cores
from benchmarks.workers import Worker, ask_all, interleave, ratios
from configs import dkse
from dkse_jax import cli
from dkse_jax.config import to_json

FOLDER = Path("runs/scale")
ROUNDS = 7
MESHES = {  # devices, and devices for each copy of the state
    "1 device": (1, 1),
    "2 devices": (2, 1),
    "4 devices": (4, 1),
    "8 devices": (8, 1),
    "8 devices, fsdp 8": (8, 8),
}


def main() -> None:
    """Prints the step times, also relative to those of one device."""
    config = dkse.get_config()
    load = os.getloadavg()[0]
    FOLDER.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((FOLDER / "worker.log").open("w"))
        workers = [
            stack.enter_context(
                Worker(
                    name,
                    [sys.executable, "-m", "benchmarks.sharded_side"],
                    log,
                    {"JAX_NUM_CPU_DEVICES": str(count)},
                )
            )
            for name, (count, _) in MESHES.items()
        ]
        ask_all(
            workers,
            "prepare",
            lambda worker: {"config": to_json(config), "fsdp": MESHES[worker.name][1]},
        )
        for worker in workers:
            worker.ask("run", seconds=0, least=8)  # until the memory of a step is constant
        rounds = interleave(workers, ROUNDS, 0, float("inf"))
    print(
        f"train step, best, {config.data.image_size} px, batch {config.train.batch_size};"
        f" {usable_cores()} cores, load {load:.1f}; medians of {ROUNDS} in turn"
    )
    for worker, times in zip(workers, rounds, strict=True):
        factor = median(ratios(rounds[0], times))
        print(f"{worker.name:18}{median(times):6.0f} ms {factor:.2f}×")


if __name__ == "__main__":
    cli.run(main)
