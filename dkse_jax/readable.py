"""The readable images of a split, for config.data.on_bad_image = skip.

One pass reads every image before training or evaluation; its findings are stored in the workdir,
for later starts and so that a resumed run uses the same images.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from dkse_jax.console import log, with_progress
from dkse_jax.data.decode import BadImage
from dkse_jax.data.pipeline import fingerprint, in_threads
from dkse_jax.data.sources import Source, subset
from dkse_jax.distributed import processes
from dkse_jax.errors import UserError
from dkse_jax.files import explain_disk_errors, write_atomically
from dkse_jax.text import csv_text

RECORD = "unreadable.json"  # {fingerprint of a split: [[index, reason], ...]}
LIST = "skipped.csv"
Skipped = tuple[str, str, str]  # the id, class and reason of an image that cannot be read


def readable(
    workdir: Path | None, source: Source, data_config: ConfigDict, min_side: int
) -> tuple[Source, list[Skipped]]:
    """Returns the readable part of a split, and the skipped images.

    Collective: process 0 reads the images, or the findings of an earlier start, for all.

    Args:
        workdir: an existing folder for the findings; None to store none.
        source: the split.
        data_config: config.data; with on_bad_image "error" the split is returned unchanged.
        min_side: see `Source.read`.

    Raises:
        UserError: more than max_bad_percent of the images, or all, cannot be read.
    """
    if data_config.on_bad_image == "error":
        return source, []
    found = processes.broadcast(lambda: _unreadable(workdir, source, data_config, min_side))
    skipped = [
        (source.ids[index], source.class_names[source.labels[index]], reason)
        for index, reason in found
    ]
    if not skipped:
        return source, []
    if len(skipped) == len(source):
        raise UserError(f"none of the {len(source)} images can be read")
    kept = np.delete(np.arange(len(source)), [index for index, _ in found])
    return subset(source, kept), skipped


def check_classes(whole: Source, rest: Source) -> None:
    """Raises UserError for a class without an image in the rest."""
    for label in np.setdiff1d(whole.labels, rest.labels):
        raise UserError(f'no image of the class "{whole.class_names[label]}" can be read')


def list_skipped(workdir: Path, skipped: list[Skipped]) -> None:
    """Writes skipped.csv if images are skipped."""
    if skipped:
        with explain_disk_errors("cannot write", workdir / LIST):
            header, *lines = csv_text(("file", "label", "reason"), skipped).splitlines()
            write_atomically(workdir / LIST, "\n".join([header, *sorted(lines), ""]))


def _unreadable(
    workdir: Path | None, source: Source, data_config: ConfigDict, min_side: int
) -> list[tuple[int, str]]:
    """Returns the index and reason of each unreadable image, and logs each."""
    key, known = fingerprint(source), _read_record(workdir)
    most = data_config.max_bad_percent / 100 * len(source)
    found = []
    pairs = known[key] if key in known else _read_all(source, data_config.threads, min_side)
    for index, reason in pairs:
        log(f"skipped: {reason}")
        found.append((index, reason))
        if len(found) > most:
            raise UserError(
                f"{len(found)} of {len(source)} images cannot be read, more than"
                f" config.data.max_bad_percent={data_config.max_bad_percent:g}; the last one:"
                f" {reason}"
            )
    if workdir and key not in known:
        with explain_disk_errors("cannot write", workdir / RECORD):
            write_atomically(workdir / RECORD, json.dumps(known | {key: found}, indent=1) + "\n")
    return found


def _read_all(source: Source, threads: int, min_side: int) -> Iterator[tuple[int, str]]:
    """Reads every image; yields the index and reason of each that cannot be read."""

    def reason(index: int) -> str:
        try:
            source.read(index, min_side)
        except BadImage as error:
            return str(error)
        return ""

    reasons = in_threads(range(len(source)), reason, threads)
    for index, why in enumerate(with_progress(reasons, len(source), "reading images")):
        if why:
            yield index, why


def _read_record(workdir: Path | None) -> dict[str, list[tuple[int, str]]]:
    """Returns the record; {} if it is missing or damaged: the images are then read again."""
    try:
        return json.loads((workdir / RECORD).read_text(encoding="utf-8")) if workdir else {}
    except (FileNotFoundError, ValueError):
        return {}
