"""Bounds on what is decoded: of one image, and of all images that threads decode at one time."""

import contextlib
import threading
from collections.abc import Iterator

MAX_PIXELS = 89_478_485  # that are decoded of one image; Pillow's own limit for bombs
MEGAPIXELS = MAX_PIXELS // 10**6

_PIXEL_BYTES = 8  # of memory: Pillow's RGB has 4, the result 3
_SMALL = 2**24  # bytes that need no reservation: the photographs of most data sets


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


def room_for_file(size: int) -> contextlib.AbstractContextManager[None]:
    """Returns a context that waits, before a large file is read, until others are decoded.

    It ends when the file's content is no longer needed.
    """
    return _FILES.reserve(size) if size > _SMALL else contextlib.nullcontext()


@contextlib.contextmanager
def room_for_pixels() -> Iterator[None]:
    """Ends, for one image in this thread, the reservation that `check_pixels` makes."""
    with contextlib.ExitStack() as _thread.reserved:
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
    if needed > _SMALL and reserved is not None:
        _thread.reserved = None  # a second reservation could wait for a thread that waits for this
        reserved.enter_context(_PIXELS.reserve(needed))
