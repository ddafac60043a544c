"""A table of training runs: every row with every seed."""

import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from dkse_jax import runtime
from dkse_jax.config import steps, validate
from dkse_jax.console import duration, log, say, time_left
from dkse_jax.data.sources import load_splits
from dkse_jax.errors import UserError, nearest
from dkse_jax.experiments import runs, table_report
from dkse_jax.experiments.compare import Difference, difference
from dkse_jax.experiments.tables import Row, Variants, rows_of
from dkse_jax.files import expanded
from dkse_jax.models import configured_model
from dkse_jax.models.counts import count, totals
from dkse_jax.training.estimate import guessed_seconds
from dkse_jax.workdir import description

BOOTSTRAP_SAMPLES = 10_000
CLASSIFIER_SECONDS_AN_IMAGE = 0.05  # mostly for the image's features


def run_table(
    table: str,
    base: ConfigDict,
    variants: Variants,
    *,
    seeds: int,
    only: Sequence[str],
    workdir: Path,
    command: str,
    mesh: Mesh | None = None,
) -> None:
    """Trains the rows of a table with the seeds 0, 1, ... and writes the table.

    Skips finished runs and resumes unfinished ones. Rewrites table-NAME.csv, .md and .png in
    workdir after each run.

    Args:
        table: see `rows_of`.
        base: the config that all rows share.
        variants: of configs/dkse.py.
        seeds: number of runs of each row.
        only: the names of the rows to run; empty for all.
        workdir: for runs of this config; tables in the same workdir share equal rows.
        command: the command line of this table, printed with it.
        mesh: to train on; by default all devices, of which base.devices.fsdp divide the state.

    Raises:
        UserError: a mistake in the arguments or in the config of a row, before any run.
    """
    mesh = runtime.default_mesh(base.devices.fsdp) if mesh is None else mesh
    workdir = Path(expanded(workdir))
    splits = load_splits(base.data, base.seed)
    if not len(splits["test"]):
        raise UserError(f"table {table} compares the rows on test, but the data have no test split")
    rows = rows_of(table, base, variants, splits["train"].class_names)
    for row, seed in itertools.product(rows, range(seeds)):  # all rows read images alike
        base = description.as_begun(runs.run_workdir(workdir, row, seed), base)
    chosen = _chosen(rows, only)
    for row in chosen:
        validate(runs.config_of(row, 0, base))
    for row in rows:  # finished ones are in the table too
        for seed in range(seeds):
            if row in chosen or runs.read_record(workdir, row, seed):
                folder = runs.run_workdir(workdir, row, seed)
                description.check_workdir(folder, runs.config_of(row, seed, base))
    runs.check_data(rows, seeds, base, workdir)
    costs = {
        row.name: _seconds(row, base, len(splits["train"]), mesh)
        for row in rows
        if row in chosen or _is_valid(row, base)
    }
    pending = [
        (row, seed)
        for seed in range(seeds)
        for row in chosen
        if seed not in _finished(row, seeds, workdir)
    ]
    planned = sum(costs[row.name] for row, _ in pending)
    say(
        f"table {table}: {len(chosen)} rows with {seeds} seeds; {len(pending)} runs to go,"
        f" about {duration(planned)} here, by a short probe"
    )

    def write() -> str:
        lines = [
            table_report.Line(
                row,
                _finished(row, seeds, workdir),
                _against_first(row, rows, seeds, workdir),
                seeds * costs[row.name] if row.name in costs else None,
            )
            for row in rows
        ]
        return table_report.write(workdir, f"table-{table}", command, lines)

    started, guessed = time.monotonic(), 0.0
    for number, (row, seed) in enumerate(pending, start=1):
        say(f"\nrun {number} of {len(pending)}: {row.name}, seed {seed}")
        if number > 1:
            runs.check_data(rows, seeds, base, workdir)
        runs.run(row, seed, base, workdir, mesh)
        guessed += costs[row.name]
        rest = time_left(time.monotonic() - started, guessed, planned - guessed)
        write()
        say(f"table {table}: left {rest}")
    say(f"\n{write()}")
    log(f"files: {workdir / f'table-{table}'}.csv, .md, .png")


def _is_valid(row: Row, base: ConfigDict) -> bool:
    """Returns whether a row can be run with the base config."""
    try:
        validate(runs.config_of(row, 0, base))
    except UserError:
        return False
    return True


def _chosen(rows: Sequence[Row], only: Sequence[str]) -> list[Row]:
    names = [row.name for row in rows]
    for name in only:
        if name not in names:
            raise UserError(f'--rows names "{name}", which is no row{nearest(name, names)}')
    return [row for row in rows if row.name in only or not only]


def _seconds(row: Row, base: ConfigDict, examples: int, mesh: Mesh) -> float:
    """Estimates the seconds of one run of a row on this machine."""
    if row.classifier:
        return CLASSIFIER_SECONDS_AN_IMAGE * examples
    config = runs.config_of(row, 0, base)
    _, macs = totals(count(configured_model(config.model, 5), config.data.image_size))
    return guessed_seconds(macs, steps(config, examples) * config.train.batch_size, mesh)


def _finished(row: Row, seeds: int, workdir: Path) -> dict[int, dict[str, Any]]:
    """Returns the records of a row's finished runs by seed."""
    records = {seed: runs.read_record(workdir, row, seed) for seed in range(seeds)}
    return {seed: record for seed, record in records.items() if record}


def _against_first(row: Row, rows: Sequence[Row], seeds: int, workdir: Path) -> Difference | None:
    """Returns the row's difference to the first row over the seeds that both have finished.

    None without such seeds, and where the row changes the data, which makes it another task.
    """
    both = _finished(row, seeds, workdir).keys() & _finished(rows[0], seeds, workdir)
    other_data = any(field.startswith("data.") for field in row.changes)
    if row is rows[0] or other_data or not both:
        return None
    ours, first = (
        [runs.judged(runs.run_workdir(workdir, each, seed)) for seed in sorted(both)]
        for each in (row, rows[0])
    )
    return difference(ours, first, samples=BOOTSTRAP_SAMPLES, seed=0)
