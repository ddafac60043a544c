"""Processes forked from one that has imported the product: real ones, without the imports."""

import atexit
import functools
import json
import os
import select
import socket
import subprocess
import sys
from pathlib import Path

LAUNCH = Path(__file__).parent / "launch.py"


@functools.cache
def _server() -> socket.socket:
    """The connection to the process that forks, which ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, str(LAUNCH), "--serve", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    atexit.register(server.wait)
    atexit.register(ours.close)  # is called first
    return ours


class Fork:
    """What a subprocess.Popen of launch.py is to `runs.Process`.

    Args:
        arguments: of launch.py.
        environment: all of it.
    """

    def __init__(self, arguments: list[str], environment: dict[str, str]):
        output, written = os.pipe()
        status, reported = os.pipe()
        request = json.dumps([arguments, environment, os.getcwd()]).encode()
        socket.send_fds(_server(), [request], [written, reported])
        os.close(written)
        os.close(reported)
        self.stdout = os.fdopen(output, "rb")
        self._status = os.fdopen(status, "rb")
        self.pid = int(self._status.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative if a signal ended it; None while it runs."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self) -> None:
        with self._status:
            self.returncode = int(self._status.readline())
