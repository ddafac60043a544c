"""The images of a split that can be read, where config.data.on_bad_image is skip.

One pass reads every image before training or evaluation; the workdir keeps its findings, so that a
later start reads nothing twice and a resumed run uses the same images.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from dkse_jax.console import log, with_progress
from dkse_jax.data.decode import BadImage
from dkse_jax.data.pipeline import fingerprint
from dkse_jax.data.sources import Source, subset
from dkse_jax.distributed import processes
from dkse_jax.errors import UserError
from dkse_jax.files import explain_disk_errors, write_atomically
from dkse_jax.text import csv_text

RECORD = "unreadable.json"  # {fingerprint of a split: [[index, reason], ...]}
LIST = "skipped.csv"
Skipped = tuple[str, str, str]  # the id, class and reason of an image that cannot be read


def readable(
    workdir: Path, source: Source, data_config: ConfigDict, min_side: int
) -> tuple[Source, list[Skipped]]:
    """Returns the readable part of a split, and what it leaves out.

    Collective: process 0 reads the images, or the findings of an earlier start, for all.

    Args:
        workdir: an existing folder, where the findings are kept.
        source: the split.
        data_config: config.data; with on_bad_image "error" the split is returned as it is.
        min_side: see `Source.read`.

    Raises:
        UserError: more than max_bad_percent of the images are unreadable, or all of a class.
    """
    if data_config.on_bad_image == "error":
        return source, []
    found = processes.broadcast(lambda: _known_or_found(workdir, source, data_config, min_side))
    skipped = [
        (source.ids[index], source.class_names[source.labels[index]], reason)
        for index, reason in found
    ]
    if not skipped:
        return source, []
    kept = np.delete(np.arange(len(source)), [index for index, _ in found])
    for label in np.setdiff1d(source.labels, source.labels[kept]):
        raise UserError(f'no image of the class "{source.class_names[label]}" can be read')
    return subset(source, kept), skipped


def list_skipped(workdir: Path, skipped: list[Skipped]) -> None:
    """Writes skipped.csv, if there is anything to list."""
    if skipped:
        with explain_disk_errors("cannot write", workdir / LIST):
            header, *lines = csv_text(("file", "label", "reason"), skipped).splitlines()
            write_atomically(workdir / LIST, "\n".join([header, *sorted(lines), ""]))


def _known_or_found(
    workdir: Path, source: Source, data_config: ConfigDict, min_side: int
) -> list[tuple[int, str]]:
    path, key = workdir / RECORD, fingerprint(source)
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if key not in known:
        known[key] = _find(source, data_config.threads, min_side)
        with explain_disk_errors("cannot write", path):
            write_atomically(path, json.dumps(known, indent=1) + "\n")
    _check_share(known[key], len(source), data_config.max_bad_percent)
    return known[key]


def _find(source: Source, threads: int, min_side: int) -> list[tuple[int, str]]:
    """Reads every image; returns the index and reason of each that cannot be read."""

    def reason(index: int) -> str:
        try:
            source.read(index, min_side)
        except BadImage as error:
            return str(error)
        return ""

    found = []
    with ThreadPoolExecutor(threads) as pool:
        try:
            reasons = pool.map(reason, range(len(source)))
            for index, why in enumerate(with_progress(reasons, len(source), "reading images")):
                if why:
                    log(f"skipped: {why}")
                    found.append((index, why))
        finally:  # without it, an interrupt would wait for all images
            pool.shutdown(cancel_futures=True)
    return found


def _check_share(found: list[tuple[int, str]], images: int, max_percent: float) -> None:
    if len(found) > max_percent / 100 * images:
        raise UserError(
            f"{len(found)} of {images} images cannot be read, more than"
            f" config.data.max_bad_percent={max_percent:g}; the last one: {found[-1][1]}"
        )
