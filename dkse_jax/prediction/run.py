"""Prediction of a whole collection: a row for every file, in listed order, resumed after any end."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from jax.sharding import Mesh

from dkse_jax import runtime
from dkse_jax.console import log, with_progress
from dkse_jax.errors import UserError
from dkse_jax.files import explain_disk_errors, expanded, locked, replacing, sync
from dkse_jax.prediction.answers import rows_of
from dkse_jax.prediction.formats import STREAMED, write_parquet, write_xlsx
from dkse_jax.prediction.inputs import list_items
from dkse_jax.prediction.item import Item
from dkse_jax.prediction.journal import FILE, Journal
from dkse_jax.prediction.judge import Judge
from dkse_jax.prediction.judging import load_judge
from dkse_jax.prediction.reading import read_ahead
from dkse_jax.prediction.row import Row
from dkse_jax.prediction.state import Part, begin, check_out, folder_of, parts_of
from dkse_jax.prediction.tables import line_maker
from dkse_jax.sharding import round_up_to_devices
from dkse_jax.trained import BATCH, Trained, read_run, restore

TABLE = "predictions"


def predict(
    workdir: str | os.PathLike[str],
    out: str | os.PathLike[str],
    inputs: Sequence[str],
    lists: Sequence[str] = (),
    *,
    formats: Sequence[str] = ("csv",),
    decimal_comma: bool = False,
    part: Part | None = None,
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
        formats: of `formats.PACKAGES`.
        decimal_comma: whether numbers in CSV have a decimal comma, and semicolons between them.
        part: (I, N) to predict only the files I, I + N, ... of the list, counted from 1; once all
            parts are there, a call without a part merges them.
        mesh: the devices to run on; by default all.

    Raises:
        UserError: the run, a file of inputs or a part is missing; `out` cannot be written or was
            begun with other weights, classes, transform or calibration.
    """
    out = Path(expanded(out))
    run = read_run(workdir)
    check_out(out)
    items = _listed(inputs, lists, out)
    _check_part(out, part)
    trained = restore(run, runtime.default_mesh() if mesh is None else mesh)
    judge = load_judge(run.workdir)
    begin(out, trained, judge.remark)
    with locked(folder_of(out, part), f"--out={out}"):
        parts = {} if part else parts_of(out)
        others = [folder_of(out, None) / FILE] if part else list(parts.values())
        others = [path for path in others if path.exists()]
        journal = Journal(folder_of(out, part) / FILE, others, retry=not parts)
        with contextlib.closing(journal):
            own = items[part[0] - 1 :: part[1]] if part else items
            if parts:
                _check_whole(out, items, journal, parts)
            rows = _rows(own, journal, trained, judge)
            if part:
                failed = sum(row.status == "failed" for row in rows)
                log(f"part {part[0]} of {part[1]}: {_counted(len(own), failed)}")
                return
            _write(out, rows, items, journal, formats, trained.class_names, decimal_comma)
        for path in parts.values():
            shutil.rmtree(path.parent)


def _listed(inputs: Sequence[str], lists: Sequence[str], out: Path) -> Sequence[Item]:
    """Lists the items; prints what is left out."""
    listed = list_items(inputs, lists, log)
    for line in listed.left_out:
        log(line)
    if not listed.items:
        raise UserError(f"there is no picture in {', '.join([*inputs, *lists])}")
    for root in listed.roots:
        if os.path.isdir(root) and out.resolve().is_relative_to(Path(root).resolve()):
            raise UserError(f"--out={out} lies in the input {root}; name a folder outside")
    return listed.items


def _check_part(out: Path, part: Part | None) -> None:
    """Raises UserError unless all parts are of one number of parts."""
    counts = {count for _, count in parts_of(out)} | ({part[1]} if part else set())
    if len(counts) > 1:
        first, second = sorted(counts)[:2]
        raise UserError(
            f"--out={out} has parts of {first} and of {second}; go on with the number of parts that"
            " it was begun with, or name a new folder"
        )


def _check_whole(
    out: Path, items: Sequence[Item], journal: Journal, parts: dict[Part, Path]
) -> None:
    """Raises UserError if a file of a part has no row; each such part is named."""
    count = next(iter(parts))[1]
    lacking = [0] * count
    for place, item in enumerate(items):
        lacking[place % count] += item not in journal
    mistakes = [
        f"part {number} of {count} "
        + (f"lacks {missing} files" if (number, count) in parts else "has not begun")
        for number, missing in enumerate(lacking, start=1)
        if missing
    ]
    if mistakes:
        raise UserError(
            f"--out={out} cannot be merged yet: {', '.join(mistakes)}; run each with --part=I/{count}"
        )


def _rows(
    items: Sequence[Item], journal: Journal, trained: Trained, judge: Judge
) -> Iterator[Row]:
    """Yields the row of each item, in order: the one on disk, or a new one, then on disk."""
    missing = sum(item not in journal for item in items)
    if missing < len(items):
        log(f"{len(items) - missing} of {len(items)} files have a row already")
    threads, batch = os.cpu_count() or 1, round_up_to_devices(BATCH, trained.mesh)
    pending = (item for item in items if item not in journal)
    pictures = read_ahead(pending, trained.transform, threads=threads, ahead=batch + threads)
    groups = with_progress(
        rows_of(pictures, trained, judge), missing, "predicting", size=len, unit="files"
    )
    computed = _kept(groups, journal)
    for item in items:
        if item not in journal:
            yield next(computed)
            continue
        row, own = journal.find(item)
        if not own:
            journal.append([row])
        yield row
    for _ in computed:
        raise AssertionError("more rows than files")


def _kept(groups: Iterator[list[Row]], journal: Journal) -> Iterator[Row]:
    for rows in groups:
        journal.append(rows)
        yield from rows


def _write(
    out: Path,
    rows: Iterator[Row],
    items: Sequence[Item],
    journal: Journal,
    formats: Sequence[str],
    class_names: Sequence[str],
    decimal_comma: bool,
) -> None:
    """Writes the tables: those of lines as the rows come, the others from the rows on disk."""
    failed = 0
    with contextlib.ExitStack() as stack:
        streams = [
            stack.enter_context(_stream(out, name, class_names, decimal_comma))
            for name in formats
            if name in STREAMED
        ]
        for row in rows:
            failed += row.status == "failed"
            for write in streams:
                write(row)
    log(f"{TABLE}: {_counted(len(items), failed)}")
