"""F10, F14, F18, F19, F20: no number that is silently wrong."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from dkse_jax import inference
from dkse_jax.data.pipeline import training_batches
from dkse_jax.data.sources import load_splits
from dkse_jax.errors import UserError
from dkse_jax.workdir import checkpoint
from tests.faults import runs, saboteurs, thin
from tests.faults.known import BATCH, brute_force, judged, noise
from tests.short import FULL

WHERE = r"at step {step}, at learning rate [\d.e+-]+, on batch [0-9a-f]{{12}}; start again"


@pytest.mark.fault("F10", "a learning rate of 1e20, a gradient that overflows")
@pytest.mark.parametrize(
    ("flags", "hook", "step", "saved"),
    [
        pytest.param(
            ("--config.optimizer.learning_rate=1e20", "--config.optimizer.clip_norm=0.0"),
            "-",
            0,
            0,
            marks=pytest.mark.full,
        ),
        ((), "hooks.gradient_overflows", 21, 18),
    ],
)
def test_a_loss_that_is_not_finite_ends_the_run(tmp_path, flags, hook, step, saved):
    workdir = tmp_path / "run"
    process = runs.train(workdir, *flags, hooks=hook)
    assert process.end() == 2, process.output
    assert "Traceback" not in process.output
    assert re.search(WHERE.format(step=step or r"\d+"), process.output.splitlines()[-1])
    assert "NaN" not in runs.journal(workdir).decode()
    assert "Infinity" not in runs.journal(workdir).decode()
    assert (checkpoint.latest_step(workdir) or 0) == saved
    if saved:
        _, found = runs.arrays(workdir)
        for name, content in found.items():
            assert "step" in name or np.isfinite(np.frombuffer(content, np.float32)).all(), name


@pytest.mark.fault("F14", "the clock jumps back an hour and ahead thirty days")
@pytest.mark.full
def test_clock_jumps(tmp_path, assert_as_undisturbed):
    workdir = tmp_path / "run"
    process = runs.train(workdir, hooks="hooks.clock_jumps")
    assert process.end() == 0, process.output
    rates = [float(rate) for rate in re.findall(r"([-\d.]+) images/s", process.output)]
    assert rates
    assert all(0 < rate < 1e6 for rate in rates)
    assert not re.search(r"left -|\d+ h ", process.output)
    assert_as_undisturbed(workdir)


@pytest.mark.fault("F18", "files listed in any order")
def test_any_order_of_the_listing(tmp_path, monkeypatch):
    config = folder_of_noise(tmp_path)
    expected = load_splits(config.data, 0)
    monkeypatch.setattr(saboteurs.os, "listdir", saboteurs.os.listdir)  # are put back at the end
    monkeypatch.setattr(saboteurs.os, "scandir", saboteurs.os.scandir)
    saboteurs.listing_shuffled()
    for name, split in load_splits(config.data, 0).items():
        assert split.class_names == expected[name].class_names == ("1", "10", "2", "É")
        assert split.ids == expected[name].ids
        np.testing.assert_array_equal(split.labels, expected[name].labels)


def folder_of_noise(tmp_path):
    from PIL import Image

    root = tmp_path / "images"
    rng = np.random.default_rng(0)
    for name in ("1", "2", "10", "E\u0301"):  # the last one in two characters, as macOS spells it
        (root / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    config = thin.get_config()
    config.data.source, config.data.root = "folder", str(root)
    return config


@pytest.mark.fault("F18", "judged on a folder without a class, and with one more")
@pytest.mark.full
def test_labels_are_those_of_the_weights(tmp_path, baseline):
    from PIL import Image

    names = json.loads((baseline / "inputs.json").read_text())["class_names"]
    pictures = load_splits(thin.get_config().data, 0)["test"]
    root = tmp_path / "others"
    for label in (2, 0):  # and none of class 1
        (root / names[label]).mkdir(parents=True)
        for index in np.flatnonzero(pictures.labels == label):
            Image.fromarray(pictures.read(int(index), None)).save(
                root / names[label] / f"{index:03}.png"
            )
    whole, part = tmp_path / "whole", tmp_path / "part"
    for workdir, flags in ((whole, ["--split=test"]), (part, ["--split=all", f"--root={root}"])):
        shutil.copytree(baseline, workdir)
        process = runs.Process("eval.py", f"--workdir={workdir}", *flags)
        assert process.end() == 0, process.output
    confusion = [
        (folder / "confusion.csv").read_text().splitlines()
        for folder in (whole / "eval/test", *part.glob("eval/others-*"))
    ]
    assert confusion[1][1] == confusion[0][1]
    assert confusion[1][3] == confusion[0][3]
    assert confusion[1][2].split(",")[1:] == ["0", "0", "0"]

    (root / "fresco").mkdir()
    shutil.copy(next(root.rglob("*.png")), root / "fresco" / "a.png")
    process = runs.Process("eval.py", f"--workdir={part}", "--split=all", f"--root={root}")
    assert process.end() == 2
    assert 'has the class "fresco", which the weights do not know' in process.output


@pytest.mark.fault("F19", "splits that no batch size divides, on 1, 2, 4 and 8 devices")
@pytest.mark.parametrize("saboteur", ["-", "remainder_dropped", "padding_counted"])
def test_every_example_counts_once(monkeypatch, saboteur):
    if saboteur != "-":
        monkeypatch.setattr(inference, "evaluation_batches", inference.evaluation_batches)
        getattr(saboteurs, saboteur)()
    with runs.must_fail(saboteur):
        for n in (1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 7, 997 if FULL else 101):
            expected = brute_force(*noise(n))
            for count in (1, 2, 4, 8):
                found = judged(n, count)
                assert found["n"] == n
                assert (found["accuracy"], found["top2"]) == expected[:2]
                assert abs(found["loss"] - expected[2]) < 1e-6


@pytest.mark.fault("F20", "the same batches whatever the number of threads and the first step")
def test_batches_depend_on_seed_and_step_alone():
    config = thin.get_config()
    source = load_splits(config.data, config.seed)["train"]

    def batches(threads, first_step):
        config.data.threads = threads
        found = training_batches(source, config, first_step=first_step, last_step=14)
        return [(batch["index"].tolist(), batch["image"].tobytes()) for batch in list(found)[-4:]]

    assert batches(1, 1) == batches(2, 1) == batches(5, 9) == batches(3, 11)


@pytest.mark.fault("F20", "the same seed twice, and with other threads")
@pytest.mark.full
def test_the_same_seed_gives_the_same_bits(tmp_path, assert_as_undisturbed):
    process = runs.train(tmp_path / "run", "--config.data.threads=5")
    assert process.end() == 0, process.output
    assert_as_undisturbed(tmp_path / "run")


@pytest.mark.fault("F10", "a state that is not finite is never saved")
def test_a_state_that_is_not_finite_is_not_saved(tmp_path):
    state = SimpleNamespace(variables={"params": {"kernel": np.array([1.0, np.inf], np.float32)}})
    with pytest.raises(UserError, match="params/kernel"):
        checkpoint.save(tmp_path, 1, state.variables, {"step": np.int32(1)}, {})
    assert not list(tmp_path.iterdir())
