import csv
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dkse_jax.data.pipeline import fingerprint
from dkse_jax.data.sources import load_splits, subset
from dkse_jax.errors import UserError
from dkse_jax.evaluation import run as evaluation_run
from dkse_jax.evaluation.card import card_text
from dkse_jax.evaluation.report import FILES, report_folder
from dkse_jax.evaluation.run import evaluate
from dkse_jax.trained import read_run
from dkse_jax.workdir.description import load_config

pytestmark = pytest.mark.usefixtures("short")

NAMES = ["hatched_landscape", "stippled_landscape", "stippled_rosette"]


@pytest.fixture
def run(trained, tmp_path):
    """Provides a copy of a workdir, since a workdir can be moved."""
    return shutil.copytree(trained, tmp_path / "moved")


def report(run, split):
    return json.loads((run / "eval" / split / "metrics.json").read_text())


def test_the_test_split_is_judged_without_another_flag(run, capsys):
    trained_only = (run / "card.md").read_text()
    assert trained_only == card_text(run)
    assert "## Evaluation" not in trained_only
    evaluate(run, "test", None)
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
    assert (run / "card.md").read_text() == card_text(run)
    assert f"| {metrics['accuracy']:.4g} |" in re.sub(" +", " ", card_text(run))


def test_gradcam_adds_a_picture_for_each_class(run, capsys):
    evaluate(run, "test", None, gradcam=2, stage="dkse_6")
    folder = run / "eval/test/gradcam"
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.png" for name in NAMES]
    for path in folder.iterdir():
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert 1200 < image.width < 1500  # two pairs of squares of 300 pixels
            assert 400 < image.height < 700
    *_, line, last = capsys.readouterr().out.splitlines()
    assert line == f"Grad-CAM at dkse_6: 3 pictures in {folder}"
    assert last.startswith("test accuracy ")
    evaluate(run, "test", None)
    assert report(run, "test")["n"] == 3 * 7
    assert not folder.exists()  # the older report is gone


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"gradcam": 2, "stage": "dkse6"}, r'no map "dkse6"; did you mean "dkse_6"\?'),
        ({"gradcam": 2, "stage": "pool_15"}, r'no map "pool_15"; choose one of depthwise_2, '),
        ({"gradcam": 0}, "--gradcam is 0, but must be from 1 to 100"),
        ({"gradcam": 101}, "--gradcam is 101, but must be from 1 to 100"),
        ({"stage": "dkse_6"}, "--stage=dkse_6 needs --gradcam=N"),
    ],
)
def test_wrong_gradcam_flags_are_refused_first(trained, flags, sentence, monkeypatch):
    monkeypatch.setattr(evaluation_run, "load_splits", None)  # nothing is read yet
    with pytest.raises(UserError, match=sentence):
        evaluate(trained, "test", None, **flags)
    assert not (trained / "eval").exists()


def test_val_agrees_with_the_journal(run):
    evaluate(run, "val", None)
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
    evaluate(run, "all", pictures(tmp_path / "other", NAMES[1:]))
    (folder,) = (run / "eval").iterdir()
    assert re.fullmatch("other-[0-9a-f]{8}", folder.name)
    metrics = report(run, folder.name)
    assert metrics["n"] == 4
    assert {name: row["n"] for name, row in metrics["per_class"].items()} == dict(
        zip(NAMES, (0, 2, 2), strict=True)
    )


@pytest.mark.parametrize("name", ["x", "-r f", "[2024] Images & more", "a\u2028\udce9", "é" * 80])
def test_every_root_has_a_report_of_its_own(tmp_path, monkeypatch, name):
    """Roots of one name in two places, and two spellings of one place."""
    folders = []
    for root in (tmp_path / "a" / name, tmp_path / "b" / name):
        root.mkdir(parents=True)
        monkeypatch.chdir(root)
        folders.append({report_folder(tmp_path, "all", path) for path in (root, Path("."))})
    (first,), (second,) = folders
    assert first != second
    for folder in (first, second):
        assert folder.parent == tmp_path / "eval"
        assert re.fullmatch(r"\w[\w -]*-[0-9a-f]{8}", folder.name)
        folder.mkdir(parents=True)  # every file system takes the name


