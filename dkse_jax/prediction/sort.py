"""Links or copies of all pictures in one folder for each class: OUT/sorted/<class>/<same path>."""

import contextlib
import io
import itertools
import json
import os
import posixpath
import shutil
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TextIO

from dkse_jax.console import log
from dkse_jax.data.names import split_page
from dkse_jax.errors import UserError, refuse
from dkse_jax.files import explain_disk_errors, replacing
from dkse_jax.prediction.embedded import open_picture
from dkse_jax.prediction.item import Item
from dkse_jax.prediction.row import Row
from dkse_jax.prediction.safe_names import folder_names, key_of, marked, safe_name

MODES = ("link", "copy")
FOLDER, LIST = "sorted", "sorted.jsonl"
UNKNOWN, FAILED = "_unknown", "_failed"
_TIME = 10**9  # of change of a copied member of an archive, in seconds


def sort(
    rows: Iterable[Row],
    items: Iterable[Item],
    out: Path,
    *,
    mode: str,
    class_names: Sequence[str],
    do: bool,
) -> None:
    """Links or copies each picture into the folder of its class; nothing is ever moved.

    Pictures that are not known, and those that failed, have folders of their own. Members of
    archives are copied in both modes. What an earlier call made and is wanted no more is removed,
    unless it was changed since.

    Args:
        rows: the answers.
        items: the pictures of the rows, in the same order.
        out: the folder of the tables; OUT/sorted is written, and its list OUT/sorted.jsonl.
        mode: of MODES.
        class_names: all classes, in their order.
        do: whether it is done; otherwise the numbers are printed.

    Raises:
        UserError: a file is in the way, or cannot be written.
    """
    folder = out / FOLDER
    with explain_disk_errors("cannot sort into", folder):
        made = _read_list(out / LIST)
        wanted: dict[str, None] = {}
        counts: Counter[str] = Counter()
        with _journal(out / LIST, do) as journal:
            for name, item in _targets(rows, items, class_names):
                wanted[name] = None
                kind = _place(folder, name, item, mode, made, journal)
                counts[f"{kind}|{name.partition('/')[0]}"] += 1
        stale = [name for name in made if name not in wanted]
        kept = [name for name in stale if not _remove(folder, name, made[name], do)]
        if do:
            _write_list(out / LIST, {name: made[name] for name in (*wanted, *kept) if name in made})
    _report(folder, counts, len(stale) - len(kept), kept, do)


def _targets(
    rows: Iterable[Row], items: Iterable[Item], class_names: Sequence[str]
) -> Iterator[tuple[str, Item]]:
    """Yields for each row its place below the folder, which no other has, and its picture."""
    folders = folder_names(class_names, reserved=(UNKNOWN, FAILED))
    taken: dict[str, bool] = {}  # key of a place -> whether it is a file
    for row, item in zip(rows, items, strict=True):
        if row.status != "ok":
            first = FAILED
        else:
            first = UNKNOWN if row.known == "no" else folders[row.class_name]
        file, page = split_page(item.file) if item.page > 1 else (item.file, 1)
        *parents, last = map(safe_name, filter(None, file.split("/")))
        if page > 1:  # the suffix stays at the end, since programs go by it
            stem, suffix = posixpath.splitext(last)
            last = f"{stem}#{page}{suffix}"
        places = (_take(parts, taken) for parts in _choices(first, parents, last, item.file))
        yield next(filter(None, places)), item


def _choices(first: str, parents: Sequence[str], last: str, id: str) -> Iterator[list[str]]:
    """Yields ever other places of a picture, each as the parts of its path."""
    yield [first, *parents, last]
    yield [first, *parents, marked(last, id)]
    for number in itertools.count(1):
        yield [first, marked(last, f"{id} {number}")]


def _take(parts: Sequence[str], taken: dict[str, bool]) -> str | None:
    """Returns the path of the parts and notes it, or None if it or a folder of it is a file."""
    keys = [key_of("/".join(parts[: n + 1])) for n in range(len(parts))]
    if keys[-1] in taken or any(taken.get(key) for key in keys[:-1]):
        return None
    taken.update(dict.fromkeys(keys[:-1], False))
    taken[keys[-1]] = True
    return "/".join(parts)


