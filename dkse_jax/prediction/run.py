"""Prediction of a collection: a row for every file, in listed order, however often it is ended."""

import contextlib
import os
import shutil
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from jax.sharding import Mesh

from dkse_jax import runtime
from dkse_jax.console import log, with_progress
from dkse_jax.errors import UserError
from dkse_jax.files import expanded, locked
from dkse_jax.prediction.answers import rows_of
from dkse_jax.prediction.inputs import Listed, list_items
from dkse_jax.prediction.item import Item
from dkse_jax.prediction.journal import FILE, Journal
from dkse_jax.prediction.judge import Judge
from dkse_jax.prediction.judging import load_judge
from dkse_jax.prediction.parts import check_part, check_whole
from dkse_jax.prediction.reading import read_ahead
from dkse_jax.prediction.row import Row
from dkse_jax.prediction.state import Part, begin, check_out, folder_of, parts_of
from dkse_jax.prediction.write_back import NOTHING, Rows, Wish, prepare
from dkse_jax.prediction.writing import CSV, TABLE, Format, streamed, write_others
from dkse_jax.sharding import round_up_to_devices
from dkse_jax.trained import BATCH, Trained, read_run, restore
from dkse_jax.workdir.checkpoint_digest import digest_of_step


def predict(
    workdir: str | os.PathLike[str],
    out: str | os.PathLike[str],
    inputs: Sequence[str],
    lists: Sequence[str] = (),
    *,
    form: Format = CSV,
    part: Part | None = None,
    wish: Wish = NOTHING,
    mesh: Mesh | None = None,
) -> None:
    """Predicts every file of the inputs by a run's best weights, and writes tables in `out`.

    The tables are out/predictions.<format>: see `tables`. Until every file has its row, a CSV or
    JSON Lines file is out/predictions.partial.<format>. The same call resumes after any end, and
    takes only files that are new or changed.

    Args:
        workdir: of the run.
        out: a new folder, or that of an earlier call with the same weights.
        inputs: see `inputs.list_items`, as `lists`.
        lists: list files and columns of tables.
        form: the formats of the tables.
        part: (I, N) to predict only the files I, I + N, ... of the list, counted from 1; once all
            parts are there, a call without a part merges them.
        wish: what is made of the rows beside the tables.
        mesh: the devices to run on; by default all.

    Raises:
        UserError: the run, a file of inputs or a part is missing; `out` cannot be written or was
            begun with other weights, classes, transform or calibration.
    """
    out = Path(expanded(out))
    run = read_run(workdir)
    check_out(out)
    check_part(out, [*parts_of(out), *([part] if part else [])])
    listed = _listed(inputs, lists, out)
    trained = restore(run, runtime.default_mesh() if mesh is None else mesh)
    weights = digest_of_step(run.workdir, trained.step)
    write_back = prepare(wish, out, run.class_names, weights, listed.canvases)
    judge = load_judge(run.workdir, weights, run.class_names)
    begin(out, trained)
    log(judge.remark)
    with locked(folder_of(out, part), f"--out={out}"):
        if part:
            _predict_part(out, part, listed.items[part[0] - 1 :: part[1]], trained, judge)
        else:
            _predict_all(out, listed, trained, judge, form, write_back)


def _listed(inputs: Sequence[str], lists: Sequence[str], out: Path) -> Listed:
    """Lists the items; prints what is left out."""
    listed = list_items(inputs, lists, log)
    for line in listed.left_out:
        log(line)
    for folder in [] if lists else filter(os.path.isdir, map(expanded, inputs)):
        if out.resolve().is_relative_to(Path(folder).resolve()):
            raise UserError(f"--out={out} lies in the input {folder}; name a folder outside")
    return listed


def _predict_part(
    out: Path, part: Part, items: Sequence[Item], trained: Trained, judge: Judge
) -> None:
    """Predicts the files of a part; writes no table."""
    whole = folder_of(out, None) / FILE
    with contextlib.closing(
        Journal(folder_of(out, part) / FILE, [whole] if whole.exists() else [])
    ) as journal:
        indices = array("q", map(journal.index, items))
        failed = sum(
            row.status == "failed" for row in _rows(items, indices, journal, trained, judge)
        )
    log(f"part {part[0]} of {part[1]}: {_counted(len(items), failed)}")


def _predict_all(
    out: Path,
    listed: Listed,
    trained: Trained,
    judge: Judge,
    form: Format,
    write_back: Callable[[Rows, Sequence[Item]], None],
) -> None:
    """Predicts all files, or merges their parts, writes the tables and what else is asked."""
    parts, items, failed = parts_of(out), listed.items, 0
    with contextlib.closing(
        Journal(folder_of(out, None) / FILE, list(parts.values()), retry=not parts)
    ) as journal:
        indices = array("q", map(journal.index, items))
        if parts:
            check_whole(out, indices, list(parts))
        with streamed(out, form, trained.class_names) as write:
            for row in _rows(items, indices, journal, trained, judge):
                failed += row.status == "failed"
                write(row)
        write_others(out, form, trained.class_names, lambda: map(journal.row, indices))
        write_back(lambda: map(journal.row, indices), items)
    for path in parts.values():
        shutil.rmtree(path.parent)
    log(f"{out / TABLE}: {_counted(len(items), failed)}")


def _rows(
    items: Sequence[Item], indices: array, journal: Journal, trained: Trained, judge: Judge
) -> Iterator[Row]:
    """Yields the row of each item, in order: the one on disk, or a new one, then on disk.

    Args:
        items: of the rows.
        indices: of each item's row, -1 of an item without one; the new rows' are entered.
        journal: of the rows.
        trained: the network; the last argument makes probabilities of its answers.
    """
    missing = indices.count(-1)
    if missing < len(items):
        log(f"{len(items) - missing} of {len(items)} files have a row already")
    threads, batch_size = os.cpu_count() or 1, round_up_to_devices(BATCH, trained.mesh)
    pending = (items[place] for place in range(len(items)) if indices[place] < 0)
    pictures = read_ahead(pending, trained.transform, threads=threads, ahead=batch_size + threads)
    groups = rows_of(pictures, trained, judge, batch_size)
    shown = with_progress(groups, missing, "predicting", size=len, unit="files")
    new = (pair for rows in shown for pair in zip(journal.append(rows), rows, strict=True))
    for place, index in enumerate(indices):
        if index < 0:
            indices[place], row = next(new)
        else:
            row = journal.row(index)
            if not journal.is_own(index):
                [indices[place]] = journal.append([row])
        yield row


def _counted(files: int, failed: int) -> str:
    return f"{files} files, {failed} of them failed"
