"""Output on the terminal: log lines and progress."""

import sys
import time
from collections.abc import Iterable, Iterator

from dkse_jax.distributed import processes
from dkse_jax.text import plain_text


def log(line: str) -> None:
    """Prints a line as plain text, flushed; of several processes, only process 0 prints."""
    if processes.is_first():
        print(plain_text(line), flush=True)


def with_progress[T](items: Iterable[T], total: int, doing: str) -> Iterator[T]:
    """Yields the items, with a progress line on stderr once that takes longer than two seconds.

    Args:
        items: computed on demand.
        total: their number.
        doing: the beginning of the line, such as "painting pictures".
    """
    start = shown = time.monotonic()
    for done, item in enumerate(items, 1):
        now = time.monotonic()
        if now - start > 2 and (now - shown > 1 or done == total):
            left = (now - start) / done * (total - done)
            end = "\n" if done == total else ""
            line = f"\r{doing}: {done} of {total}, {left:.0f} s left  "
            print(line, end=end, file=sys.stderr, flush=True)
            shown = now
        yield item
