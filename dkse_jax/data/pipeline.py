"""Batches as a function of (seed, step): resuming is starting at a later step."""

import collections
import concurrent.futures
import functools
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
from ml_collections import ConfigDict

from dkse_jax.data.augment import augment
from dkse_jax.data.permutation import permuted
from dkse_jax.data.sources import Source
from dkse_jax.data.transform import Transform, autocontrast, min_side_for_crops
from dkse_jax.text import as_bytes

Batch = dict[str, np.ndarray]


class Images(Protocol):
    """Images that are read by index, such as a Source."""

    def __len__(self) -> int: ...

    def read(self, index: int, min_side: int | None, /) -> np.ndarray:
        """Returns uint8 (H, W, 3); see `Source.read`."""


LISTED = 2**16  # up to this number of examples, the order is a list
_LINES = 2**12  # hashed at a time
_AHEAD = 2  # batches that wait, besides one for each thread


def training_batches(
    source: Source,
    config: ConfigDict,
    *,
    first_step: int,
    last_step: int,
    rows: np.ndarray | None = None,
) -> Iterator[Batch]:
    """Yields the batches of the updates first_step ... last_step, counted from 1.

    Every epoch visits every example once, in an order of its own, and may end inside a batch. A
    batch has image uint8 (R, S, S, 3) and label (R,) int32 of its examples `rows`, by default all
    B, and index (B,), the indices of all in the source. An unreadable image raises BadImage.
    """
    size, batch_size = config.data.image_size, config.train.batch_size
    own = np.arange(batch_size) if rows is None else rows
    area_min = config.augment.crop_area_min if config.augment.enabled else 1.0
    min_side = min_side_for_crops(size, area_min)

    def make_view(epoch: int, index: int) -> np.ndarray:
        image = source.read(index, min_side)
        if config.data.levels:
            image = autocontrast(image)
        return augment(image, size, config.augment, _rng(config.seed, epoch, index))

    def make_batch(step: int) -> Batch:
        positions = range((step - 1) * batch_size, step * batch_size)
        examples = [place(position, len(source), config.seed) for position in positions]
        images = [make_view(*examples[row]) for row in own]
        index = np.array([index for _, index in examples])
        return {"image": np.stack(images), "label": source.labels[index[own]], "index": index}

    return in_threads(range(first_step, last_step + 1), make_batch, config.data.threads)


def evaluation_batches(
    source: Images,
    transform: Transform,
    *,
    batch_size: int,
    threads: int,
    rows: np.ndarray | None = None,
) -> Iterator[Batch]:
    """Yields all images in order; the last batch is padded with zeros.

    A batch has image uint8 (R, S, S, 3) of its examples `rows`, by default all B, and real (B,),
    False for padding. An unreadable image raises BadImage.
    """
    own = np.arange(batch_size) if rows is None else rows

    def make_batch(start: int) -> Batch:
        images = np.zeros((len(own), transform.size, transform.size, 3), np.uint8)
        real = np.arange(start, start + batch_size) < len(source)
        for slot, row in enumerate(own):
            if real[row]:
                images[slot] = transform.view(source.read(start + int(row), transform.size))
        return {"image": images, "real": real}

    return in_threads(range(0, len(source), batch_size), make_batch, threads)


def tile_batches(
    source: Images,
    transform: Transform,
    *,
    batch_size: int,
    threads: int,
    rows: np.ndarray,
) -> Iterator[Batch]:
    """Yields all images in order, each as its tiles; the last batch has fewer than batch_size.

    A batch has image uint8 (T, S, S, 3), the tiles of its examples `rows` one after another, and
    tiles (B,), the number of each of these examples, 0 of others.
    """

    def make_batch(start: int) -> Batch:
        tiles = np.zeros(batch_size, np.int32)
        views = [np.zeros((0, transform.size, transform.size, 3), np.uint8)]
        for row in rows[rows < len(source) - start]:
            views.append(transform.tiles(source.read(start + int(row), transform.size)))
            tiles[row] = len(views[-1])
        return {"image": np.concatenate(views), "tiles": tiles}

    return in_threads(range(0, len(source), batch_size), make_batch, threads)


def place(position: int, examples: int, seed: int) -> tuple[int, int]:
    """Returns the (epoch, index) of the example at a position in the endless training order.

    Each epoch has its own permutation; for many examples it is never stored, and takes no memory.
    """
    epoch, offset = divmod(position, examples)
    if examples <= LISTED:
        return epoch, int(_order(seed, epoch, examples)[offset])
    return epoch, permuted(offset, examples, _keys(seed, epoch))


def batch_hash(source: Source, index: np.ndarray) -> str:
    """Returns twelve hexadecimal digits that depend on a batch's examples and their order."""
    ids = "\n".join(source.ids[i] for i in index)
    return hashlib.sha256(as_bytes(ids)).hexdigest()[:12]


def fingerprint(source: Source) -> str:
    """Returns 64 hexadecimal digits that depend on every class name, id and label of a split."""
    some_labels = (source.labels[i : i + _LINES].tolist() for i in range(0, len(source), _LINES))
    labels = map(str, itertools.chain.from_iterable(some_labels))
    lines = itertools.chain(source.class_names, source.ids, labels)
    digest, separator = hashlib.sha256(), ""
    for some in itertools.batched(lines, _LINES):  # never all ids in memory
        digest.update(as_bytes(separator + "\n".join(some)))
        separator = "\n"
    return digest.hexdigest()


@functools.lru_cache(maxsize=4)  # a batch touches two epochs at most, and threads run ahead
def _order(seed: int, epoch: int, examples: int) -> np.ndarray:
    return _rng(seed, epoch).permutation(examples)


@functools.lru_cache(maxsize=4)
def _keys(seed: int, epoch: int) -> tuple[int, ...]:
    return tuple(_rng(seed, epoch).integers(2**64, size=8, dtype=np.uint64).tolist())


def _rng(*entropy: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))


def in_threads[K, T](
    keys: Iterable[K], make: Callable[[K], T], threads: int, ahead: int | None = None
) -> Iterator[T]:
    """Yields make(key) in order, made in threads; `ahead`, by default a few, before it is needed.

    What `make` raises is raised in the place of its result. Then, and when the iterator is closed,
    nothing more is begun.
    """
    executor = concurrent.futures.ThreadPoolExecutor(threads)
    waiting: collections.deque[concurrent.futures.Future[T]] = collections.deque()
    try:
        for key in keys:
            waiting.append(executor.submit(make, key))
            if len(waiting) > (threads + _AHEAD if ahead is None else ahead):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # without waiting: a large image takes long
        executor.shutdown(wait=False, cancel_futures=True)
