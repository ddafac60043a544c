"""Digests of the compiled programs that JAX keeps on the disk.

JAX runs an entry as it finds it, but for what the compression checks: a damaged one can end the
process without a word, as it does where the package zstandard is installed.
"""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

from dkse_jax.console import log

_SIZE = hashlib.sha256().digest_size


class Verified:
    """A cache of JAX whose entries start with the SHA-256 of their key and content.

    Args:
        cache: has `get`, `put` and `_path`, the folder of its entries, which are named KEY-cache.
    """

    def __init__(self, cache: Any):
        self._cache = cache
        self._path = cache._path

    def get(self, key: str) -> bytes | None:
        """Returns an entry; removes a damaged one, so that its program is compiled again."""
        entry = self._cache.get(key)
        if entry is None:
            return None
        program = entry[_SIZE:]
        if _digest(key, program) == entry[:_SIZE]:
            return program
        log(f"a compiled program in {self._path} is damaged; it is compiled again")
        with contextlib.suppress(OSError):
            self._file(key).unlink()
        return None

    def put(self, key: str, value: bytes) -> None:
        """Adds an entry; other processes see all of it or nothing."""
        draft = f"{key}.{os.getpid()}"
        self._cache.put(draft, _digest(key, value) + value)
        if self._file(draft).exists():  # a cache with a limit of size refuses large ones
            self._file(draft).replace(self._file(key))

    def _file(self, key: str) -> Path:
        return Path(self._path) / f"{key}-cache"


def _digest(key: str, program: bytes) -> bytes:
    return hashlib.sha256(key.encode() + program).digest()


def verify_entries() -> bool:
    """Makes JAX verify the cache that it opens next; returns False where this JAX has no such hook.

    There is no public one: a function of JAX that opens the cache is replaced.
    """
    try:
        from jax._src import compilation_cache

        opened = compilation_cache.get_file_cache
    except (ImportError, AttributeError):
        return False

    def verified(path: str) -> Any:
        found = opened(path)
        return found and (Verified(found[0]), found[1])

    compilation_cache.get_file_cache = verified
    return True
