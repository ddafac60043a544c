"""Output on the terminal: log lines and progress."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator

from dkse_jax.distributed import processes
from dkse_jax.text import plain_text


def log(line: str) -> None:
    """Prints a line as plain text, flushed; of several processes, only process 0 prints."""
    if processes.is_first():
        print(plain_text(line), flush=True)


def with_progress[T](
    items: Iterable[T], total: int, doing: str, size: Callable[[T], int] = lambda item: 1
) -> Iterator[T]:
    """Yields the items, with a progress line on stderr once that takes longer than two seconds.

    Args:
        items: computed on demand.
        total: the sum of their sizes.
        doing: the beginning of the line, such as "painting pictures".
        size: of an item, such as the number of images of a batch.
    """
    start = shown = time.monotonic()
    done, begun = 0, False
    try:
        for item in items:
            done += size(item)
            now = time.monotonic()
            if now - start > 2 and (now - shown > 1 or done == total):
                line = f"{doing}: {done} of {total}, {time_left(now - start, done, total - done)}"
                print(f"\r{line} left".ljust(72), end="", file=sys.stderr, flush=True)
                shown, begun = now, True
            yield item
    finally:
        if begun:
            print(file=sys.stderr, flush=True)


def time_left(elapsed: float, done: float, rest: float) -> str:
    """Formats the time that the rest takes at the pace of what is done in `elapsed` seconds."""
    return duration(rest * elapsed / done)


def duration(seconds: float) -> str:
    """Formats seconds as in "40 s", "12 min" or "3 h 20 min"."""
    if round(seconds) < 60:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