def _place(
    folder: Path,
    name: str,
    item: Item,
    mode: str,
    made: dict[str, list],
    journal: TextIO | None,
) -> str:
    """Makes one link or copy unless it is there; returns what it is, for the numbers.

    Args:
        folder: of all.
        name: the place below it.
        item: the picture.
        mode: of MODES.
        made: place -> what an earlier call made there; is brought up to date.
        journal: receives what is going to be made; None if nothing is.
    """
    if not os.path.isfile(item.path) if item.path is not None else item.reason:
        return "lost"
    if mode == "link" and item.path is not None:
        mark: list = ["link", os.path.abspath(item.path)]
    else:
        mark = ["copy", item.stamp]
    path = folder / name
    if os.path.lexists(path):
        if name not in made or not _is(path, made[name]):
            refuse(f'"{path}" is in the way: it was not made by this command, or changed since')
        if made[name][:2] == mark:
            return "kept"
    if journal is not None:
        try:
            source = contextlib.nullcontext() if mark[0] == "link" else open_picture(item)
        except UserError:
            return "lost"
        with source as stream:
            if stream is not None:
                mark += [_size(stream), _time_of(item)]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            made[name] = mark
            journal.write(json.dumps([name, mark]) + "\n")
            journal.flush()
            _link(mark[1], path) if stream is None else _copy(stream, path, mark[3])
    return "linked" if mark[0] == "link" else "copied"


def _is(path: Path, mark: Sequence) -> bool:
    """Returns whether a link or copy is still as it was made."""
    if mark[0] == "link":
        if path.is_symlink():
            return os.readlink(path) == mark[1]
        return os.path.exists(mark[1]) and os.path.samefile(path, mark[1])
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and [status.st_size, int(status.st_mtime)] == mark[2:]


def _size(stream: BinaryIO) -> int:
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    return size


def _time_of(item: Item) -> int:
    """Returns the time of change of a copy: the file's, in even seconds as memory cards keep it."""
    return int(os.stat(item.path).st_mtime) // 2 * 2 if item.path is not None else _TIME


def _link(target: str, path: Path) -> None:
    """Makes a symbolic link, or a hard link where Windows allows no symbolic one."""
    try:
        os.symlink(target, path)
    except OSError:
        try:
            os.link(target, path)
        except OSError as error:
            refuse(f'"{path}" cannot be a link here ({error.strerror}): use --sort=copy')


def _copy(stream: BinaryIO, path: Path, time: int) -> None:
    draft = path.with_name(f".{path.name}.tmp")
    try:
        with draft.open("wb") as file:
            shutil.copyfileobj(stream, file, 2**20)
        os.utime(draft, (time, time))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _remove(folder: Path, name: str, mark: Sequence, do: bool) -> bool:
    """Removes what an earlier call made; returns False, and leaves it, if it changed since."""
    path = folder / name
    if os.path.lexists(path) and not _is(path, mark):
        return False
    if do:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the folder is not empty
            for parent in path.relative_to(folder).parents:
                if parent.name:
                    (folder / parent).rmdir()
    return True


@contextlib.contextmanager
def _journal(path: Path, do: bool) -> Iterator[TextIO | None]:
    """Yields the list of what is made, to append to; None if nothing is made."""
    if not do:
        yield None
        return
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write("\n")  # the last line may be half written
        yield file


def _read_list(path: Path) -> dict[str, list]:
    made = {}
    if path.exists():
        with path.open(encoding="utf-8") as file:
            for line in file:
                # The last line, of a call that was killed, or damage.
                with contextlib.suppress(ValueError, TypeError):
                    name, mark = json.loads(line)
                    made[f"{name}"] = list(mark)
    return made


def _write_list(path: Path, made: dict[str, list]) -> None:
    with replacing(path) as draft, draft.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in made.items())


def _report(folder: Path, counts: Counter[str], removed: int, kept: list[str], do: bool) -> None:
    kinds = {
        "linked": "linked" if do else "to link",
        "copied": "copied" if do else "to copy",
        "kept": "there already",
        "lost": "that cannot be read",
    }
    names = sorted({key.partition("|")[2] for key in counts})
    for name in names:
        numbers = ((counts[f"{kind}|{name}"], words) for kind, words in kinds.items())
        log(f"{name}: {', '.join(f'{number:,} {words}' for number, words in numbers if number)}")
    if removed:
        log(f"{removed:,} of an earlier call {'removed' if do else 'to remove'}")
    if kept:
        log(f'{len(kept):,} changed since they were made are left (first: "{kept[0]}")')
    if not do:
        log(f"nothing was done yet: add --yes to fill {folder}")
