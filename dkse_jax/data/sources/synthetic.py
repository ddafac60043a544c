"""The embedded data set: painted pictures, made on the first use and kept in the user's cache."""

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
from dkse_jax.files import cache_folder

# (seed, split, kind, index, size): all that a picture depends on.
Picture = tuple[int, str, str, int, int]


def load_splits(size: int, kinds: int, per_kind: dict[str, int], seed: int) -> dict[str, Source]:
    """The splits named in per_kind (train, val, test), painted or read from the cache.

    Args:
        size: of the pictures, which are square, in pixels.
        kinds: how many of KINDS, from the first.
        per_kind: pictures of each kind in each split. A split that grows keeps its pictures.
        seed: another seed, other pictures.

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
    """One split; pictures holds an array (count, H, W, 3) for each of the names."""

    def read(index: int, min_side: int | None) -> np.ndarray:
        return np.array(pictures[index // count][index % count])

    ids = tuple(f"{split}/{name}/{index:05d}" for name in names for index in range(count))
    labels = np.repeat(np.arange(len(names), dtype=np.int32), count)
    return Source(class_names=names, ids=ids, labels=labels, groups=ids, read=read)


def _load_all(wanted: list[list[Picture]]) -> list[np.ndarray]:
    """An array (N, H, W, 3) for each list of pictures: of one kind and split, in one file."""
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
    """The cache file of a kind and split: named after all that its content depends on."""
    seed, split, kind, _, size = group[0]
    name = f"v{PAINTER_VERSION}-{size}px-seed{seed}-{split}-{kind}-{len(group)}.npy"
    return cache_folder("synthetic") / name


def _read(file: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The file, memory-mapped; None where there is none, or one that is damaged."""
    try:
        array = np.lib.format.open_memmap(file, mode="r")
    except (OSError, ValueError):
        return None
    return array if (array.shape, array.dtype) == (shape, np.uint8) else None


def _write(file: Path, array: np.ndarray) -> None:
    """Keeps the pictures if it can; under another name first: a killed run leaves no half file."""
    partial = file.with_suffix(f".{os.getpid()}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            np.save(stream, array)
        partial.replace(file)
    except OSError:  # read-only or full: the pictures stay in memory
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _paint_all(jobs: list[Picture]) -> Iterator[np.ndarray]:
    """Paints in as many processes as pay off; yields in order.

    The processes are new interpreters that import this module only. A multiprocessing pool would
    run the caller's main script in each of them once more, and so import JAX.
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
    """A painting process: a JSON list of pictures on stdin, their bytes on stdout, in order."""
    # An interrupted parent has said so already.
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        for job in json.load(sys.stdin):
            sys.stdout.buffer.write(_paint_one(*job).tobytes())
            sys.stdout.buffer.flush()


def _paint_one(seed: int, split: str, kind: str, index: int, size: int) -> np.ndarray:
    key = hashlib.sha256(f"{seed}/{split}/{kind}/{index}".encode()).digest()
    return paint(kind, size, np.random.default_rng(int.from_bytes(key)))
