"""The examples of an evaluation that the weights have not seen."""

import contextlib
from collections.abc import Mapping

import numpy as np

from dkse_jax import provenance
from dkse_jax.console import log
from dkse_jax.data.identity import ROW
from dkse_jax.data.pipeline import fingerprint
from dkse_jax.data.sources import Source, load_splits
from dkse_jax.distributed import processes
from dkse_jax.errors import UserError
from dkse_jax.trained import Run
from dkse_jax.workdir import data_file


def data_of_run(run: Run, splits: Mapping[str, Source]) -> np.ndarray | None:
    """Returns the rows of a run's data.npy, made and written first for a run of an earlier version.

    Args:
        run: the run.
        splits: its data, if they are loaded already.

    Returns:
        The rows; None where the run has none and its data cannot be loaded, or changed.
    """
    rows = data_file.load(run.workdir, ROW)
    if rows is not None:
        return rows
    provenance.remark_on_missing(run.workdir)
    with contextlib.suppress(UserError):
        splits = splits or load_splits(run.config.data, run.config.seed)
    if not all(is_unchanged(run, name, split) for name, split in splits.items()):
        splits = {}
    if splits:
        before = provenance.history(run.workdir, run.config, fresh=False)
        provenance.recorder(run.workdir, splits, before)()
    processes.barrier("the data are recorded")
    return data_file.load(run.workdir, ROW)


def is_unchanged(run: Run, name: str, split: Source) -> bool:
    """Returns whether a split has the names and labels that it had in the training."""
    return fingerprint(split) == run.splits[name]["fingerprint"]


def seen_of(rows: np.ndarray | None, split: str, source: Source) -> tuple[np.ndarray, str]:
    """Finds the examples that the weights have seen, and logs their number. Collective.

    Args:
        rows: of `data_of_run`.
        split: the name of the evaluated split; "all" of other images.
        source: the evaluated examples, which have been read.

    Returns:
        (N,) bool, seen or not; and "known" or "unknown", whether that is known of all.

    Raises:
        UserError: all of them were seen, and the split is neither train nor val.
    """
    if source.contents:
        digests = source.contents.known().view(np.uint8).reshape(-1, 16)
        source.contents.learn(processes.merged(digests).reshape(-1).view("S16"))
    found = provenance.seen(rows, source)
    either, trained = found.either(), int(found.trained.sum())
    counts = f"{trained:,} were trained on, {int(found.chosen.sum()):,} chosen on"
    if not found.known:
        log(
            "not everything that the weights were trained on is known: some of these images may be"
            " among it"
        )
    if split in ("train", "val"):
        log(f"the weights were {'trained' if split == 'train' else 'chosen'} on this split")
    elif either.all():
        raise UserError(
            f"the weights have seen all {len(source):,} images ({counts}), in this run or in one "
            "that it began from: nothing is left to evaluate; give images that no training had"
        )
    elif either.any():
        log(
            f"the weights have seen {int(either.sum()):,} of {len(source):,} images ({counts}): "
            "they are left out of the metrics"
        )
    return either, "known" if found.known else "unknown"
