"""The runs of a table: each trains one row with one seed and evaluates it on the test split.

A table's workdir holds, for the folder R of a row and a seed s, the training's workdir R/seed-s and
the record R/seed-s.json, which is {} until the run is finished.
"""

import csv
import functools
import itertools
import json
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dkse_jax import provenance, sharding
from dkse_jax.data.pipeline import fingerprint
from dkse_jax.data.sources import Source, load_splits, subset
from dkse_jax.data.transform import Transform
from dkse_jax.errors import UserError
from dkse_jax.evaluation.report import LEFT_OUT, measure, write_report
from dkse_jax.evaluation.run import evaluate
from dkse_jax.experiments.compare import Judged
from dkse_jax.experiments.tables import Row
from dkse_jax.files import replacing, write_atomically
from dkse_jax.models.counts import count, totals
from dkse_jax.trained import load, read_run
from dkse_jax.training.loop import train
from dkse_jax.training.setup import describe_inputs
from dkse_jax.workdir import description

TIMED_CALLS = 30


def config_of(row: Row, seed: int, base: ConfigDict) -> ConfigDict:
    """Returns the base config with the row's changes and the seed, locked."""
    config = base.copy_and_resolve_references().unlock()
    config.update_from_flattened_dict(row.changes | {"seed": seed})
    return config.lock()


def run_workdir(workdir: Path, row: Row, seed: int) -> Path:
    """Returns the training's workdir of a row with a seed."""
    return workdir / row.folder / f"seed-{seed}"


def read_record(workdir: Path, row: Row, seed: int) -> dict[str, Any]:
    """Reads the record of a finished run; {} for an unfinished one."""
    path = _record_path(workdir, row, seed)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def run(row: Row, seed: int, base: ConfigDict, workdir: Path, mesh: Mesh) -> None:
    """Trains and evaluates a row with a seed and writes its record, unless it is finished.

    Raises:
        UserError: the run was begun with another config, or its data changed; or an error of
            `train` or `evaluate`.
    """
    config, folder = config_of(row, seed, base), run_workdir(workdir, row, seed)
    description.check_workdir(folder, config)
    if read_record(workdir, row, seed):
        return
    record = _record_path(workdir, row, seed)
    record.parent.mkdir(parents=True, exist_ok=True)
    interrupted = record.exists()
    write_atomically(record, "{}\n")
    results = _classified(row, config, folder) if row.classifier else _trained(config, folder, mesh)
    if interrupted:
        # Only the time since the last start is known, not that of the whole run.
        results["minutes"] = None
    write_atomically(record, json.dumps(results, indent=2) + "\n")


def check_data(table: Iterable[Row], seeds: int, base: ConfigDict, workdir: Path) -> None:
    """Checks that the data are still those of every run of a table that was begun.

    Raises:
        UserError: they changed, with the first run that had others.
    """
    loaded: dict[tuple[str, int], dict[str, Source]] = {}
    for row, seed in itertools.product(table, range(seeds)):
        config, folder = config_of(row, seed, base), run_workdir(workdir, row, seed)
        if not (folder / description.CONFIG_FILE).exists():
            continue
        key = (config.data.to_json(), seed)
        if key not in loaded:
            loaded[key] = load_splits(config.data, seed)
        try:
            provenance.check_and_read(folder, loaded[key])
            transform = Transform.of(config.data)
            description.check_inputs(folder, describe_inputs(loaded[key], transform))
        except UserError as error:
            raise UserError(
                f"the rows of a table need the same data, but in {folder} {error}"
            ) from error


def _trained(config: ConfigDict, folder: Path, mesh: Mesh) -> dict[str, Any]:
    """Trains and evaluates a network; returns its metrics, size and times."""
    start = time.monotonic()
    train(config, folder, mesh)
    minutes = (time.monotonic() - start) / 60
    metrics = evaluate(folder, mesh=mesh)
    parameters, macs = totals(count(read_run(folder).network, config.data.image_size))
    return {
        **_chosen(metrics),
        "parameters": parameters,
        "macs": macs,
        "minutes": minutes,
        "milliseconds": milliseconds_an_image(folder, mesh),
    }


