"""Reading of pictures ahead of the network, in threads and in order."""

import functools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from dkse_jax.data.decode import BadImage, decode
from dkse_jax.data.pipeline import in_threads
from dkse_jax.data.transform import Transform
from dkse_jax.files import reason_of
from dkse_jax.prediction.item import Item
from dkse_jax.text import plain_text


class Read(NamedTuple):
    """A picture as the network sees it, or why there is none.

    Attributes:
        item: that was read.
        views: uint8 (V, S, S, 3), V >= 1; (0, S, S, 3) of a file that cannot be read.
        note: remarks on how it was read, or the reason of the failure.
        opened: False if not even its bytes could be read, as when a drive is gone.
    """

    item: Item
    views: np.ndarray
    note: str
    opened: bool = True


def read(item: Item, transform: Transform) -> Read:
    """Reads a picture; never raises for a file, whatever is wrong with it."""
    nothing = np.zeros((0, transform.size, transform.size, 3), np.uint8)
    if item.reason:
        return Read(item, nothing, plain_text(item.reason))
    try:
        content = item.read()
    except Exception as error:
        return Read(item, nothing, _reason(error, item.file), opened=False)
    try:
        found = decode(content, transform.size, item.file, item.page, transform.colour_profiles)
    except (BadImage, MemoryError) as error:
        return Read(item, nothing, _reason(error, item.file))
    tiled = transform.views == "tiles"
    views = transform.tiles(found.pixels) if tiled else transform.view(found.pixels)[None]
    return Read(item, views, plain_text("; ".join(found.facts.remarks)))


def read_ahead(
    items: Iterable[Item], transform: Transform, *, threads: int, ahead: int
) -> Iterator[Read]:
    """Yields the items, read in order; at most `ahead` of them are read before they are needed."""
    reader = functools.partial(read, transform=transform)
    return in_threads(items, reader, threads, ahead - 1)


def _reason(error: Exception, name: str) -> str:
    """Returns an error's text in one line, without the name of the file, which the row has."""
    if isinstance(error, MemoryError):
        return "there is too little memory for it"
    if isinstance(error, OSError) and error.strerror:
        return plain_text(error.strerror)
    start = plain_text(f'the image "{name}" cannot be read: ')
    return plain_text(str(error).removeprefix(start).replace("\n", " ")) or reason_of(error)
