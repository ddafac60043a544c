"""What dividing a train step over devices costs: python -m benchmarks.scale_of_devices

The same global batch on 1 and on 8 virtual devices that share this machine's cores, in turn, with
the weights on every device and with an eighth of them on each: ideally the times are the same.
"""

import os
import time
from collections.abc import Callable
from statistics import median

import jax
import numpy as np
from ml_collections import ConfigDict

from benchmarks.machine import usable_cores
from configs import dkse
from dkse_jax import cli, devices
from dkse_jax.data.transform import Transform
from dkse_jax.models import create_model
from dkse_jax.training.optimizer import make_optimizer, make_schedule
from dkse_jax.training.state import create_state, initialise
from dkse_jax.training.steps import make_train_step

DEVICES, ROUNDS, STEPS = 8, 7, 10_000  # of the schedule: the timed ones are in its warm-up
MESHES = {"1 device": (1, 1), "8 devices": (8, 1), "8 devices, fsdp 8": (8, 8)}
CLASSES = 5


def main() -> None:
    """Prints the step times of each, and how many times one device's they are."""
    jax.config.update("jax_num_cpu_devices", DEVICES)
    devices.reuse_memory()
    config = dkse.get_config()
    size, batch_size = config.data.image_size, config.train.batch_size
    calls = {name: train_step(config, *mesh) for name, mesh in MESHES.items()}
    for call in calls.values():
        call()  # compiles
    rounds = [[timed(call) for call in calls.values()] for _ in range(ROUNDS)]
    print(
        f"train step, best, {size} px, batch {batch_size}; {usable_cores()} cores, load"
        f" {os.getloadavg()[0]:.1f}; medians of {ROUNDS} in turn, and the fastest"
    )
    times = np.array(rounds).transpose(1, 2, 0)  # (mesh, elapsed or CPU, round)
    for name, (elapsed, cpu) in zip(calls, times, strict=True):
        one_elapsed, one_cpu = times[0]
        print(
            f"{name:18}{median(elapsed):6.0f} ms {median(elapsed / one_elapsed):.2f}×"
            f"  fastest {min(elapsed):5.0f} ms {min(elapsed) / min(one_elapsed):.2f}×"
            f"  CPU time {median(cpu):6.0f} ms {median(cpu / one_cpu):.2f}×"
        )


def timed(call: Callable[[], None]) -> tuple[float, float]:
    """Milliseconds of a call: elapsed, and of CPU time, which other programs do not lengthen."""
    start, cpu = time.perf_counter(), time.process_time()
    call()
    return 1000 * (time.perf_counter() - start), 1000 * (time.process_time() - cpu)


def train_step(config: ConfigDict, count: int, fsdp: int) -> Callable[[], None]:
    """One update on so many devices, to be called again and again."""
    mesh = devices.make_mesh(jax.devices()[:count], fsdp=fsdp)
    model, transform = create_model(config.model, CLASSES), Transform.of(config.data)
    optimizer = make_optimizer(config.optimizer, make_schedule(config.optimizer, STEPS))
    state = initialise(lambda: create_state(model, optimizer, transform.size, 0), mesh)
    rng, size, examples = np.random.default_rng(0), transform.size, config.train.batch_size
    batch = jax.device_put(
        (
            rng.integers(0, 256, (examples, size, size, 3), np.uint8),
            rng.integers(0, CLASSES, examples, np.int32),
        ),
        devices.split_by_example(mesh),
    )
    step = make_train_step(model, optimizer, config, transform, mesh)

    def call() -> None:
        nonlocal state
        state, _ = jax.block_until_ready(step(state, *batch))

    return call


if __name__ == "__main__":
    cli.run(main)
