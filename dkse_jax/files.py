"""Files that a kill or a power cut leaves whole."""

import contextlib
import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dkse_jax.errors import UserError

LOCK_FILE = "lock"


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file's content: a reader, whenever it comes, meets the old text or the new."""
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(text, encoding="utf-8")
    sync(draft)
    draft.replace(path)
    sync(path.parent)


@contextlib.contextmanager
def explain_disk_errors(doing: str, path: Path) -> Iterator[None]:
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


def cache_folder(name: str) -> Path:
    """A folder of ours in the user's cache (XDG base directories); it may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "dkse_jax" / name


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Inside, no other process can enter for this workdir, which is made if it is new.

    The system itself gives the lock back when its owner ends, however that was.

    Raises:
        UserError: another process is inside, and who.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / LOCK_FILE).open("a+", encoding="utf-8") as file:
        _take(file.fileno(), workdir)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


def check_unlocked(workdir: Path) -> None:
    """Raises UserError where another process is at work in a workdir; creates nothing."""
    if (workdir / LOCK_FILE).exists():
        with (workdir / LOCK_FILE).open(encoding="utf-8") as file:
            _take(file.fileno(), workdir)


def _take(descriptor: int, workdir: Path) -> None:
    """Takes the lock for as long as the file is open."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
        raise UserError(
            f"--workdir={workdir} is in use by {owner or 'another process'}; name a new folder, or"
            " wait for it to end"
        ) from error
    except OSError as error:
        raise UserError(
            f"--workdir={workdir} is on a file system without locks ({error.strerror}); name a"
            " folder elsewhere"
        ) from error
