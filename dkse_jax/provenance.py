"""What a run's data are and what its weights were trained and chosen on, kept in its workdir.

A workdir's data.npy has one row (`identity.ROW`) for each example of train, val and test, and for
each that the weights from which the run began (config.init_from) were trained or chosen on.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from dkse_jax.console import log
from dkse_jax.data import identity
from dkse_jax.data.identity import ROW
from dkse_jax.data.sources import Source
from dkse_jax.data.splits import SPLITS
from dkse_jax.distributed import processes
from dkse_jax.errors import refuse
from dkse_jax.files import expanded
from dkse_jax.workdir import data_file, description

# Codes of a row's split: 0 to 2 are SPLITS. UNKNOWN is a single row without an example.
TRAIN, VAL, _, TRAINED_BEFORE, CHOSEN_BEFORE, UNKNOWN = range(6)
NOTHING = np.zeros(0, ROW)


def check(workdir: Path, splits: Mapping[str, Source]) -> dict[str, np.ndarray]:
    """Compares a run's data with those that it began with, and learns what their contents were.

    A content that cannot be compared yet is compared when the image is read.

    Args:
        workdir: of a run.
        splits: any of its splits.

    Returns:
        The indices of the examples, by split, whose time of change differs and whose content is
        not compared yet.

    Raises:
        UserError: the data changed.
    """
    if not (workdir / data_file.FILE).exists() or _unchanged(workdir, splits):
        return {}
    rows = data_file.load(workdir, ROW)
    assert rows is not None
    codes = [SPLITS.index(name) for name in splits]
    old = rows[np.isin(rows["split"], codes)]
    new = np.concatenate([NOTHING, *map(identity.rows_of, splits.values(), codes)])
    if not processes.is_first():
        new["time"] = 0  # other hosts may have copies
    names = next(iter(splits.values())).class_names
    then = tuple(description.load_inputs(workdir)["class_names"])
    if then != names:  # labels are indices into other lists
        old["label"] = np.array([names.index(n) if n in names else -1 for n in then])[old["label"]]
    found = identity.changes(old, new)
    if found.counts:
        ids = [id for source in splits.values() for id in source.ids]
        copies = ", copy them again with their times kept (cp -a, rsync -a)"
        refuse(
            f"the data changed since the run began: {found.sentence(ids)}; restore them"
            f"{copies if set(found.counts) == {'times of change'} else ''}, or begin a new run in "
            "another --workdir"
        )
    suspicious = {}
    for (name, source), code in zip(splits.items(), codes, strict=True):
        before, now = (of[of["split"] == code] for of in (old, new))
        if source.contents:
            source.contents.learn(before["content"])
        suspicious[name] = np.flatnonzero((before["time"] != now["time"]) & (now["time"] != 0))
    return suspicious


def check_and_read(workdir: Path, splits: Mapping[str, Source]) -> None:
    """Does `check`, and reads the images whose time of change differs. Raises UserError as it."""
    for name, indices in check(workdir, splits).items():
        for index in indices.tolist():
            splits[name].read(index, 1)


def _unchanged(workdir: Path, splits: Mapping[str, Source]) -> bool:
    """Returns whether all splits are as in the workdir, contents included; in little memory."""
    if list(splits) != list(SPLITS):
        return False
    with data_file.opened(workdir, ROW) as read:
        for code, source in enumerate(splits.values()):
            for block in identity.blocks(source, code):
                if read(len(block)).tobytes() != block.tobytes():
                    return False
        rest = read(1)
        return not len(rest) or bool(rest["split"][0] > len(SPLITS) - 1)


def remark_on_missing(workdir: Path) -> None:
    """Logs that a run of an earlier version has no record of its data yet."""
    if not (workdir / data_file.FILE).exists():
        log(
            f"{workdir} was begun by an earlier version, which kept no hashes of the data: only"
            " names and labels are compared this time"
        )


def history(workdir: Path, config: ConfigDict, *, fresh: bool) -> np.ndarray:
    """Returns the rows of what the weights were trained and chosen on before a run.

    Args:
        workdir: of the run.
        config: its config.
        fresh: whether the weights are now taken from config.init_from.
    """
    rows = None if fresh else data_file.load(workdir, ROW)
    if rows is not None:
        return rows[rows["split"] >= TRAINED_BEFORE]
    if not config.init_from:
        return NOTHING
    parent = Path(expanded(config.init_from))
    rows = data_file.load(parent, ROW) if fresh and parent.is_dir() else None
    if rows is None:
        rows = np.zeros(1, ROW)
        rows["split"] = UNKNOWN
    rows = rows[rows["split"] != SPLITS.index("test")]
    for own, before in ((TRAIN, TRAINED_BEFORE), (VAL, CHOSEN_BEFORE)):
        rows["split"][rows["split"] == own] = before
    _, first = np.unique(_keys(rows, "split", "id", "content"), return_index=True)
    return rows[first]


def recorder(workdir: Path, splits: Mapping[str, Source], before: np.ndarray) -> Callable[[], None]:
    """Returns a function that writes what is known of a run's data by then, if that is new.

    Args:
        workdir: of the run.
        splits: all of it, unreadable images included.
        before: of `history`.
    """
    kept: list[np.ndarray] = []

    def record() -> None:
        if not processes.is_first():
            return
        if not kept:
            own = [identity.rows_of(splits[name], code) for code, name in enumerate(SPLITS)]
            kept.append(np.concatenate([*own, before]))
        (rows,) = kept
        end = 0
        for source in splits.values():
            start, end = end, end + len(source)
            if source.contents:
                rows["content"][start:end] = source.contents.known()
        old = data_file.load(workdir, ROW)
        if old is not None and np.array_equal(old["id"], rows["id"]):
            # An evaluation has read others.
            rows["content"] = np.where(rows["content"] == b"", old["content"], rows["content"])
        if old is None or not np.array_equal(old, rows):
            data_file.write(workdir, rows)

    return record


def add_contents(workdir: Path, split: str, source: Source) -> None:
    """Adds the contents of a split's images, as far as they were read, to a workdir's data.npy."""
    rows = data_file.load(workdir, ROW)
    if rows is None or source.contents is None:
        return
    own = rows["split"] == SPLITS.index(split)
    new = np.where(rows["content"][own] == b"", source.contents.known(), rows["content"][own])
    if not np.array_equal(new, rows["content"][own]):
        rows["content"][own] = new
        data_file.write(workdir, rows)


@dataclasses.dataclass(frozen=True)
class Seen:
    """What weights have seen of some examples.

    Attributes:
        trained: (N,) bool: they were trained on it.
        chosen: (N,) bool: they were chosen on it, and not trained.
        known: whether everything that they were trained and chosen on is known.
    """

    trained: np.ndarray
    chosen: np.ndarray
    known: bool

    def either(self) -> np.ndarray:
        """Returns (N,) bool: trained or chosen on."""
        return self.trained | self.chosen


def seen(rows: np.ndarray | None, source: Source) -> Seen:
    """Finds the examples that weights were trained or chosen on, by content.

    Where a content was never known, the id and the size stand for it.

    Args:
        rows: of data.npy of the weights' run; None if there are none.
        source: examples whose contents are known now.
    """
    if rows is None:
        nothing = np.zeros(len(source), bool)
        return Seen(nothing, nothing, known=False)
    examples = identity.rows_of(source, 0)
    trained, chosen = (
        _among(examples, rows[np.isin(rows["split"], codes)])
        for codes in ((TRAIN, TRAINED_BEFORE), (VAL, CHOSEN_BEFORE))
    )
    return Seen(trained, chosen & ~trained, known=not (rows["split"] == UNKNOWN).any())


def _among(examples: np.ndarray, rows: np.ndarray) -> np.ndarray:
    hashed = rows["content"] != b""
    sized = rows[~hashed & (rows["size"] >= 0)]
    by_name = np.isin(_keys(examples, "id", "size"), _keys(sized, "id", "size"))
    return by_name | np.isin(examples["content"], rows["content"][hashed])


def _keys(rows: np.ndarray, *names: str) -> np.ndarray:
    """Returns fields of each row, joined to (N,) bytes."""
    width = sum(rows.dtype[name].itemsize for name in names)
    keys, start = np.empty((len(rows), width), np.uint8), 0
    for name in names:
        end = start + rows.dtype[name].itemsize
        field = np.ascontiguousarray(rows[name]).view(np.uint8)
        keys[:, start:end] = field.reshape(-1, end - start)
        start = end
    return keys.view(f"S{width}").reshape(-1)
