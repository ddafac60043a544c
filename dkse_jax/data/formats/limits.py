"""Bounds on what is decoded: of one image, and of all images that threads decode at one time."""

import contextlib
import threading
from collections.abc import Iterator

MAX_PIXELS = 89_478_485  # that are decoded of one image; Pillow's own limit for bombs
MEGAPIXELS = MAX_PIXELS // 10**6

_PIXEL_BYTES = 8  # of memory: Pillow's RGB has 4, the result 3
# Bytes that one image needs without waiting for others: few where many threads share a small
# memory, else those of a photograph, so that no core is idle.
_FEW, _MANY, _NEVER = 2**20, 2**28, 2**63


class TooManyPixels(ValueError):
    """An image, or the part of it that would be decoded, has too many pixels."""

    def __init__(self, size: tuple[int, int]):
        self.size = size
        super().__init__(f"{size[0]} x {size[1]} pixels are more than {MAX_PIXELS:,}")


class _Budget:
    """Memory that the threads of this process share: who finds too little waits for the others."""

    def __init__(self, size: int):
        self._size = self._free = size
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        size = min(size, self._size)  # what is larger runs alone, instead of never
        with self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()


# A thread reserves for its file before it does for its pixels, so that no two wait for each other.
_FILES, _PIXELS = _Budget(300 * 10**6), _Budget(MAX_PIXELS * _PIXEL_BYTES)
_thread = threading.local()


@contextlib.contextmanager
def room_for_one(file_size: int) -> Iterator[None]:
    """Keeps the memory of all images that threads have in this context at one time below 1.1 GB.

    Waits, before a file is read, until those of other threads leave room, and again before its
    pixels are decoded, which `check_pixels` announces.
    """
    with (
        _FILES.reserve(file_size) if file_size > _FEW else contextlib.nullcontext(),
        room_for_pixels(_FEW),
    ):
        yield


@contextlib.contextmanager
def room_for_pixels(most: int = _MANY) -> Iterator[None]:
    """Ends, for one image in this thread, the reservation that `check_pixels` makes.

    Of two contexts in one thread, the outer one counts.

    Args:
        most: bytes up to which nothing is reserved.
    """
    if getattr(_thread, "reserved", None) is not None:
        yield
        return
    with contextlib.ExitStack() as _thread.reserved:
        _thread.most = most
        try:
            yield
        finally:
            _thread.reserved = None


def check_pixels(size: tuple[int, int], more: int = 0) -> None:
    """Waits for the memory to decode this many pixels (width, height); call it before decoding.

    Args:
        size: of the pixels.
        more: bytes that decoding needs beside them.

    Raises:
        TooManyPixels: they are more than MAX_PIXELS.
    """
    pixels = size[0] * size[1]
    if pixels > MAX_PIXELS:
        raise TooManyPixels(size)
    needed = pixels * _PIXEL_BYTES + more
    reserved = getattr(_thread, "reserved", None)
    if reserved is not None and needed > _thread.most:
        _thread.most = _NEVER  # a second reservation could wait for one that waits for the first
        reserved.enter_context(_PIXELS.reserve(needed))
