"""What sidecars were before we wrote them, so that exactly that can be restored."""

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

from dkse_jax.console import log
from dkse_jax.errors import refuse
from dkse_jax.files import explain_disk_errors, replacing, sync

FILE = "undo.jsonl"


class Record(NamedTuple):
    """A sidecar: what it was, None if there was none, and the digests of what we wrote.

    Attributes:
        before: what it was.
        after: the digest of what we wrote last; None if that was what it had been.
        over: that of what we had written before; a call that was killed may have left it there.
    """

    before: bytes | None
    after: str | None
    over: str | None


class UndoFile:
    """The list OUT/undo.jsonl: a line for each sidecar that was written; the last of one counts."""

    def __init__(self, out: Path):
        """Reads the list, if there is one; the contents stay on the disk."""
        self._out, self._path = out, out / FILE
        self._places: dict[str, int] = {}  # of the last line of a sidecar
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            place = damaged = 0
            for line in file:
                try:
                    self._places[_entry(line)[0]] = place
                except ValueError:
                    damaged += 1
                place += len(line)
        if damaged:
            log(f"{damaged} lines of {self._path} are half written or damaged: they are left out")

    def record(self, sidecar: Path) -> Record | None:
        """Returns the record of a sidecar, if it is there as we wrote it; else None."""
        found = self._at(self._name(sidecar))
        return found if found and digest(content(sidecar)) in found[1:] else None

    def write(self, sidecar: Path, data: bytes | None, before: bytes | None) -> None:
        """Writes a sidecar, or removes it for None, after noting what it was before our calls."""
        name, current = self._name(sidecar), content(sidecar)
        entry = {
            "sidecar": name,
            "before": None if before is None else base64.b64encode(before).decode(),
            "after": None if data == before else digest(data),
            "over": None if current == before else digest(current),
        }
        self._out.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            if file.tell() and not self._ends_a_line():
                file.write(b"\n")
            self._places[name] = file.tell()
            file.write(json.dumps(entry).encode() + b"\n")
        if before is not None:
            sync(self._path)
        put(sidecar, data)

    def undo(self) -> tuple[int, list[str]]:
        """Restores all sidecars; returns their number, and the names of those changed since.

        The latter stay as they are, and stay in the list.
        """
        restored, left = 0, []
        for name in self._places:
            found, sidecar = self._at(name), self._out / name
            try:
                current = content(sidecar)
            except OSError:  # a folder is in its place, or it may not be read
                left.append(name)
                continue
            if found is None or current == found.before:
                continue
            if digest(current) in found[1:]:
                put(sidecar, found.before)
                restored += 1
            elif found.after is not None:
                left.append(name)
        self._keep(left)
        return restored, left

    def _keep(self, names: list[str]) -> None:
        lines = [self._line(name) for name in names]
        if lines:
            with replacing(self._path) as draft:
                draft.write_bytes(b"".join(lines))
        else:
            self._path.unlink()

    def _name(self, sidecar: Path) -> str:
        """Returns the path relative to OUT if it is below it, since OUT may be moved."""
        path, out = os.path.abspath(sidecar), os.path.abspath(self._out)
        return os.path.relpath(path, out) if path.startswith(out + os.sep) else path

    def _line(self, name: str) -> bytes:
        with self._path.open("rb") as file:
            file.seek(self._places[name])
            return file.readline()

    def _at(self, name: str) -> Record | None:
        return _entry(self._line(name))[1] if name in self._places else None

    def _ends_a_line(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"


def _entry(line: bytes) -> tuple[str, Record]:
    """Returns the sidecar of a line, and its record; raises ValueError for another line."""
    entry = json.loads(line)
    if not isinstance(entry, dict) or "\0" in str(entry.get("sidecar", "\0")):
        raise ValueError("it has no sidecar")
    texts = [entry.get(key) for key in ("sidecar", "before", "after", "over")]
    if "before" not in entry or not all(isinstance(text, str | None) for text in texts):
        raise ValueError("it does not say what was there")
    _, before, after, over = texts
    content = None if before is None else base64.b64decode(before, validate=True)
    return entry["sidecar"], Record(content, after, over)


def undo(out: Path) -> None:
    """Restores every sidecar to what it was before predictions were written into it.

    Raises:
        UserError: there is nothing to undo.
    """
    if not (out / FILE).exists():
        refuse(f'"{out}" has no {FILE}: no sidecar was written from there')
    with explain_disk_errors("cannot restore the sidecars of", out):
        restored, left = UndoFile(out).undo()
    log(f"{restored:,} sidecars are as they were")
    if left:
        log(f'{len(left):,} were changed since and stay as they are (first: "{left[0]}")')


def content(sidecar: Path) -> bytes | None:
    """Returns the content of a file; None if there is none."""
    try:
        return sidecar.read_bytes()
    except FileNotFoundError:
        return None


def digest(data: bytes | None) -> str:
    """Returns the SHA-256 in hexadecimal; of no file ""."""
    return "" if data is None else hashlib.sha256(data).hexdigest()


def put(sidecar: Path, data: bytes | None) -> None:
    """Replaces a file, or removes it for None.

    A new file is not waited for, since nothing is lost if a crash of the machine leaves it empty.
    """
    if data is None:
        sidecar.unlink(missing_ok=True)
    elif sidecar.exists():
        with replacing(sidecar) as draft:
            draft.write_bytes(data)
    else:
        sidecar.parent.mkdir(parents=True, exist_ok=True)
        draft = sidecar.with_name(f"{sidecar.name}.tmp")
        draft.write_bytes(data)
        draft.replace(sidecar)
