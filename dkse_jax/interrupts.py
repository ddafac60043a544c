"""SIGTERM and SIGINT: the first one lets work be saved, a second one ends the program at once.

A thread hears of every signal through a pipe, since Python's own handlers wait for the main thread,
which may compile for a minute.
"""

import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal asked the program to end.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


@dataclasses.dataclass
class _State:
    received: int | None = None  # the number of the first signal that was deferred
    deferred: bool = False  # there is work to save first
    breakable: bool = False  # what is going on may be broken off anywhere
    together: bool = False  # with other processes, which must end after the same step


_state = _State()


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Inside, the signals are heeded: at once, unless work is `deferred`. In the main thread only.

    At once is by os._exit with code 128 + the signal's number, wherever the program is: as after
    SIGKILL, what is on the disk is whole.
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
    """Inside, the first signal only makes `check` raise; at the end it is raised here.

    Raises:
        Interrupted: a signal came inside that nothing has raised yet.
    """
    _state.deferred = True
    try:
        yield
        if not _state.together:
            check()
    finally:
        _state.deferred = False


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Inside `deferred`: what waits or can be done again, which a signal breaks off.

    Not where there are other processes, since they would wait for this one.

    Raises:
        Interrupted: from anywhere inside.
    """
    _state.breakable = not _state.together
    try:
        if _state.breakable:
            check()
        yield
    finally:
        _state.breakable = False


def set_distributed() -> None:
    """From now on this process has others, and ends with them: `received` is for them to agree."""
    _state.together = True


def received() -> int:
    """The number of the first signal that was deferred, 0 without one."""
    return _state.received or 0


def check() -> None:
    """Raises Interrupted if a signal came."""
    if _state.received is not None:
        raise Interrupted(_state.received)


def _handle(number: int, frame: object) -> None:
    if _state.deferred:
        _state.received = _state.received or number
    if _state.breakable:
        check()


def _watch(reader: int) -> None:
    """Ends the program at the first signal without work to save, and at any second one."""
    first = True
    while data := os.read(reader, 1):
        number = data[0]
        if number not in SIGNALS:
            continue
        # The main thread may have dealt with it, and be done, before this one wakes.
        if not first or not (_state.deferred or _state.received):
            os.write(2, f"{Interrupted(number)}\n".encode())
            os._exit(128 + number)
        first = False
