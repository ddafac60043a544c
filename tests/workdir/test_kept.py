"""Checkpoints and runs that earlier versions wrote load exactly, for good.

The folders of tests/workdir/kept are never rewritten: a version that saves otherwise adds one, and
a line to KEPT, or a run. A checkpoint was written by `checkpoint.save(folder, STEP, *state(),
METRICS)`; a run by training and evaluating the config that is in it on one CPU device.
"""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from dkse_jax import config as configs
from dkse_jax import evaluate, load, runtime, sharding, train
from dkse_jax.workdir import checkpoint, description

FOLDER = Path(__file__).parent / "kept"
KEPT = ["0.1.0"]  # the versions of this package that wrote them
RUN = FOLDER / "run-0.1.0"
STEP, METRICS = 7, {"accuracy": 0.625, "loss": 1.5}


def values(seed: int, *shape: int) -> np.ndarray:
    """Floats of all bits in (-1, 1) by arithmetic of our own, which no library can change."""
    numbers = [(seed + 1) * 2654435761 * (i + 1) % 2**24 for i in range(np.prod(shape, dtype=int))]
    return (np.array(numbers, np.float64) / 2**23 - 1).astype(np.float32).reshape(shape)


def state() -> tuple[dict[str, Any], dict[str, Any]]:
    """(variables, training), with the structure of a run's by adamw, in plain dicts."""
    shapes = {"stem": {"kernel": (3, 3, 3, 8)}, "logits": {"kernel": (8, 5), "bias": (5,)}}

    def params(seed: int) -> dict[str, Any]:
        return {
            layer: {name: values(seed + len(name), *shape) for name, shape in leaves.items()}
            for layer, leaves in shapes.items()
        }

    statistics = {"norm": {"mean": values(50, 8), "var": 2 + values(60, 8)}}
    half = values(70, 8).astype(jnp.bfloat16)
    moments = {"count": np.int32(STEP), "mu": params(20), "nu": params(30), "half": half}
    variables = {"params": params(10), "batch_stats": {"stem": statistics}}
    training = {"step": np.int32(STEP), "opt_state": {"0": moments}}
    return jax.tree.map(jnp.asarray, (variables, training))


@pytest.mark.parametrize("version", KEPT)
def test_what_an_earlier_version_saved_loads_exactly(version):
    workdir = FOLDER / version
    assert checkpoint.latest_step(workdir) == checkpoint.best_step(workdir) == STEP
    expected = state()
    found = checkpoint.restore(workdir, STEP, *sharding.abstract(expected, runtime.default_mesh()))
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def test_the_kept_values_are_what_they_were():
    """Or else a change of `state` could hide a change of what is read."""
    some = values(1, 2, 3)
    assert some.dtype == np.float32
    assert some[0, :2].tolist() == [-0.13319754600524902, 0.733604907989502]


def test_a_run_of_an_earlier_version_evaluates_to_the_same_numbers(tmp_path):
    workdir = shutil.copytree(RUN, tmp_path / "run")
    shutil.rmtree(workdir / "eval")
    trained = load(workdir)
    assert (trained.step, len(trained.class_names)) == (5, 3)
    found = evaluate(workdir)
    expected = json.loads((RUN / "eval/test/metrics.json").read_text())
    for key in ("loss", "ece"):  # sums of what another CPU may round otherwise
        assert found.pop(key) == pytest.approx(expected.pop(key), abs=1e-5)
    assert {key: found[key] for key in expected} == expected
    assert (found["seen"], found["history"]) == (0, "known")
    predicted, kept = (predictions(run / "eval/test") for run in (workdir, RUN))
    assert predicted[0] == kept[0]
    assert len(predicted[0]) == 21
    np.testing.assert_allclose(predicted[1], kept[1], rtol=0, atol=1e-5)


def predictions(folder: Path) -> tuple[list[list[str]], np.ndarray]:
    """(the file, label and prediction of each example, the log-probabilities)."""
    with (folder / "predictions.csv").open(newline="") as file:
        _, *rows = csv.reader(file)
    return [row[:3] for row in rows], np.log(np.array([row[4:] for row in rows], float))


@pytest.mark.parametrize("profiles", [False, pytest.param(True, marks=pytest.mark.full)])
def test_a_run_of_an_earlier_version_is_prolonged(tmp_path, profiles):
    """Also by the config of its command, which has the default of a field that it had not."""
    workdir = shutil.copytree(RUN, tmp_path / "run")
    config = description.load_config(workdir).unlock()
    before = (workdir / "metrics.jsonl").read_bytes()
    assert checkpoint.latest_step(workdir) == 5
    config.train.epochs *= 2
    train(changed(config, profiles), workdir)
    after = (workdir / "metrics.jsonl").read_bytes()
    assert after.startswith(before)
    later = [json.loads(line) for line in after[len(before) :].splitlines()]
    assert [line["step"] for line in later if line["split"] == "train"] == list(range(6, 11))
    assert checkpoint.latest_step(workdir) == 10
    saved = json.loads((workdir / "config.json").read_text())
    assert saved == json.loads(configs.to_json(config))


def changed(config: ConfigDict, profiles: bool) -> ConfigDict:
    assert not config.data.colour_profiles
    config = config.copy_and_resolve_references()
    config.data.colour_profiles = profiles
    return config
