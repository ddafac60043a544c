"""The identity of data: each example's id, label, group, size, time of change and content.

Ids, groups and contents are kept as BLAKE2b hashes. A content is hashed when its bytes are first
read to be decoded, or by `dkse-pack`, never in a pass of its own.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dkse_jax.text import as_bytes

if TYPE_CHECKING:
    from dkse_jax.data.sources import Source

HASHES = np.dtype([("id", "S16"), ("group", "S8"), ("content", "S16")])
# One example: `split` is a code of the caller's, content b"" and size -1 are unknown, and the time
# of change is in nanoseconds.
ROW = np.dtype([("split", "u1"), *HASHES.descr, ("label", "<i4"), ("size", "<i8"), ("time", "<i8")])
_BLOCK = 2**14  # rows made at a time
# File systems and archives round times of change down to one of these, in nanoseconds.
_TIME_UNITS = (100, 10**3, 10**6, 10**9, 2 * 10**9)


@dataclasses.dataclass(frozen=True)
class Contents:
    """What is known of the encoded images of a split; a subset shares it.

    Attributes:
        sizes: (N,) int64 bytes, -1 where unknown.
        times: (N,) int64 times of change in nanoseconds, 0 where unknown.
        digests: (N,) S16, b"" where unknown; filled while images are read.
        checked: (N,) bool: whether this process has compared the digest.
        packed: the file of HASHES (N,) of a folder that `dkse-pack` made; "" without one.
        index: of the examples of this split among the N.
    """

    sizes: np.ndarray
    times: np.ndarray
    digests: np.ndarray
    checked: np.ndarray
    packed: str = ""
    index: slice | np.ndarray = slice(None)

    @classmethod
    def unknown(cls, examples: int) -> "Contents":
        """Builds one in which nothing is known yet."""
        sizes, times = (np.broadcast_to(np.int64(value), examples) for value in (-1, 0))
        return cls(sizes, times, np.zeros(examples, "S16"), np.zeros(examples, bool))

    def of(self, indices: np.ndarray) -> "Contents":
        """Returns that of the subset at `indices`."""
        own = indices if isinstance(self.index, slice) else self.index[indices]
        return dataclasses.replace(self, index=own)

    def known(self) -> np.ndarray:
        """Returns a copy (M,) S16 of the digests of this split's examples."""
        return np.array(self.digests[self.index])

    def learn(self, digests: np.ndarray) -> None:
        """Adds digests (M,) S16 that were known before, b"" where not."""
        own = self.known()
        if (own == b"").any():
            self.digests[self.index] = np.where(own == b"", digests, own)

    def matches(self, index: int, content: bytes, page: int = 1) -> bool:
        """Returns whether bytes are what example `index` of the N had, and learns them if new.

        Args:
            index: of the example.
            content: of its file.
            page: of the file that the example is.
        """
        if self.checked[index]:
            return True
        digest = content_digest(content, page)
        if not self.digests[index]:
            self.digests[index] = digest
        # NumPy strips zeros at the end.
        self.checked[index] = bytes(self.digests[index]) == digest.rstrip(b"\0")
        return bool(self.checked[index])


def content_digest(content: bytes, page: int = 1) -> bytes:
    """Returns the 16 bytes that stand for an encoded image, a page of a file's content."""
    digest = hashlib.blake2b(content, digest_size=16)
    if page > 1:
        digest.update(f"#{page}".encode())
    return digest.digest()


def text_hashes(texts: Iterable[str], size: int) -> np.ndarray:
    """Returns the hashes (N,) of ids (size 16) or groups (size 8)."""
    digests = [hashlib.blake2b(as_bytes(text), digest_size=size).digest() for text in texts]
    return np.array(digests, f"S{size}")


