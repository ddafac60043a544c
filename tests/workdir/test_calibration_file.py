import dataclasses
import json
import re

import numpy as np
import pytest

from dkse_jax.errors import UserError
from dkse_jax.evaluation.calibration import Errors, Thresholds
from dkse_jax.evaluation.distance import fit_distance
from dkse_jax.workdir import calibration_file
from dkse_jax.workdir.calibration_file import FILE, Calibration, Fitted, load, save

WEIGHTS = "3a4d" * 16


def calibration(seed=0, weights=WEIGHTS):
    rng = np.random.default_rng(seed)
    distance = fit_distance(rng.normal(size=(60, 8)), rng.integers(0, 3, 60))
    errors, thresholds = Errors(0.08, 0.03, 0.7, 0.6), Thresholds(0.41, 9.5)
    fitted = Fitted(1.7 + seed, errors, thresholds, 0.05, 0.8, distance)
    return Calibration(weights, ("ink", "oil", "é\udce9"), 511, 34, "", fitted)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_calibration_is_read_as_it_was_written(tmp_path):
    assert load(tmp_path, WEIGHTS) is None
    save(tmp_path, calibration())
    found = load(tmp_path, WEIGHTS)
    features = np.random.default_rng(1).normal(size=(5, 8))
    distance = calibration().fitted.distance
    np.testing.assert_array_equal(found.fitted.distance.of(features), distance.of(features))
    assert found.class_names == ("ink", "oil", "é\udce9")
    assert dataclasses.replace(found.fitted, distance=None) == dataclasses.replace(
        calibration().fitted, distance=None
    )
    assert found.sentence() == (
        "calibrated at temperature 1.700 on val (511 pictures in 34 groups): calibration error 8.0%"
        " before, 3.0% after, on groups that the fit left out"
    )


def test_one_without_a_fit_has_its_reason_alone(tmp_path):
    save(tmp_path, calibration())
    save(tmp_path, Calibration(WEIGHTS, ("ink", "oil"), 15, 15, "val has 15 pictures", None))
    assert files(tmp_path) == [FILE]
    assert load(tmp_path, WEIGHTS).fitted is None
    assert load(tmp_path, WEIGHTS).sentence() == "uncalibrated: val has 15 pictures"


def test_a_new_one_replaces_the_old_one_whole(tmp_path, monkeypatch):
    save(tmp_path, calibration())
    before = files(tmp_path)

    def killed(path, text):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(calibration_file, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):  # between its two files
            save(tmp_path, calibration(1))
    assert load(tmp_path, WEIGHTS).fitted.temperature == 1.7
    (tmp_path / "calibration-0123456789ab.npz.tmp").write_bytes(b"half")
    save(tmp_path, calibration(1))
    assert load(tmp_path, WEIGHTS).fitted.temperature == 2.7
    assert len(files(tmp_path)) == 2
    assert files(tmp_path) != before


def change(key, value):
    def changed(folder):
        tree = json.loads((folder / FILE).read_text())
        (folder / FILE).write_text(json.dumps(tree | {key: value}))

    return changed


def flip(folder):
    (path,) = folder.glob("*.npz")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / FILE).write_bytes(b""), "is damaged ("),
        (lambda folder: (folder / FILE).write_bytes(b"\xff\x00"), "is damaged ("),
        (lambda folder: (folder / FILE).write_text("[1]"), "is damaged ("),
        (lambda folder: (folder / FILE).write_text("{}"), "is damaged ("),
        (change("temperature", 1.0), "is damaged (its checksum is wrong)"),
        (change("sha256", 3), "is damaged (its checksum is wrong)"),
        (flip, "is damaged (the checksum of calibration-"),
        (lambda folder: next(folder.glob("*.npz")).unlink(), "is incomplete ("),
    ],
)
def test_a_damaged_one_is_one_sentence_with_the_remedy(tmp_path, damage, sentence):
    save(tmp_path, calibration())
    damage(tmp_path)
    with pytest.raises(UserError) as caught:
        load(tmp_path, WEIGHTS)
    text = str(caught.value)
    assert text.startswith(f'"{tmp_path / FILE}" {sentence}')
    assert text.endswith(f"fit it again by dkse-eval --workdir={tmp_path} --calibrate")
    assert "\n" not in text
    assert not calibration_file.is_current(tmp_path, WEIGHTS)


def test_one_of_other_weights_or_of_a_later_version_is_refused(tmp_path, monkeypatch):
    save(tmp_path, calibration(weights="0" * 64))
    with pytest.raises(UserError, match=re.escape(f'{FILE}" is of other weights than those of')):
        load(tmp_path, WEIGHTS)
    assert not calibration_file.is_current(tmp_path, WEIGHTS)
    monkeypatch.setattr(calibration_file, "_VERSION", 2)
    save(tmp_path, calibration())
    monkeypatch.undo()
    with pytest.raises(UserError, match="it is of version 2, not 1"):
        load(tmp_path, WEIGHTS)


def test_a_full_disk_keeps_the_older_one(tmp_path, monkeypatch):
    save(tmp_path, calibration())

    def full(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(calibration_file, "write_atomically", full)
    with pytest.raises(UserError, match=r"cannot write .*No space left"):
        save(tmp_path, calibration(1))
    assert load(tmp_path, WEIGHTS).fitted.temperature == 1.7
