"""One run at a time in a workdir."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from dkse_jax.errors import UserError

LOCK_FILE = "lock"


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Inside, no other process can enter for this workdir, which is made if it is new.

    The system itself gives the lock back when its owner ends, however that was.

    Raises:
        UserError: another process is inside, and who.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / LOCK_FILE).open("a+", encoding="utf-8") as file:
        _take(file.fileno(), workdir)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


def check_unlocked(workdir: Path) -> None:
    """Raises UserError where another process is at work in a workdir; creates nothing."""
    if (workdir / LOCK_FILE).exists():
        with (workdir / LOCK_FILE).open(encoding="utf-8") as file:
            _take(file.fileno(), workdir)


def _take(descriptor: int, workdir: Path) -> None:
    """Takes the lock for as long as the file is open."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
        raise UserError(
            f"--workdir={workdir} is in use by {owner or 'another process'}; name a new folder, or"
            " wait for it to end"
        ) from error
    except OSError as error:
        raise UserError(
            f"--workdir={workdir} is on a file system without locks ({error.strerror}); name a"
            " folder elsewhere"
        ) from error
