"""Watchdog: ends this process with a reason when another one is gone or none makes progress.

JAX's own heartbeats report neither why a process has ended nor that one hangs. If process 0 is
killed, JAX is faster: it aborts the others as soon as their connections break.
"""

import collections
import contextlib
import dataclasses
import faulthandler
import json
import os
import socket
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import jax

from dkse_jax.console import say
from dkse_jax.errors import UserError
from dkse_jax.text import plain_text

PERIOD = 1.0  # seconds between two checks of the others
GONE_AFTER = 20.0  # seconds without a sign of life
STUCK_AFTER = 40.0  # seconds without progress, or ten times the median interval
FIRST_BEATS, FIRST_STUCK_AFTER = 3, 600.0  # during the first beats, data and connections open
LINGER = 4.0  # seconds for the reason of a process that ends to reach the others

Sign = dict[str, Any]  # of life: host, looks, beats, and "ended", the reason of its end


@dataclasses.dataclass
class _Progress:
    beats: int = 0
    last: float = 0.0  # time of the last beat, by the monotonic clock
    paused: bool = True  # no beat is expected
    intervals: collections.deque[float] = dataclasses.field(
        default_factory=lambda: collections.deque(maxlen=100)
    )

    def limit(self) -> float:
        """Returns the seconds after which the main thread counts as stuck."""
        if len(self.intervals) < FIRST_BEATS:
            return FIRST_STUCK_AFTER
        return max(STUCK_AFTER, 10 * statistics.median(self.intervals))


_progress = _Progress()  # of this process's main thread


def heartbeat() -> None:
    """Records that the main thread has finished a step or a batch."""
    now = time.monotonic()
    if not _progress.paused:
        _progress.intervals.append(now - _progress.last)
    _progress.beats, _progress.last = _progress.beats + 1, now


@contextlib.contextmanager
def working(*, paused: bool = False) -> Iterator[None]:
    """Expects regular calls of `heartbeat` inside; without them, this process counts as stuck."""
    before, _progress.paused, _progress.last = _progress.paused, paused, time.monotonic()
    try:
        yield
    finally:
        _progress.paused, _progress.last = before, time.monotonic()


def pause() -> contextlib.AbstractContextManager[None]:
    """Expects no heartbeat inside, for work that may take long, such as a checkpoint."""
    return working(paused=True)


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """Publishes this process's signs of life and progress, and watches those of the others."""
    sign: Sign = {"host": socket.gethostname(), "looks": 0, "beats": 0, "ended": ""}
    try:
        _exchange(sign)
    except (AttributeError, ImportError, TypeError) as error:
        say(f"processes are not watched, by this version of JAX: {error}", sys.stderr)
        yield
        return
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(sign, over), daemon=True)
    watcher.start()
    try:
        yield
    except UserError as error:
        over.set()
        _leave_reason(sign, "; ".join(map(str, error.args)))
        raise
    except Exception as error:
        # An exchange with a process that is gone fails as well: the watcher names it, and exits.
        time.sleep(GONE_AFTER + LINGER)
        _leave_reason(sign, f"{type(error).__name__}: {error}".partition("\n")[0])
        raise
    finally:
        over.set()
        watcher.join()


def _exchange(sign: Sign) -> tuple[int, dict[int, Sign]]:
    """Publishes this process's sign; returns its index, and all signs by index.

    They are in the key-value store of jax.distributed, on process 0, which has no public API.
    """
    from jax._src.distributed import global_state as state

    client: Any = state.client
    client.key_value_set(f"sign/{state.process_id}", json.dumps(sign), allow_overwrite=True)
    found = client.key_value_dir_get("sign/")
    return state.process_id, {int(key.rpartition("/")[2]): json.loads(text) for key, text in found}


def _watch(sign: Sign, over: threading.Event) -> None:
    signs: dict[int, Sign] = {}
    seen: dict[int, tuple[Sign, float]] = {}  # each process's last sign and its time
    while not over.wait(PERIOD):
        sign.update(looks=sign["looks"] + 1, beats=_progress.beats)
        try:
            own, signs = _exchange(sign)
        except jax.errors.JaxRuntimeError:
            if not over.is_set():
                _end(f"{_name(signs, 0)}, which coordinates the others, is gone")
            return
        now = time.monotonic()
        for index, other in signs.items():
            if other["ended"] and index != own:
                if over.wait(LINGER / 2):  # the main thread ends for the same reason
                    return
                _end(f"{_name(signs, index)} has ended: {other['ended']}")
            if index not in seen or seen[index][0] != other:
                seen[index] = other, now
            elif now - seen[index][1] > GONE_AFTER:
                _end(f"{_name(signs, index)} is gone: no sign of life for {GONE_AFTER:.0f} s")
        seconds = now - _progress.last
        if not _progress.paused and seconds > _progress.limit():
            least = min(other["beats"] for other in signs.values())
            behind = [index for index, other in signs.items() if other["beats"] == least]
            who = ", ".join(_name(signs, index) for index in behind)
            reason = f"no step has ended for {seconds:.0f} s; stuck: {who}"
            if own in behind:
                faulthandler.dump_traceback(file=sys.stderr)
                _leave_reason(sign, reason)
            else:
                time.sleep(LINGER)
            _end(reason)


def _name(signs: dict[int, Sign], index: int) -> str:
    """Returns a name such as "process 3 on host-b"."""
    return f"process {index} on {signs[index]['host']}" if index in signs else f"process {index}"


def _leave_reason(sign: Sign, reason: str) -> None:
    """Publishes why this process is about to end: the others end for the same reason."""
    sign["ended"] = reason
    with contextlib.suppress(jax.errors.JaxRuntimeError):  # process 0 is gone
        if _exchange(sign)[0] == 0:  # the signs go with process 0
            time.sleep(LINGER)


def _end(reason: str) -> None:
    """Exits at once, since the main thread may wait forever."""
    with contextlib.suppress(OSError):  # nobody reads it
        os.write(2, f"{plain_text(reason)}\n".encode())
    os._exit(1)
