"""The runs behind a table: each trains one row with one seed and judges it on the test split.

A table's workdir holds, for row R and seed s, the training's own workdir R/seed-s and the record
R/seed-s.json, which is {} until the run is finished.
"""

import csv
import json
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dkse_jax import devices
from dkse_jax.data.sources import load_splits
from dkse_jax.data.transform import Transform
from dkse_jax.evaluation.evaluate import make_forward
from dkse_jax.evaluation.run import evaluate_run
from dkse_jax.experiments.compare import Judged
from dkse_jax.experiments.tables import Row
from dkse_jax.models import create_model
from dkse_jax.models.counts import count, totals
from dkse_jax.training.loop import train
from dkse_jax.workdir import checkpoint, description
from dkse_jax.workdir.files import write_atomically

TIMED_CALLS = 30


def config_of(row: Row, seed: int, base: ConfigDict) -> ConfigDict:
    """The base config with the row's changes and the seed, locked."""
    config = base.copy_and_resolve_references().unlock()
    config.update_from_flattened_dict(row.changes | {"seed": seed})
    return config.lock()


def run_workdir(workdir: Path, row: str, seed: int) -> Path:
    """Where the training of a row with a seed keeps what it makes."""
    return workdir / row.replace(" ", "-") / f"seed-{seed}"


def read_record(workdir: Path, row: str, seed: int) -> dict[str, Any]:
    """What a finished run measured; {} of one that is not finished or was never begun."""
    path = _record_path(workdir, row, seed)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def run(row: Row, seed: int, base: ConfigDict, workdir: Path) -> None:
    """Trains a row with a seed, judges it and writes its record; a finished one is not run again.

    Raises:
        UserError: the run was begun with another config, or its data changed; and what `train` and
            `evaluate_run` raise.
    """
    config, folder = config_of(row, seed, base), run_workdir(workdir, row.name, seed)
    description.check_workdir(folder, config)
    if read_record(workdir, row.name, seed):
        return
    record = _record_path(workdir, row.name, seed)
    record.parent.mkdir(parents=True, exist_ok=True)
    interrupted = record.exists()
    write_atomically(record, "{}\n")
    start = time.monotonic()
    train(config, folder)
    # Of an interrupted run only the time since its last start is known, which is not the answer.
    minutes = None if interrupted else (time.monotonic() - start) / 60

    evaluate_run(folder, "test", None)
    metrics = json.loads((folder / "eval/test/metrics.json").read_text(encoding="utf-8"))
    model = create_model(config.model, metrics["classes"])
    parameters, macs = totals(count(model, config.data.image_size))
    results = {
        "parameters": parameters,
        "macs": macs,
        "minutes": minutes,
        "milliseconds": milliseconds_an_image(folder),
        **{name: metrics[name] for name in ("n", "classes", "accuracy", "interval95")},
    }
    write_atomically(record, json.dumps(results, indent=2) + "\n")


def milliseconds_an_image(run_folder: Path) -> float:
    """The median time in which the best weights of a run judge one image, as evaluation does."""
    config, inputs = description.load_config(run_folder), description.load_inputs(run_folder)
    transform = Transform.from_json(inputs["transform"])
    model = create_model(config.model, len(inputs["class_names"]))
    mesh = devices.make_mesh(jax.devices()[:1])
    image = np.zeros((1, transform.size, transform.size, 3), np.uint8)
    shape = jax.ShapeDtypeStruct(image.shape, jnp.float32)
    target = devices.abstract(jax.eval_shape(model.init, jax.random.key(0), shape), mesh)
    step = checkpoint.best_step(run_folder)
    assert step is not None, "a run that was judged has a best checkpoint"
    variables = checkpoint.restore_variables(run_folder, step, target)
    classify = make_forward(model, transform, mesh)(variables)
    times = []
    for _ in range(TIMED_CALLS):
        start = time.perf_counter()
        classify(image).block_until_ready()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def judged(row: str, seed: int, workdir: Path) -> Judged:
    """The answers of a finished run on its test split."""
    folder = run_workdir(workdir, row, seed)
    config = description.load_config(folder)
    source = load_splits(config.data, config.seed)["test"]
    with (folder / "eval/test/predictions.csv").open(encoding="utf-8", newline="") as file:
        correct = [line["label"] == line["prediction"] for line in csv.DictReader(file)]
    return Judged(source.ids, source.labels, source.groups, np.array(correct))


def _record_path(workdir: Path, row: str, seed: int) -> Path:
    folder = run_workdir(workdir, row, seed)
    return folder.with_name(f"{folder.name}.json")
