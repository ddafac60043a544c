"""Ends this process, with a sentence that says why, when another one is gone or none gets on.

JAX's own heartbeats would end it too, but with a dump of C++ that names a task, and a process that
lives and hangs has a heartbeat.
"""

import collections
import contextlib
import ctypes
import dataclasses
import faulthandler
import os
import signal
import socket
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import jax

from dkse_jax.distributed import processes
from dkse_jax.errors import UserError
from dkse_jax.text import plain_text

PERIOD = 1.0  # seconds between two looks at the others
GONE_AFTER = 20.0  # seconds without a sign of life
STUCK_AFTER = 40.0  # seconds without progress, or ten times what it usually takes
FIRST_BEATS, FIRST_STUCK_AFTER = 3, 600.0  # before these, data and connections are opened
LINGER = 4.0  # seconds in which what one process says before it ends reaches the others


@dataclasses.dataclass
class _Pulse:
    beats: int = 0  # how often the main thread got on
    last: float = 0.0  # when it did, by the monotonic clock
    gaps: collections.deque[float] = dataclasses.field(
        default_factory=lambda: collections.deque(maxlen=100)
    )
    resting: bool = True  # what goes on may take as long as it needs

    def limit(self) -> float:
        """Seconds after which the main thread counts as stuck."""
        if len(self.gaps) < FIRST_BEATS:
            return FIRST_STUCK_AFTER
        return max(STUCK_AFTER, 10 * statistics.median(self.gaps))


_pulse = _Pulse()
_kept: list[Any] = []  # what C holds a pointer to


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """Inside, this process shows the others that it lives and gets on, and watches them."""
    over = threading.Event()
    processes.introduce()
    processes.barrier()
    if not processes.is_first():
        _say_why_jax_aborts(processes.name_of(0))
    watcher = threading.Thread(target=_watch, args=(over,), daemon=True)
    watcher.start()
    try:
        yield
    except UserError as error:
        over.set()
        _leave_word("; ".join(map(str, error.args)))
        raise
    except Exception as error:
        # An exchange with a process that is gone fails too: the watcher will say which, and end.
        time.sleep(GONE_AFTER + LINGER)
        _leave_word(f"{type(error).__name__}: {error}".partition("\n")[0])
        raise
    finally:
        over.set()
        watcher.join()


@contextlib.contextmanager
def working() -> Iterator[None]:
    """Inside, `heartbeat` is called again and again, or this process counts as stuck."""
    _pulse.last, _pulse.resting = time.monotonic(), False
    try:
        yield
    finally:
        _pulse.resting = True


@contextlib.contextmanager
def pause() -> Iterator[None]:
    """Inside `working`: what takes its time, such as a large checkpoint."""
    before, _pulse.resting = _pulse.resting, True
    try:
        yield
    finally:
        _pulse.last, _pulse.resting = time.monotonic(), before


def heartbeat() -> None:
    """The main thread got on: one step, or one batch."""
    now = time.monotonic()
    if not _pulse.resting:
        _pulse.gaps.append(now - _pulse.last)
    _pulse.beats, _pulse.last = _pulse.beats + 1, now


def _watch(over: threading.Event) -> None:
    seen: dict[int, tuple[str, float]] = {}  # by process: its last sign of life, and when it came
    beats: dict[int, int] = {}
    names: dict[int, str] = {}
    looks = 0
    while not over.wait(PERIOD):
        looks += 1
        now = time.monotonic()
        try:
            names = names or {i: processes.name_of(i) for i in range(processes.count())}
            processes.put("pulse", f"{looks} {_pulse.beats}")
            signs, ended = processes.texts("pulse"), processes.texts("ended")
        except jax.errors.JaxRuntimeError:
            if not over.is_set():
                _end(f"{names.get(0, 'process 0')}, which coordinates the others, is gone")
            return
        for number, reason in ended.items():
            if number != processes.index():
                if over.wait(LINGER / 2):  # the main thread says the same itself
                    return
                _end(f"{names[number]} has ended: {reason}")
        for number, sign in signs.items():
            beats[number] = int(sign.split()[1])
            if number not in seen or seen[number][0] != sign:
                seen[number] = sign, now
            elif now - seen[number][1] > GONE_AFTER:
                _end(f"{names[number]} is gone: no sign of life for {GONE_AFTER:.0f} s")
        if not _pulse.resting and now - _pulse.last > _pulse.limit():
            _end_stuck(now - _pulse.last, beats, names)


def _say_why_jax_aborts(first: str) -> None:
    """Puts a sentence in place of the dump with which JAX ends this process after process 0.

    It aborts in a thread of its own, the moment that the connection breaks; no handler of Python's
    would be called any more.
    """

    def on_abort(number: int) -> None:
        if not _answers(processes.coordinator()):
            _end(f"{first}, which coordinates the others, is gone")

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(on_abort)
    _kept.append(handler)
    ctypes.CDLL(None).signal(signal.SIGABRT, handler)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2):
            return True
    except OSError:
        return False


def _leave_word(reason: str) -> None:
    """Tells the others why this process is about to end: they end with the same words."""
    with contextlib.suppress(jax.errors.JaxRuntimeError):  # process 0, who would keep it, is gone
        processes.put("ended", reason)
    if processes.is_first():  # what it keeps must be read before it goes
        time.sleep(LINGER)


def _end_stuck(seconds: float, beats: dict[int, int], names: dict[int, str]) -> None:
    """Names those that are behind the others; all of them, if none is."""
    behind = [number for number in beats if beats[number] == min(beats.values())]
    who = ", ".join(names[number] for number in behind)
    reason = f"no step has ended for {seconds:.0f} s; stuck: {who}"
    if processes.index() in behind:
        faulthandler.dump_traceback(file=sys.stderr)
        _leave_word(reason)
    else:
        time.sleep(LINGER)
    _end(reason)


def _end(reason: str) -> None:
    """At once: the main thread may wait for what will never come."""
    os.write(2, f"{plain_text(reason)}\n".encode())
    os._exit(1)
