"""What dividing a train step over devices costs: python -m benchmarks.scale_of_devices

The same global batch on 1 to 8 virtual devices that share this machine's cores, in turn, in a
process each: with the weights on every device, and at the end with an eighth of them on each.
Ideally the times are the same.
"""

import contextlib
import os
import sys
from pathlib import Path
from statistics import median

from benchmarks.machine import usable_cores
from benchmarks.workers import Worker, ask_all, ratios, take_turns
from configs import dkse
from dkse_jax import cli
from dkse_jax.config import to_json

FOLDER = Path("runs/scale")
ROUNDS = 7
MESHES = {  # devices, and how many of them share one copy of the state
    "1 device": (1, 1),
    "2 devices": (2, 1),
    "4 devices": (4, 1),
    "8 devices": (8, 1),
    "8 devices, fsdp 8": (8, 8),
}


def main() -> None:
    """Prints the step times of each, and how many times one device's they are."""
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
            worker.ask("run", seconds=0, least=8)  # until the memory that a step takes stays
        turns = take_turns(workers, ROUNDS, 0, float("inf"))
    print(
        f"train step, best, {config.data.image_size} px, batch {config.train.batch_size};"
        f" {usable_cores()} cores, load {load:.1f}; medians of {ROUNDS} in turn"
    )
    for worker, times in zip(workers, turns, strict=True):
        factor = median(ratios(turns[0], times))
        print(f"{worker.name:18}{median(times):6.0f} ms {factor:.2f}×")


if __name__ == "__main__":
    cli.run(main)
