"""One picture that is to be classified, or a file that cannot be, wherever it comes from."""

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Item:
    """A picture of an input.

    Attributes:
        file: its id and the cell of the column file: a path relative to the input's root, with
            slashes, in NFC; of page n > 1 of a file with #n at the end. The same picture has the
            same id by every route.
        path: of the file on disk, or None of a member of an archive.
        read: returns the bytes of its file.
        stamp: changes when the file does: its size and time of change.
        page: its number in the file, from 1.
        reason: why it cannot be read, if that is known already.
    """

    file: str
    path: str | None
    read: Callable[[], bytes]
    stamp: str
    page: int = 1
    reason: str = ""