def blocks(source: "Source", split: int) -> Iterator[np.ndarray]:
    """Yields the rows (N,) ROW of a split's examples, some at a time, which bounds the memory.

    Args:
        source: the split.
        split: its code.
    """
    for start in range(0, len(source), _BLOCK):
        part = slice(start, min(start + _BLOCK, len(source)))
        rows = np.zeros(part.stop - start, ROW)
        rows["split"], rows["label"], rows["size"] = split, source.labels[part], -1
        if contents := source.contents:
            own = part if isinstance(contents.index, slice) else contents.index[part]
            rows["size"], rows["time"] = contents.sizes[own], contents.times[own]
            if contents.packed:  # mapped for each block, so that memory is released
                hashes = np.load(contents.packed, mmap_mode="r", allow_pickle=False)[own]
                for name in hashes.dtype.names:
                    rows[name] = hashes[name]
                yield rows
                continue
            rows["content"] = contents.digests[own]
        rows["id"] = text_hashes(source.ids[part], 16)
        rows["group"] = text_hashes(source.groups[part], 8)
        yield rows


def rows_of(source: "Source", split: int) -> np.ndarray:
    """Returns all of `blocks`."""
    return np.concatenate([np.zeros(0, ROW), *blocks(source, split)])


def digest_of_rows(rows: np.ndarray) -> str:
    """Returns 32 hexadecimal digits that depend on ids, labels, groups and contents."""
    digest = hashlib.blake2b(digest_size=16)
    for name in ("id", "label", "group", "content"):
        digest.update(np.ascontiguousarray(rows[name]).tobytes())
    return digest.hexdigest()


@dataclasses.dataclass(frozen=True)
class Changes:
    """The differences between two states of the same data.

    Attributes:
        counts: {"labels": 12, ...}, the kinds of change that occur.
        first: index in the newer rows of the first change; None if examples are only gone.
    """

    counts: Mapping[str, int]
    first: int | None

    def sentence(self, ids: Sequence[str]) -> str:
        """Formats it as in: labels of 12 images, groups of 3 (first: "a.jpg")."""
        parts = [f"{what} of {count}" for what, count in self.counts.items()]
        number = next(iter(self.counts.values()))
        parts[0] += " image" if number == 1 else " images"
        first = "" if self.first is None else f' (first: "{ids[self.first]}")'
        return ", ".join(parts) + first


def changes(old: np.ndarray, new: np.ndarray) -> Changes:
    """Compares two states (N,) and (M,) ROW of the data; examples are matched by their ids.

    Contents of which one is unknown are compared by size; and where the old one is unknown, by the
    time of change.
    """
    if len(old) == len(new) and np.array_equal(old["id"], new["id"]):
        here = there = np.arange(len(new))
    else:
        _, there, here = np.intersect1d(old["id"], new["id"], return_indices=True)
    before, now = old[there], new[here]
    differs = {name: before[name] != now[name] for name in ("split", "label", "group")}
    content = _content_differs(before, now)
    later = ~content & (before["content"] == b"") & ~_same_time(before["time"], now["time"])
    added = np.setdiff1d(np.arange(len(new)), here)
    order = np.argsort(here)
    found: dict[str, tuple[int, np.ndarray]] = {
        "removal": (len(old) - len(before), here[:0]),
        "addition": (len(added), added),
        "splits": (0, here[differs["split"]]),
        "labels": (0, here[differs["label"]]),
        "groups": (0, here[differs["group"]]),
        "content": (0, here[content]),
        "times of change": (0, here[later]),
    }
    counts = {what: number or len(which) for what, (number, which) in found.items()}
    counts = {what: number for what, number in counts.items() if number}
    if not counts and (np.diff(there[order]) < 0).any():
        counts = {"order": len(new)}
    which = np.concatenate([which for _, which in found.values()])
    return Changes(counts, int(which.min()) if len(which) else None)


def _content_differs(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    known = (before["content"] != b"") & (now["content"] != b"")
    sized = (before["size"] >= 0) & (now["size"] >= 0)
    return np.where(
        known, before["content"] != now["content"], sized & (before["size"] != now["size"])
    )


def _same_time(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Returns whether times are equal but for the rounding of a file system or an archive."""
    same = (before == now) | (before == 0) | (now == 0)
    others = np.flatnonzero(~same)
    before, now = before[others], now[others]
    for unit in _TIME_UNITS:
        same[others] |= (before - before % unit == now) | (now - now % unit == before)
    return same