def _classified(row: Row, config: ConfigDict, folder: Path) -> dict[str, Any]:
    """Fits and evaluates a traditional classifier; its times include computing the features.

    The features are cached beside the rows' folders, for all classifiers.
    """
    from dkse_jax.experiments import classical

    splits = load_splits(config.data, config.seed)
    description.begin(folder, config, describe_inputs(splits, Transform.of(config.data)))
    record_data = provenance.recorder(folder, splits, provenance.NOTHING)
    described = {
        name: _features(split, config, folder.parents[1]) for name, split in splits.items()
    }
    start = time.monotonic()
    classifier = classical.fit(
        row.classifier,
        described["train"].features,
        splits["train"].labels,
        described["val"].features,
        splits["val"].labels,
        config.seed,
    )
    fitted = time.monotonic()
    test = splits["test"]
    log_probabilities = classifier.log_probabilities(described["test"].features)
    evaluation = described["test"].seconds + time.monotonic() - fitted
    metrics = measure(test, log_probabilities, config.seed, step=0, skipped=0)
    write_report(folder / "eval" / "test", test, log_probabilities, metrics)
    record_data()
    learning = described["train"].seconds + described["val"].seconds + fitted - start
    return {
        **_chosen(metrics),
        "parameters": classifier.parameters,
        "macs": None,
        "minutes": learning / 60,
        "milliseconds": 1000 * evaluation / len(test),
    }


def _chosen(metrics: dict[str, Any]) -> dict[str, Any]:
    """Selects the metrics that a table shows."""
    return {name: metrics[name] for name in ("n", "classes", "accuracy", "interval95")}


class Described(NamedTuple):
    """A split's features (N, F), and the seconds of their computation."""

    features: np.ndarray
    seconds: float


def _features(split: Source, config: ConfigDict, workdir: Path) -> Described:
    from dkse_jax.experiments.features import split_features

    # The seed too: synthetic images of another seed have the same ids.
    file = workdir / f"features-{config.seed}-{fingerprint(split)[:16]}.npz"
    if not file.exists():
        start = time.monotonic()
        features = split_features(split, config.data.threads)
        seconds = time.monotonic() - start
        with replacing(file, shared=True) as draft, draft.open("wb") as stream:
            np.savez(stream, features=features, seconds=seconds)
    with np.load(file, allow_pickle=False) as kept:
        return Described(kept["features"], float(kept["seconds"]))


def milliseconds_an_image(run_folder: Path, mesh: Mesh) -> float:
    """Measures the median milliseconds to classify one image with the best weights of a run."""
    trained = load(run_folder, mesh=sharding.make_mesh(mesh.local_devices[:1]))
    size = trained.transform.size
    image = np.zeros((1, size, size, 3), np.uint8)
    times = []
    for _ in range(TIMED_CALLS):
        start = time.perf_counter()
        trained.classify(image).block_until_ready()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


@functools.cache  # a table is written after each run, and finished runs do not change
def judged(folder: Path) -> Judged:
    """Reads the predictions of a finished run on its test split."""
    config = description.load_config(folder)
    source = load_splits(config.data, config.seed)["test"]
    with (folder / "eval/test/predictions.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    kept = [i for i, line in enumerate(lines) if not line.get(LEFT_OUT)]
    if len(kept) < len(lines):
        source = subset(source, np.array(kept))
    correct = np.array([lines[i]["label"] == lines[i]["prediction"] for i in kept])
    return Judged(tuple(source.ids), source.labels, tuple(source.groups), correct)


def _record_path(workdir: Path, row: Row, seed: int) -> Path:
    folder = run_workdir(workdir, row, seed)
    return folder.with_name(f"{folder.name}.json")