@pytest.fixture
def answered(monkeypatch):
    """Evaluations without a network; a list of how often it would have been asked."""
    asked = []

    def predict(forward, variables, source, *_, **__):
        asked.append(len(source))
        return np.log(np.full((len(source), len(NAMES)), 1 / len(NAMES)))

    monkeypatch.setattr(evaluation_run, "predict", predict)
    monkeypatch.setattr(
        evaluation_run,
        "restore",
        lambda run, mesh: SimpleNamespace(
            **{**vars(run), "network": None, "mesh": None, "variables": None, "step": 7}
        ),
    )
    monkeypatch.setattr(evaluation_run, "make_forward", lambda *_: None)
    monkeypatch.setattr(evaluation_run, "digest_of_step", lambda *_: "")
    return asked


def test_two_roots_do_not_replace_each_other_and_files_of_the_user_stay(run, tmp_path, answered):
    roots = [pictures(tmp_path / name / "art", NAMES, each) for name, each in (("a", 1), ("b", 2))]
    for root in roots:
        evaluate(run, "all", root)
    folders = sorted((run / "eval").iterdir(), key=lambda folder: report(run, folder.name)["n"])
    assert [report(run, folder.name)["n"] for folder in folders] == [3, 6]
    before = {path: path.read_bytes() for path in folders[1].iterdir()}
    own = {"notes.txt": "mine", "mine/metrics.json": "too", "gradcam/mine.png": "as well"}
    for name, text in own.items():
        (folders[0] / name).parent.mkdir(exist_ok=True)
        (folders[0] / name).write_text(text)
    (folders[0] / "gradcam" / f"{NAMES[0]}.png").touch()  # of an older report
    evaluate(run, "all", roots[0])
    assert {name: (folders[0] / name).read_text() for name in own} == own
    assert {path.name for path in folders[0].iterdir()} == {*FILES, "notes.txt", "mine", "gradcam"}
    assert [path.name for path in (folders[0] / "gradcam").iterdir()] == ["mine.png"]
    assert {path: path.read_bytes() for path in folders[1].iterdir()} == before
    assert len(list((run / "eval").iterdir())) == 2


def test_two_folders_are_evaluated_as_one(run, tmp_path, answered, capsys, monkeypatch):
    for name in ("a", "b"):
        pictures(tmp_path / name, NAMES, 2)
    (tmp_path / "b" / NAMES[0] / "c.jxl").touch()
    monkeypatch.chdir(tmp_path)
    metrics = evaluate(run, "all", "a,b")
    assert (metrics["n"], metrics["groups"]) == (12, 12)
    assert metrics["root"] == f"{tmp_path}/a,{tmp_path}/b"
    assert f'1 file is not read: 1 .jxl (first: "b/{NAMES[0]}/c.jxl")\n' in capsys.readouterr().out


