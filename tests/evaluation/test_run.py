import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from dkse_jax.errors import UserError
from dkse_jax.evaluation.run import evaluate_run

NAMES = ["hatched_landscape", "stippled_landscape", "stippled_rosette"]


@pytest.fixture
def run(trained, tmp_path):
    """A copy elsewhere: a workdir can be moved."""
    return shutil.copytree(trained, tmp_path / "moved")


def report(run, split):
    return json.loads((run / "eval" / split / "metrics.json").read_text())


def test_the_test_split_is_judged_without_another_flag(run, capsys):
    evaluate_run(run, "test", None)
    metrics = report(run, "test")
    assert metrics["n"] == 3 * 7
    assert metrics["classes"] == 3
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        f"test accuracy {metrics['accuracy']:.4f}; look at {run / 'eval/test/confusion.png'}"
    )
    with (run / "eval/test/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    right = sum(row["label"] == row["prediction"] for row in rows)
    assert right / len(rows) == metrics["accuracy"]


def test_val_agrees_with_the_journal(run):
    evaluate_run(run, "val", None)
    metrics = report(run, "val")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    line = next(
        line for line in lines if line["step"] == metrics["step"] and line["split"] == "val"
    )
    assert metrics["accuracy"] == line["accuracy"]
    assert metrics["loss"] == pytest.approx(line["loss"], rel=1e-6)
    best = max(line["accuracy"] for line in lines if line["split"] == "val")
    assert metrics["accuracy"] == best


def pictures(folder, names, each=2):
    for name in names:
        (folder / name).mkdir(parents=True)
        for i in range(each):
            pixels = np.random.default_rng(i).integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def test_other_images_with_the_same_class_names(run, tmp_path):
    evaluate_run(run, "all", pictures(tmp_path / "other", NAMES[1:]))
    metrics = report(run, "all")
    assert metrics["n"] == 4
    assert {name: row["n"] for name, row in metrics["per_class"].items()} == dict(
        zip(NAMES, (0, 2, 2), strict=True)
    )


def test_an_unknown_class_is_refused(run, tmp_path):
    with pytest.raises(UserError, match=r"stippled_rosete.*stippled_rosette"):
        evaluate_run(run, "all", pictures(tmp_path / "other", [*NAMES[:2], "stippled_rosete"]))
    assert not (run / "eval").exists()


@pytest.mark.parametrize(
    ("split", "root", "sentence"),
    [
        ("tets", None, 'did you mean "test"'),
        ("all", None, "go together"),
        ("test", "somewhere", "go together"),
    ],
)
def test_wrong_flags_are_refused(run, split, root, sentence):
    with pytest.raises(UserError, match=sentence):
        evaluate_run(run, split, root)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"is not a run: config.json cannot be read"):
        evaluate_run(tmp_path, "test", None)
    assert not list(tmp_path.iterdir())


def test_changed_data_are_refused(run):
    inputs = json.loads((run / "inputs.json").read_text())
    inputs["splits"]["test"]["fingerprint"] = "0" * 64
    (run / "inputs.json").write_text(json.dumps(inputs))
    with pytest.raises(UserError, match="the test data changed since the training"):
        evaluate_run(run, "test", None)


def test_a_run_without_a_checkpoint_is_refused(run):
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(UserError, match="has no evaluated checkpoint yet"):
        evaluate_run(run, "test", None)
