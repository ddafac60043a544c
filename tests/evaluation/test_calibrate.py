"""Calibration of a run: at its end, after a kill there, and of a run of an earlier version."""

import json
import shutil

import numpy as np
import pytest

from dkse_jax.errors import UserError
from dkse_jax.evaluation import calibrate, calibration
from dkse_jax.evaluation.run import calibrate_again, evaluate
from dkse_jax.prediction.judging import load_judge
from dkse_jax.trained import read_run
from dkse_jax.training.loop import train
from dkse_jax.workdir import calibration_file, checkpoint
from dkse_jax.workdir.checkpoint_digest import digest_of_step
from tests.conftest import thin_config

pytestmark = pytest.mark.usefixtures("short")
OF_VAL = 15


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def enough(monkeypatch):
    """The val of the thin config is large enough."""
    monkeypatch.setattr(calibration, "LEAST_EXAMPLES", OF_VAL)


def files(run):
    """The bytes of the files of a calibration by name."""
    return {path.name: path.read_bytes() for path in run.glob("calibration*")}


def digest(run):
    return digest_of_step(run, checkpoint.best_step(run))


def test_a_training_says_at_its_end_that_val_is_too_small(trained, monkeypatch):
    sentence = "uncalibrated: val has 15 pictures, fewer than 100"
    assert load_judge(trained, digest(trained), read_run(trained).class_names).remark == sentence
    assert list(files(trained)) == ["calibration.json"]


def test_a_finished_run_without_a_calibration_gets_it(run, enough, monkeypatch, capsys):
    (run / "calibration.json").unlink()
    save = calibration_file.save

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(calibration_file, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            train(thin_config(), run)
    assert files(run) == {}
    train(thin_config(), run)
    first = files(run)
    assert len(first) == 2
    assert "calibrated at temperature " in capsys.readouterr().out
    # Undamaged, it is not fitted again; damaged or of other weights, it is, to the same bytes.
    monkeypatch.setattr(calibrate, "restore", None)
    train(thin_config(), run)
    monkeypatch.undo()
    monkeypatch.setattr(calibration, "LEAST_EXAMPLES", OF_VAL)
    assert calibration_file.save is save
    (run / "calibration.json").write_bytes(first["calibration.json"].replace(b"0", b"1", 1))
    train(thin_config(), run)
    assert files(run) == first


def test_the_calibration_is_of_the_best_weights_and_their_answers(run, enough):
    calibrate_again(run)
    found = calibration_file.load(run, digest(run))
    assert (found.examples, found.groups) == (OF_VAL, OF_VAL)
    metrics = evaluate(run, "val")
    assert metrics["temperature"] == found.fitted.temperature
    assert metrics["ece_calibrated"] == found.fitted.errors.ece_after
    assert metrics["ece"] == pytest.approx(found.fitted.errors.ece_before, abs=1e-6)
    assert metrics["set_coverage"] >= 0.9
    assert 1 <= metrics["set_size"] <= 3
    assert found.fitted.refused <= 1.01 / OF_VAL


def test_an_evaluation_shows_the_error_before_and_after(run, enough, capsys):
    plain = evaluate(run, "test")
    assert plain["calibration"] == "uncalibrated: val has 15 pictures, fewer than 100"
    assert [plain[key] for key in ("temperature", "ece_calibrated", "set_coverage")] == [None] * 3
    assert plain["calibration"] in capsys.readouterr().out
    calibrate_again(run)
    metrics = evaluate(run, "test")
    same = {"loss", "accuracy", "ece", "per_class", "top2", "interval95"}
    assert {key: metrics[key] for key in same} == {key: plain[key] for key in same}
    assert json.loads((run / "eval/test/metrics.json").read_text()) == metrics
    text = (
        f"calibrated at temperature {metrics['temperature']:.3f}: calibration error"
        f" {metrics['ece_calibrated']:.0%}; sets hold the class of {metrics['set_coverage']:.0%},"
        f" with {metrics['set_size']:.2f} classes on average"
    )
    assert text in capsys.readouterr().out.splitlines()


def test_an_evaluation_goes_on_uncalibrated_where_the_weights_are_others(run, capsys):
    tree = calibration_file.load(run, digest(run))
    calibration_file.save(run, calibration_file.dataclasses.replace(tree, weights="0" * 64))
    assert evaluate(run, "test")["temperature"] is None
    assert "is of other weights than those of" in capsys.readouterr().out
    with pytest.raises(UserError, match="is of other weights"):
        load_judge(run, digest(run), read_run(run).class_names)


def test_at_most_so_many_pictures_of_train_are_looked_at(run, enough, monkeypatch):
    looked = []

    def answers(trained, source, doing):
        looked.append(source.ids)
        rng = np.random.default_rng(0)
        return np.log(rng.dirichlet([1] * 3, len(source))), rng.normal(size=(len(source), 4))

    monkeypatch.setattr(calibrate, "answers", answers)
    monkeypatch.setattr(calibrate, "MOST_EXAMPLES", 9)
    calibrate_again(run)
    on_val, on_train = looked
    assert (len(on_val), len(on_train)) == (OF_VAL, 9)
    assert len(set(on_train)) == 9
