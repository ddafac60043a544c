"""Counts of the files under a root that are no examples, by reason and suffix."""

import dataclasses
import enum
import posixpath
from collections import Counter
from collections.abc import Mapping

from dkse_jax.data.formats.suffixes import PICTURE_SUFFIXES

_NAMED = 8  # suffixes of a line that are named; the others are counted


class Reason(enum.Enum):
    """Why a file is no example: what follows its number in a sentence, for one and for several."""

    UNREAD = "file is not read", "files are not read"  # the suffix is of no format that is read
    UNLISTED = "file is not in the metadata", "files are not in the metadata"
    LOOSE = "file is in no class folder", "files are in no class folder"
    BROKEN = "file is a link to nothing", "files are links to nothing"
    # The others are no trouble, whatever their suffixes, or are reported as mistakes.
    HIDDEN = "hidden or system file", "hidden or system files"
    SNAPSHOT = "folder of snapshots", "folders of snapshots"
    LINK = "link to a folder that is listed", "links to folders that are listed"
    SPECIAL = "pipe, socket or device", "pipes, sockets or devices"
    TABLE = "table of metadata", "tables of metadata"
    REFUSED = "mistake", "mistakes"


TROUBLES = (Reason.UNREAD, Reason.UNLISTED, Reason.LOOSE, Reason.BROKEN)
FOLDERS = (Reason.SNAPSHOT, Reason.LINK)  # their counts are of folders, which are not entered


@dataclasses.dataclass
class LeftOut:
    """The files that are no examples.

    Attributes:
        counts: (reason, suffix in lower case) -> number of files.
        first: the same -> the first id in the order of names.
    """

    counts: Counter[tuple[Reason, str]] = dataclasses.field(default_factory=Counter)
    first: dict[tuple[Reason, str], str] = dataclasses.field(default_factory=dict)

    def add(self, reason: Reason, name: str) -> None:
        """Counts a file."""
        key = reason, suffix_of(name)
        self.counts[key] += 1
        self.first[key] = min(name, self.first.get(key, name))

    def join(self, other: "LeftOut", prefix: str) -> None:
        """Adds the counts of another root, whose ids get the prefix."""
        self.counts.update(other.counts)
        for key, name in other.first.items():
            self.first[key] = min(prefix + name, self.first.get(key, prefix + name))

    def files(self) -> int:
        """Returns the number of files."""
        return sum(number for (why, _), number in self.counts.items() if why not in FOLDERS)

    def troubles(self) -> list[str]:
        """Returns a sentence for each reason for which files that look like pictures are left out.

        As in: 42 files are not read: 32 .jxl, 10 .exr (first: "ink/01.exr").
        """
        return [
            f"{self._number(reason, kinds)}: {named(kinds)}{self._first(reason, kinds)}"
            for reason in TROUBLES
            if (kinds := self._kinds(reason, pictures=True))
        ]

    def others(self) -> list[str]:
        """Returns a line about the files that are left out without trouble; none without such."""
        rest: Counter[str] = Counter()
        for reason in TROUBLES:
            rest.update(self._kinds(reason, pictures=False))
        parts = [named(rest)] if rest else []
        for reason in (Reason.HIDDEN, Reason.SNAPSHOT, Reason.LINK, Reason.SPECIAL):
            if kinds := {**self._kinds(reason, True), **self._kinds(reason, False)}:
                parts.append(self._number(reason, kinds) + self._first(reason, kinds))
        return [f"not taken for pictures: {'; '.join(parts)}"] if parts else []

    def _kinds(self, reason: Reason, pictures: bool) -> dict[str, int]:
        """Returns suffix -> number of the files that look like pictures, or of the others."""
        return {
            suffix: number
            for (why, suffix), number in self.counts.items()
            if why is reason and pictures == (suffix in PICTURE_SUFFIXES)
        }

    def _number(self, reason: Reason, kinds: Mapping[str, int]) -> str:
        number = sum(kinds.values())
        return f"{number:,} {reason.value[number > 1]}"

    def _first(self, reason: Reason, kinds: Mapping[str, int]) -> str:
        return f' (first: "{min(self.first[reason, suffix] for suffix in kinds)}")'


def suffix_of(name: str) -> str:
    """Returns the suffix of a file name in lower case."""
    return posixpath.splitext(name)[1].lower()


def named(kinds: Mapping[str, int]) -> str:
    """Formats numbers of suffixes, most first, as in: 32 .jxl, 10 .exr, 2 without a suffix."""
    ordered = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
    parts = [f"{number:,} {suffix or 'without a suffix'}" for suffix, number in ordered[:_NAMED]]
    if rest := sum(number for _, number in ordered[_NAMED:]):
        parts.append(f"{rest:,} of {len(ordered) - _NAMED:,} more suffixes")
    return ", ".join(parts)
