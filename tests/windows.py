"""Runs a command of ours with what Windows lacks taken away: python tests/windows.py check ...

It is not Windows: names of files, drives and the console are this system's.
"""

import builtins
import contextlib
import errno
import importlib
import io
import os
import subprocess  # noqa: F401  # before msvcrt can be imported, which it asks for Windows by
import sys
import tempfile
import types
import warnings
from pathlib import Path

LACKING = {"fcntl", "array_record", "grain", "tensorflow_datasets", "resource", "pwd", "grp"}
FUNCTIONS = """
    pread pwrite posix_fallocate posix_fadvise fchmod fchown chown lchown mkfifo getuid geteuid
    getgid getegid getpgid killpg setsid nice sched_getaffinity fork fdatasync copy_file_range
    sendfile O_DIRECTORY O_NOFOLLOW O_CLOEXEC O_SYNC O_DSYNC
"""


def lock(descriptor: int, mode: int, size: int) -> None:
    """Locks the bytes from the descriptor's position on, as msvcrt.locking does."""
    try:
        os.lockf(descriptor, os.F_TLOCK, size)
    except BlockingIOError as error:
        raise PermissionError(errno.EACCES, "Permission denied") from error


def refused(path) -> OSError:
    return PermissionError(errno.EACCES, "Permission denied", os.fspath(path))


def is_open(path) -> bool:
    """Returns whether this process has the file open, or one in the folder."""
    real = os.path.realpath(path)
    opened = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    return any(name == real or name.startswith(f"{real}/") for name in opened)


def take_away() -> None:
    for name in LACKING:
        sys.modules[name] = None  # an import raises ModuleNotFoundError
    sys.modules["msvcrt"] = types.SimpleNamespace(locking=lock, LK_NBLCK=2)
    for name in FUNCTIONS.split():
        if hasattr(os, name):
            delattr(os, name)
    flags: dict[int, int] = {}  # of the descriptors
    whole = {name: getattr(os, name) for name in ("open", "fsync", "replace", "rename", "unlink")}

    def open_descriptor(path, mode, *more, **named):
        if os.path.isdir(path):
            raise refused(path)
        descriptor = whole["open"](path, mode, *more, **named)
        flags[descriptor] = mode
        return descriptor

    def fsync(descriptor):
        if flags.get(descriptor, os.O_RDWR) & 3 == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        whole["fsync"](descriptor)

    def closed(name):
        def call(path, *more, **named):
            for one in (path, *more):
                if is_open(one):
                    raise refused(one)
            return whole[name](path, *more, **named)

        return call

    def rename(source, target, **named):
        if os.path.exists(target):
            raise FileExistsError(errno.EEXIST, "File exists", os.fspath(target))
        closed("rename")(source, target, **named)

    os.open, os.fsync, os.rename = open_descriptor, fsync, rename
    os.replace, os.unlink = closed("replace"), closed("unlink")
    os.remove = os.unlink
    plain = io.open

    def open_file(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, **more):
        text = "b" not in mode and not isinstance(file, int)
        if text and newline is None and set(mode) & set("wax+"):
            newline = "\r\n"
        return plain(file, mode, buffering, encoding, errors, newline, **more)

    io.open = builtins.open = open_file
    tempfile.TemporaryFile = tempfile.NamedTemporaryFile  # an open file cannot be removed
    # The code page of the machine is not known, so none may be relied on.
    warnings.filterwarnings("ignore", category=EncodingWarning)
    warnings.filterwarnings("error", category=EncodingWarning, module="dkse_jax")


if __name__ == "__main__":
    command = sys.argv.pop(1)
    sys.path[0] = str(Path(__file__).parents[1])
    take_away()
    module = importlib.import_module(f"dkse_jax.cli.{command}")
    with contextlib.ExitStack() as stack:
        if command == "predict":  # as the tests' workdir was trained
            stack.enter_context(importlib.import_module("tests.short").short_network())
        module.run()
