"""Evaluation of images by several views each: how they are packed into batches, and averaged."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from dkse_jax.data.pipeline import Batch
from dkse_jax.distributed import processes
from dkse_jax.sharding import indices_of_processes, local_indices


def packed(batches: Iterable[Batch], batch_size: int, mesh: Mesh) -> Iterator[Batch]:
    """Packs the tiles of each batch of images into as few batches of tiles as possible.

    Collective if the mesh has devices of several processes, which read different images: they
    exchange the numbers of tiles, and thus yield equally many batches.

    Args:
        batches: of `tile_batches`.
        batch_size: B, of images and of tiles.
        mesh: the devices that a batch is divided over.

    Yields:
        Batches with image uint8 (R, S, S, 3), the tiles of this process, padded with zeros; real
        (B,), False for padding; owner (B,), the row in the batch of images of each tile, for all
        processes; and last, whether the next one is of other images.
    """
    parts, own = indices_of_processes(mesh, batch_size), local_indices(mesh, batch_size)
    for batch in batches:
        tiles = processes.merged(batch["tiles"]) if len(parts) > 1 else batch["tiles"]
        owners = place_tiles(tiles, parts)
        for number, owner in enumerate(owners):
            views = batch["image"][number * len(own) : (number + 1) * len(own)]
            missing = np.zeros((len(own) - len(views), *views.shape[1:]), np.uint8)
            yield {
                "image": np.concatenate([views, missing]),
                "real": owner >= 0,
                "owner": owner,
                "last": np.array(number == len(owners) - 1),
            }


def place_tiles(tiles: np.ndarray, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Assigns tiles to the rows of batches (P, B): the image of each row, -1 for none.

    Args:
        tiles: (B,), the number of tiles of each image.
        parts: the rows of each process, which has its images and their tiles in these rows.
    """
    queues = [np.repeat(part, tiles[part]) for part in parts]
    pairs = list(zip(parts, queues, strict=True))
    batches = max(-(-len(queue) // len(part)) for part, queue in pairs)
    owners = np.full((batches, len(tiles)), -1)
    for part, queue in pairs:
        rows = np.full(batches * len(part), -1)
        rows[: len(queue)] = queue
        owners[:, part] = rows.reshape(batches, len(part))
    return owners


def over_images(
    calls: Iterable[tuple[Any, Batch]], mean: Callable[[np.ndarray], np.ndarray]
) -> Iterator[Any]:
    """Yields the results for each batch of images: those of each image's tiles are averaged.

    Args:
        calls: the results for the real tiles of each batch of `packed`, and the batch.
        mean: see `inference.stream`; an image of one tile has that tile's result.
    """
    parts, owners = [], []
    for results, batch in calls:
        parts.append(results)
        owners.append(batch["owner"][batch["real"]])
        if not batch["last"]:
            continue
        owner = np.concatenate(owners)
        order = np.argsort(owner, kind="stable")  # a process has the tiles of an image in order
        starts = np.flatnonzero(np.diff(owner[order], prepend=-1))

        def averaged(*arrays: np.ndarray, order=order, starts=starts) -> np.ndarray:
            views = np.split(np.concatenate(arrays)[order], starts[1:])
            return np.stack([mean(some) if len(some) > 1 else some[0] for some in views])

        yield jax.tree.map(averaged, *parts)
        parts, owners = [], []
