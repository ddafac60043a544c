"""The file data.npy of a workdir: one row for each example of the run's data and their history.

An array of NumPy, followed by its digest. It is replaced as a whole: a reader finds the old rows or
the new.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dkse_jax.errors import UserError
from dkse_jax.files import explain_disk_errors, reason_of, replacing

FILE = "data.npy"
_DIGEST_BYTES = 16


@contextlib.contextmanager
def opened(workdir: Path, dtype: np.dtype) -> Iterator[Callable[[int], np.ndarray]]:
    """Yields read(count), which returns the next rows, fewer at the end; verifies the whole file.

    Args:
        workdir: of a run; it has the file.
        dtype: of the rows.

    Raises:
        UserError: the file is damaged, or its rows are of another type.
    """
    path = workdir / FILE
    try:
        with path.open("rb") as file:
            rest, found = _read_header(file)
            size = file.tell() + rest * dtype.itemsize + _DIGEST_BYTES
            if found != dtype or path.stat().st_size != size:
                raise ValueError("it has another form or length")
            digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)

            def read(count: int) -> np.ndarray:
                nonlocal rest
                count = min(count, rest)
                data = file.read(count * dtype.itemsize)
                digest.update(data)
                rest -= count
                return np.frombuffer(data, dtype, count)

            yield read
            while rest:
                read(2**16)
            if file.read() != digest.digest():
                raise ValueError("its checksum is wrong")
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(
            f'"{path}" is damaged ({reason_of(error)}): restore it; or remove it, and the data are'
            " compared by names and labels alone, once"
        ) from error


def _read_header(file: BinaryIO) -> tuple[int, np.dtype]:
    try:
        np.lib.format.read_magic(file)
        (length,), _, dtype = np.lib.format.read_array_header_1_0(file)
    except Exception as error:  # a broken header makes NumPy raise nearly any type
        raise ValueError("its header is broken") from error
    return length, dtype


def load(workdir: Path, dtype: np.dtype) -> np.ndarray | None:
    """Reads all rows; None where there is no file. Raises UserError as `opened`."""
    if not (workdir / FILE).exists():
        return None
    with opened(workdir, dtype) as read:
        return np.array(read(2**62))  # writable


def write(workdir: Path, rows: np.ndarray) -> None:
    """Replaces the rows. Raises UserError where the disk is full or cannot be written."""
    path = workdir / FILE
    with (
        explain_disk_errors("cannot write", path),
        replacing(path, shared=True) as draft,
        draft.open("wb") as file,
    ):
        np.lib.format.write_array(file, rows, version=(1, 0), allow_pickle=False)
        file.write(hashlib.blake2b(rows.tobytes(), digest_size=_DIGEST_BYTES).digest())
