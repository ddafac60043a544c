"""Output on the terminal: log lines, errors and progress. None of it ends a program."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO

from dkse_jax.distributed import processes
from dkse_jax.errors import UserError
from dkse_jax.text import plain_text


def log(line: str) -> None:
    """Prints a line as plain text, flushed; of several processes, only process 0 prints."""
    if processes.is_first():
        say(plain_text(line))


def tell(error: UserError) -> None:
    """Prints an error's sentences to stderr as plain text, since they may contain file names."""
    for sentence in error.args:
        say(plain_text(str(sentence)), sys.stderr)


def say(text: str, stream: TextIO | None = None, end: str = "\n") -> None:
    """Prints text to a stream, sys.stdout by default, and flushes it; raises no error of a stream.

    Characters that the stream's encoding lacks become "?". After an error, as where nobody reads a
    pipe any more or a disk is full, the stream's later text is dropped.
    """
    stream = stream or sys.stdout
    if stream is None:  # closed before the program began
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(text.encode(encoding, "replace").decode(encoding) + end)
    except (OSError, ValueError):  # a ValueError of a closed stream
        _discard(stream)
    flush(stream)


def flush(stream: TextIO | None) -> None:
    """Flushes a stream; after an error its text, and what follows, is dropped."""
    if stream is None:
        return
    try:
        stream.flush()
    except BlockingIOError:  # a full pipe that does not wait: the text follows later
        pass
    except (OSError, ValueError):
        _discard(stream)


def claim_descriptors() -> None:
    """Opens the null device for each of stdin, stdout and stderr that is closed.

    Otherwise a file of ours would get the number 2, to which libraries print their warnings.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _discard(stream: TextIO) -> None:
    """Sends what a stream holds, and all that is written to it later, to the null device."""
    with contextlib.suppress(OSError, ValueError):  # not all streams have a descriptor
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def with_progress[T](
    items: Iterable[T],
    total: int,
    doing: str,
    size: Callable[[T], int] = lambda item: 1,
    unit: str = "",
) -> Iterator[T]:
    """Yields the items, with a progress line on stderr once that takes longer than two seconds.

    Args:
        items: computed on demand.
        total: the sum of their sizes.
        doing: the beginning of the line, such as "painting pictures".
        size: of an item, such as the number of images of a batch.
        unit: of the sizes, to show how many a second are done; "" to show none.
    """
    start = shown = time.monotonic()
    done, begun = 0, False
    try:
        for item in items:
            done += size(item)
            now = time.monotonic()
            if now - start > 2 and (now - shown > 1 or done == total):
                rate = f"{done / (now - start):.1f} {unit}/s, " if unit else ""
                rest = time_left(now - start, done, total - done)
                line = f"{doing}: {done} of {total}, {rate}{rest}"
                say(f"\r{line} left".ljust(72), sys.stderr, end="")
                shown, begun = now, True
            yield item
    finally:
        if begun:
            say("", sys.stderr)


def time_left(elapsed: float, done: float, rest: float) -> str:
    """Formats the time that the rest takes at the pace of what is done in `elapsed` seconds."""
    return duration(rest * elapsed / done)


def duration(seconds: float) -> str:
    """Formats seconds as in "40 s", "12 min" or "3 h 20 min"."""
    if round(seconds) < 60:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
