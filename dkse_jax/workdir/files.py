"""Files that a kill or a power cut leaves whole."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dkse_jax.errors import UserError


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file's content: a reader, whenever it comes, meets the old text or the new."""
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(text, encoding="utf-8")
    sync(draft)
    draft.replace(path)
    sync(path.parent)


@contextlib.contextmanager
def disk_trouble_told(doing: str, path: Path) -> Iterator[None]:
    """Turns what a full, read-only or vanished disk raises inside into one sentence.

    Args:
        doing: begins the sentence, such as "cannot save step 3 in".
        path: what is written.

    Raises:
        UserError: with the path, the room that is left on its disk, and the cause.
    """
    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError) as error:  # orbax raises both
        there = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
        free = shutil.disk_usage(there).free // 2**20
        raise UserError(f"{doing} {path} ({free} MiB free): {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """The first line of what an error says, or its type."""
    return str(error).partition("\n")[0] or type(error).__name__


def sync(path: Path) -> None:
    """Waits until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reserve(folder: Path, size: int) -> None:
    """Raises OSError unless a file of `size` bytes fits into the folder now; leaves none there.

    To ask first spares the half-written files and the tracebacks of a library's own threads.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(size))
        file.flush()
