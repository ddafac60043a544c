"""Start-up with two processes: python -m benchmarks.scale_of_processes

Measures the seconds from the command to the end of the first step of a training, by one process
with two devices and by two processes with one each, on the same cores, interleaved and with a warm
compilation cache.
"""

import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.machine import usable_cores
from benchmarks.startup import COMMAND, environment, start
from benchmarks.workers import ROOT
from dkse_jax import cli

ROUNDS = 5


def main() -> None:
    """Prints both times and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rounds = [(one(folder, i), two(folder, i)) for i in range(ROUNDS + 1)][1:]  # warm cache
    ones, twos = zip(*rounds, strict=True)
    ratio = median(both / alone for alone, both in rounds)
    print(
        f"command to first step, best, 299 px, {usable_cores()} cores, medians of {ROUNDS} in turn:"
        f" 1 process {median(ones):.1f} s, 2 processes {median(twos):.1f} s, {ratio:.2f}×"
    )


def one(folder: Path, number: int) -> float:
    """Measures the seconds of a process with two devices."""
    return start(folder, f"one_{number}", devices=2)[0]


def two(folder: Path, number: int) -> float:
    """Measures the seconds of the first of two processes with a device each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = ["--distributed", f"--coordinator=127.0.0.1:{port}", "--processes=2"]
    workdir = f"two_{number}"
    command = [sys.executable, *COMMAND, f"--workdir={folder / workdir}", *flags, "--process=1"]
    with (folder / f"{workdir}-1.log").open("w") as log:
        second = subprocess.Popen(
            command, cwd=ROOT, env=environment(folder, 1), stdout=log, stderr=log
        )
        try:
            return start(folder, workdir, *flags, "--process=0")[0]
        finally:
            second.kill()
            second.wait()


if __name__ == "__main__":
    cli.run(main)
