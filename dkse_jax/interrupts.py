"""SIGTERM and SIGINT: the first one allows work to be saved, a later one exits at once.

Signals within SAME_MOMENT of the first are the same request: GNU timeout signals the program and
then its process group, and batch systems repeat themselves.

A thread receives every signal through a pipe, since Python's own handlers run in the main thread,
which may be compiling for a minute.
"""

import contextlib
import dataclasses
import os
import signal
import threading
import time
from collections.abc import Iterator

from dkse_jax.distributed import processes

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME_MOMENT = 2.0  # seconds


class Interrupted(BaseException):
    """Raised to end the program after a signal.

    Args:
        number: the signal's.
    """

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


@dataclasses.dataclass
class _State:
    received: int | None = None  # the number of the first deferred signal
    deferred: bool = False  # whether there is work to save first
    breakable: bool = False  # whether the work may be interrupted anywhere


_state = _State()  # of the process, like its signal handlers


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Installs the handlers, in the main thread: exit at once, or at `check` inside `deferred`.

    Exits by os._exit with code 128 + the signal's number, at any point of the program: as after
    SIGKILL, files are complete.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = {number: signal.signal(number, _handle) for number in SIGNALS}
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(reader,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writer)
        watcher.join()
        os.close(reader)
        _state.received = None


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Defers the first signal until `check`, and raises it at the end at the latest.

    Several processes agree instead: see `distributed.signals`.

    Raises:
        Interrupted: a signal came that has not been raised yet.
    """
    _state.deferred = True
    try:
        yield
        if processes.alone():
            check()
    finally:
        _state.deferred = False


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Lets a signal inside `deferred` interrupt waiting, or work that can be repeated.

    Has no effect with several processes, since the others would wait for this one.

    Raises:
        Interrupted: at any point inside.
    """
    _state.breakable = processes.alone()
    try:
        if _state.breakable:
            check()
        yield
    finally:
        _state.breakable = False


def received() -> int:
    """Returns the number of the first deferred signal, 0 without one."""
    return _state.received or 0


def check() -> None:
    """Raises Interrupted if a signal came."""
    if _state.received is not None:
        raise Interrupted(_state.received)


def _handle(number: int, frame: object) -> None:
    if _state.deferred:
        _state.received = _state.received or number
    if _state.breakable:
        _state.breakable = False  # a repeated signal must not interrupt the save that follows
        check()


def _watch(reader: int) -> None:
    """Ends the program at the first signal without work to save, and at any later one."""
    first: float | None = None  # the time of the first signal
    while data := os.read(reader, 1):
        number = data[0]
        if number not in SIGNALS:
            continue
        now = time.monotonic()
        if first is None:
            first = now
            # The main thread may have handled the signal, and be done, before this one wakes.
            if _state.deferred or _state.received:
                continue
        elif now - first <= SAME_MOMENT:
            continue
        with contextlib.suppress(OSError):  # nobody reads it
            os.write(2, f"{Interrupted(number)}\n".encode())
        os._exit(128 + number)
