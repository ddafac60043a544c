"""Circumstances to plant: each function changes what a script meets (see launch.py)."""

import ctypes
import os
import resource
import signal
import threading
import time
from pathlib import Path

AT_STEP = 20


def _pause(phase: str, seconds: float = 1000.0) -> None:
    print(f"PAUSED {phase}", flush=True)
    time.sleep(seconds)


def pause_judging() -> None:
    """The evaluation on val stops after its first batch."""
    from dkse_jax import inference

    whole = inference.evaluation_batches

    def batches(*arguments, **named):
        for batch in whole(*arguments, **named):
            yield batch
            _pause("judging")

    inference.evaluation_batches = batches


def pause_data() -> None:
    """The batch after step AT_STEP never comes: its reader hangs."""
    from dkse_jax.data import pipeline

    whole = pipeline.place

    def place(position, examples, seed):
        if position >= 8 * AT_STEP:
            _pause("data")
        return whole(position, examples, seed)

    pipeline.place = place


def pause_step() -> None:
    """Step AT_STEP never ends."""
    _pause_in_step("step", 1000.0)


def pause_slow_step() -> None:
    """Step AT_STEP takes some seconds."""
    _pause_in_step("slow_step", 3.0)


def _pause_in_step(phase: str, seconds: float) -> None:
    from dkse_jax.training import loop

    whole = loop.compiled

    def compiled(*arguments):
        program = whole(*arguments)

        def train_step(state, images, labels):
            if int(state.step) == AT_STEP - 1:
                _pause(phase, seconds)
            return program(state, images, labels)

        return train_step

    loop.compiled = compiled


def pause_saving() -> None:
    """The save of a step takes a while between its files and its record."""
    from dkse_jax.workdir import checkpoint

    whole = checkpoint.write_record

    def write_record(root, record):
        _pause("saving", 2.0)
        whole(root, record)

    checkpoint.write_record = write_record


def clock_jumps() -> None:
    """Before every second save the clock goes back an hour, within the others 30 days ahead."""
    from dkse_jax.workdir import checkpoint, journal

    journal.PROGRESS_SECONDS = 0.2  # many lines, each with a rate
    saves, ahead = iter(range(1000)), 0
    whole, reserve = time.time, checkpoint.reserve

    def jump(seconds):
        nonlocal ahead
        ahead += seconds

    def reserve_and_jump(*arguments):
        reserve(*arguments)
        if next(saves) % 2:
            jump(-3600)
        else:
            threading.Timer(0.01, jump, [30 * 86400]).start()

    checkpoint.reserve = reserve_and_jump
    time.time = lambda: whole() + ahead


def gradient_overflows() -> None:
    """At step AT_STEP a gradient is infinite, and with it the weights."""
    import jax
    import jax.numpy as jnp

    from dkse_jax.training import loop

    whole = loop.compiled

    def compiled(*arguments):
        program = whole(*arguments)

        def train_step(state, images, labels):
            state, metrics = program(state, images, labels)
            if int(state.step) == AT_STEP:
                params = jax.tree.map(lambda leaf: leaf.at[...].set(jnp.inf), state.params)
                state = state.replace(params=params)
            return state, metrics

        return train_step

    loop.compiled = compiled


def memory_reported() -> None:
    """Prints the resident memory in MiB after every hundredth step."""
    from dkse_jax.training import loop

    whole = loop.training_line

    def training_line(plan, step, metrics, batch):
        if step % 100 == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            print(f"RESIDENT {pages * os.sysconf('SC_PAGE_SIZE') / 2**20:.1f}", flush=True)
        return whole(plan, step, metrics, batch)

    loop.training_line = training_line


def small_files() -> None:
    """No file of the process can be larger than 100 kB; a write beyond is an error."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def small_memory() -> None:
    """The process has 3 GB of addresses."""
    resource.setrlimit(resource.RLIMIT_AS, (3 * 10**9, 3 * 10**9))


def without_privileges() -> None:
    """The process has no capability that others lack: to root, too, modes of files count."""
    version_3, this_process = 0x20080522, 0
    none = (ctypes.c_uint32 * 6)()
    header = (ctypes.c_uint32 * 2)(version_3, this_process)
    if ctypes.CDLL(None, use_errno=True).capset(header, none):
        raise OSError(ctypes.get_errno(), "capset")


def predict_slowly() -> None:
    """Batches of 4 pictures; the name of each that is decoded goes to the file DKSE_DECODED."""
    from dkse_jax.prediction import reading, run

    run.BATCH = 4
    whole = reading.decode

    def decode(content, min_side, name, *rest):
        with open(os.environ["DKSE_DECODED"], "a") as file:
            file.write(f"{name}\n")
        time.sleep(0.01)
        return whole(content, min_side, name, *rest)

    reading.decode = decode
