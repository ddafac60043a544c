"""The embedded data set: synthetic images, painted on first use and kept in the user's cache."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dkse_jax.console import with_progress
from dkse_jax.data.sources import Source
from dkse_jax.data.sources.painting import KINDS, PAINTER_VERSION, paint
from dkse_jax.errors import UserError
from dkse_jax.files import cache_folder, replacing

# (seed, split, kind, index, size), which determine a picture.
Picture = tuple[int, str, str, int, int]


def load_splits(size: int, kinds: int, per_kind: dict[str, int], seed: int) -> dict[str, Source]:
    """Loads the splits named in per_kind (train, val, test), painted or from the cache.

    Args:
        size: side in pixels of the square images.
        kinds: number of classes, the first of KINDS.
        per_kind: images of each class in each split; a larger split contains the smaller one.
        seed: of the images.

    Raises:
        UserError: kinds or a count is out of range.
    """
    if not 2 <= kinds <= len(KINDS):
        raise UserError(
            f"config.data.synthetic.kinds is {kinds}; choose a number from 2 to {len(KINDS)}"
        )
    for split, count in per_kind.items():
        if count < 1:
            raise UserError(f"config.data.synthetic.{split}_per_kind is {count}; choose 1 or more")
    names = tuple(sorted(list(KINDS)[:kinds]))
    wanted = [
        [(seed, split, name, index, size) for index in range(count)]
        for split, count in per_kind.items()
        for name in names
    ]
    pictures = _load_all(wanted)
    return {
        split: _source(names, split, count, pictures[row * kinds : (row + 1) * kinds])
        for row, (split, count) in enumerate(per_kind.items())
    }


def _source(names: tuple[str, ...], split: str, count: int, pictures: list[np.ndarray]) -> Source:
    """Builds one split; pictures has an array (count, H, W, 3) for each of the names."""

    def read(index: int, min_side: int | None) -> np.ndarray:
        return np.array(pictures[index // count][index % count])

    ids = tuple(f"{split}/{name}/{index:05d}" for name in names for index in range(count))
    labels = np.repeat(np.arange(len(names), dtype=np.int32), count)
    return Source(class_names=names, ids=ids, labels=labels, groups=ids, read=read)


def _load_all(wanted: list[list[Picture]]) -> list[np.ndarray]:
    """Loads an array (N, H, W, 3) for each list of pictures of one class and split, a file each."""
    kept = [_read(_file(group), _shape(group)) for group in wanted]
    pairs = list(zip(wanted, kept, strict=True))
    jobs = [job for group, array in pairs if array is None for job in group]
    painted = with_progress(_paint_all(jobs), len(jobs), "painting pictures")
    arrays = []
    for group, array in pairs:
        if array is None:
            array = np.empty(_shape(group), np.uint8)
            for index in range(len(group)):
                array[index] = next(painted)
            _write(_file(group), array)
        arrays.append(array)
    return arrays


def _shape(group: list[Picture]) -> tuple[int, int, int, int]:
    size = group[0][-1]
    return len(group), size, size, 3


def _file(group: list[Picture]) -> Path:
    """Returns the cache file of a class and split, named after all that determines its content."""
    seed, split, kind, _, size = group[0]
    name = f"v{PAINTER_VERSION}-{size}px-seed{seed}-{split}-{kind}-{len(group)}.npy"
    return cache_folder("synthetic") / name


def _read(file: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Maps the file into memory; returns None if it is missing or damaged."""
    try:
        array = np.lib.format.open_memmap(file, mode="r")
    except (OSError, ValueError):
        return None
    return array if (array.shape, array.dtype) == (shape, np.uint8) else None


def _write(file: Path, array: np.ndarray) -> None:
    """Writes the pictures to the cache if possible, atomically, since a run may be killed."""
    with contextlib.suppress(OSError):  # read-only or full: the pictures remain in memory only
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file, shared=True) as draft, draft.open("wb") as stream:
            np.save(stream, array)


def _paint_all(jobs: list[Picture]) -> Iterator[np.ndarray]:
    """Yields the pictures in order, painted in several processes where it pays.

    The processes are new interpreters that import only this module. A multiprocessing pool would
    run the caller's main script in each of them, and thus import JAX.
    """
    workers = min(os.cpu_count() or 1, len(jobs) // 100)
    if workers < 2:
        yield from (_paint_one(*job) for job in jobs)
        return
    program = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
    command = [sys.executable, "-c", program]
    with contextlib.ExitStack() as stack:
        outputs = []
        for worker in range(workers):
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(jobs[worker::workers]).encode())
            process.stdin.close()
            outputs.append(process.stdout)
        for number, (*_, size) in enumerate(jobs):
            data = outputs[number % workers].read(size * size * 3)
            if len(data) < size * size * 3:
                raise UserError("a process that painted pictures died: killed, or out of memory")
            yield np.frombuffer(data, np.uint8).reshape(size, size, 3)


def serve() -> None:
    """Paints as a child process: a JSON list of pictures on stdin, their bytes on stdout."""
    # The parent reports an interrupt itself.
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        for job in json.load(sys.stdin):
            sys.stdout.buffer.write(_paint_one(*job).tobytes())
            sys.stdout.buffer.flush()


def _paint_one(seed: int, split: str, kind: str, index: int, size: int) -> np.ndarray:
    key = hashlib.sha256(f"{seed}/{split}/{kind}/{index}".encode()).digest()
    return paint(kind, size, np.random.default_rng(int.from_bytes(key)))
