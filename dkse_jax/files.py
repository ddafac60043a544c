"""Atomic and locked files, and errors of the disk."""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dkse_jax.errors import UserError
from dkse_jax.text import plain_text

if TYPE_CHECKING:
    from etils import epath

LOCK_FILE = "lock"


def expanded(path: str | os.PathLike[str]) -> str:
    """Returns the path with the user's home folder for a "~" at its start, as a shell would."""
    return os.path.expanduser(os.fspath(path))


@contextlib.contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Yields the path of a draft, a new file or folder, that replaces `path` at the end.

    A reader sees the old content or the new, also after a crash of the machine. After an error the
    draft is removed and `path` is as it was.

    Args:
        path: in an existing folder.
        shared: whether other processes may replace it at the same time.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp" if shared else f"{path.name}.tmp")
    try:
        yield draft
        sync(draft)
        if draft.is_dir() and path.exists():  # a folder cannot be renamed onto another
            with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as old:
                path.rename(Path(old, path.name))
                draft.rename(path)
        else:
            draft.replace(path)
        sync(path.parent)
    except BaseException:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file's content: a reader sees the old text or the new."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def digest_of(file: "Path | epath.Path") -> str:
    """Returns the SHA-256 of a file in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def explain_disk_errors(doing: str, path: Path) -> Iterator[None]:
    """Turns errors of a full, read-only or vanished disk into one sentence.

    Args:
        doing: the beginning of the sentence, such as "cannot save step 3 in".
        path: the file or folder that is written.

    Raises:
        UserError: with the path, the free space of its disk, and the cause.
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
    """Returns the first line of an error's text, or its type, as plain text."""
    return plain_text(str(error).partition("\n")[0]) or type(error).__name__


def check_room(path: Path, size: int) -> None:
    """Raises OSError unless `size` bytes can be written at a path now; leaves nothing there.

    Args:
        path: a folder, or what is to become one.
        size: bytes.
    """
    folder = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    with tempfile.TemporaryFile(dir=folder):  # fails where nothing can be written
        reserve(folder, size)


def sync(path: Path) -> None:
    """Waits until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reserve(folder: Path, size: int) -> None:
    """Raises OSError unless a file of `size` bytes fits into the folder now; leaves none there.

    A check first spares the half-written files and the tracebacks of a library's own threads.
    Nothing is written: free blocks are counted and, where the system can, allocated.
    """
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if hasattr(os, "posix_fallocate"):  # not on macOS; it knows quotas and limits too
        with tempfile.TemporaryFile(dir=folder) as file:
            try:
                os.posix_fallocate(file.fileno(), 0, max(size, 1))
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise


def cache_folder(name: str) -> Path:
    """Returns our folder in the user's cache (XDG base directories), which may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "dkse_jax" / name


@contextlib.contextmanager
def locked(workdir: Path, name: str = "") -> Iterator[None]:
    """Locks a workdir, which is created if it is new, against other processes.

    The system releases the lock when its owner ends in any way.

    Args:
        workdir: the folder.
        name: of the folder in errors; by default --workdir=FOLDER.

    Raises:
        UserError: another process, which it names, has the lock.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / LOCK_FILE).open("a+", encoding="utf-8") as file:
        _take(file.fileno(), name or f"--workdir={workdir}")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


def check_unlocked(workdir: Path) -> None:
    """Raises UserError if another process has a workdir's lock; creates nothing."""
    if (workdir / LOCK_FILE).exists():
        with (workdir / LOCK_FILE).open(encoding="utf-8") as file:
            _take(file.fileno(), f"--workdir={workdir}")


def _take(descriptor: int, name: str) -> None:
    """Takes the lock for as long as the file is open."""
    try:
        taken = try_lock(descriptor)
    except OSError as error:
        raise UserError(
            f"{name} is on a file system without locks ({error.strerror}); name a folder elsewhere"
        ) from error
    if not taken:
        owner = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
        raise UserError(
            f"{name} is in use by {owner or 'another process'}; name a new folder, or"
            " wait for it to end"
        )


def try_lock(descriptor: int) -> bool:
    """Locks a file until it is closed; returns False if another process has locked it.

    The system releases the lock when its owner ends, however that was.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