@pytest.mark.parametrize("bad", [1, 5])
def test_images_that_cannot_be_read_are_rows_where_that_is_asked(
    run, tmp_path, answered, capsys, bad
):
    root = pictures(tmp_path / "art", NAMES, 4)
    broken = sorted(root.rglob("*.png"))[:: 12 // bad][:bad]
    for path in broken:
        path.write_bytes(b"")
    metrics = evaluate(run, "all", root, on_bad_image="skip")
    assert (metrics["n"], metrics["skipped"], answered) == (12 - bad, bad, [12 - bad])
    out = capsys.readouterr().out
    assert f"; {bad} could not be read" in out
    assert out.count("skipped: the image") == bad
    (folder,) = (run / "eval").iterdir()
    with (folder / "skipped.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [str(path.relative_to(root)) for path in broken]
    assert all("cannot be read" in row["reason"] for row in rows)
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="none of the 12 images can be read"):
        evaluate(run, "all", root, on_bad_image="skip")
    with pytest.raises(UserError, match='--on_bad_image is "skp"; did you mean "skip"'):
        evaluate(run, "all", root, on_bad_image="skp")


def test_outputs_are_tried_before_the_work(run, tmp_path, answered):
    (run / "eval").write_text("a file where the folder would be")
    with pytest.raises(UserError, match=r"^cannot write a report to .*/eval/test \(\d+ MiB free"):
        evaluate(run)
    (run / "eval").unlink()
    (run / "eval/test/metrics.json").mkdir(parents=True)
    with pytest.raises(UserError, match=r'it holds other things, such as "metrics\.json"; move it'):
        evaluate(run)
    assert not answered


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        ("gradcam", r"gradcam.*: it is a file, not a folder"),
        (f"gradcam/{NAMES[1]}.png", rf'other things, such as "gradcam/{NAMES[1]}\.png"; move it'),
        (f"gradcam/{NAMES[1]}.png/a", rf'other things, such as "gradcam/{NAMES[1]}\.png"; move'),
    ],
)
def test_overlays_replace_nothing_of_a_user_and_are_tried_first(run, answered, own, sentence):
    """A file where their folder would be, a picture, and a folder with a picture's name."""
    path = run / "eval/test" / own
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(UserError, match=sentence):
        evaluate(run, gradcam=1)
    assert not answered
    assert [file for file in (run / "eval").rglob("*") if file.is_file()] == [path]
    if own == "gradcam":
        evaluate(run)
        assert path.read_text() == "mine"


def test_a_class_without_images_in_a_folder_of_the_home_is_a_caution(
    run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = pictures(tmp_path / "other", NAMES[1:])
    answers = np.log(np.random.default_rng(0).dirichlet(np.ones(3), 4))
    monkeypatch.setattr(evaluation_run, "predict", lambda *args, **named: answers)
    assert evaluate("~/moved", "all", "~/other")["n"] == 4
    line = f'caution: "{folder}" has no images of the class "{NAMES[0]}": "-" in its place'
    assert capsys.readouterr().out.splitlines().count(line) == 1
    assert [path.name[:6] for path in (run / "eval").iterdir()] == ["other-"]
    assert not Path("~").exists()


def test_a_run_without_a_test_split_refuses_to_measure_it(run, monkeypatch):
    config = load_config(run)
    splits = load_splits(config.data, config.seed)
    splits["test"] = subset(splits["test"], np.array([], int))
    inputs = json.loads((run / "inputs.json").read_text())
    inputs["splits"]["test"] |= {"examples": 0, "fingerprint": fingerprint(splits["test"])}
    (run / "inputs.json").write_text(json.dumps(inputs))
    monkeypatch.setattr(evaluation_run, "load_splits", lambda *_: splits)
    with pytest.raises(UserError, match=r"^the run's data have no test split: name --split=val"):
        evaluate(run)
    assert not (run / "eval").exists()
    _, source = evaluation_run.choose_source(read_run(run), "val", None)
    assert len(source) == 3 * 5


def test_an_unknown_class_is_refused(run, tmp_path):
    with pytest.raises(UserError, match=r"stippled_rosete.*stippled_rosette"):
        evaluate(run, "all", pictures(tmp_path / "other", [*NAMES[:2], "stippled_rosete"]))
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
        evaluate(run, split, root)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"is not a run: config.json cannot be read"):
        evaluate(tmp_path, "test", None)
    assert not list(tmp_path.iterdir())


def test_changed_data_are_refused(run):
    inputs = json.loads((run / "inputs.json").read_text())
    inputs["splits"]["test"]["fingerprint"] = "0" * 64
    (run / "inputs.json").write_text(json.dumps(inputs))
    with pytest.raises(UserError, match="the test data changed since the training"):
        evaluate(run, "test", None)


def test_a_run_without_a_checkpoint_is_refused(run):
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(UserError, match="has no evaluated checkpoint yet"):
        evaluate(run, "test", None)
