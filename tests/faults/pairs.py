"""Two processes of a script on this host, joined over the loopback."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.runs import THIN, Process


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def pair(*arguments: str, own=((), ()), hooks=("-", "-"), devices: int = 1) -> Iterator[tuple]:
    """Process 0 and process 1, each with so many devices, and with arguments and hooks of its own.

    Those that still run at the end are killed.
    """
    port = free_port()
    found = [
        Process(
            *arguments,
            *own[number],
            "--distributed",
            f"--coordinator=127.0.0.1:{port}",
            "--processes=2",
            f"--process={number}",
            hooks=hooks[number],
            environment={"JAX_NUM_CPU_DEVICES": str(devices)},
        )
        for number in range(2)
    ]
    try:
        yield tuple(found)
    finally:
        for process in found:
            process.kill()


def train_pair(workdir: Path, *arguments: str, **named):
    """A training of tests/faults/thin.py."""
    return pair("train.py", THIN, f"--workdir={workdir}", *arguments, **named)
