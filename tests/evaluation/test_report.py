import csv
import json

import numpy as np
import pytest
from PIL import Image

from dkse_jax.data.sources import Source
from dkse_jax.errors import UserError
from dkse_jax.evaluation import report
from dkse_jax.evaluation.report import FILES, measure, summary, write_report

NAMES = ["Baroque", "Cubism", "Oil painting"]


def picture(index, min_side=None):
    return np.full((8, 12, 3), index, np.uint8)


def write(folder, *, n=41, names=NAMES, ids=None, right=False, step=700, skipped=(), read=picture):
    """Writes a report; returns its metrics, source and log-probabilities."""
    rng = np.random.default_rng(0)
    labels = rng.integers(len(names), size=n)
    logits = rng.normal(size=(n, len(names))) + (20 if right else 2) * np.eye(len(names))[labels]
    source = Source(
        class_names=tuple(names),
        ids=ids or [f"{names[y]}/{i}.jpg" for i, y in enumerate(labels)],
        labels=labels,
        groups=[f"g{i % 13}" for i in range(n)],
        read=read,
    )
    scores = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    result = measure(source, scores, seed=0, step=step, skipped=len(skipped))
    write_report(folder, source, scores, result, skipped)
    return result, source, scores


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "workdir" / "eval" / "test"
    return folder, *write(folder)


def test_report_is_complete_and_alone(made):
    folder, *_ = made
    assert sorted(p.name for p in folder.iterdir()) == sorted(FILES)
    assert [p.name for p in folder.parent.iterdir()] == ["test"]
    for name in ("confusion.png", "mistakes.png"):
        with Image.open(folder / name) as image:
            assert image.width > 300
            assert image.height > 300


def test_metrics_json_is_the_returned_dict(made):
    folder, result, *_ = made
    assert json.loads((folder / "metrics.json").read_text()) == result
    assert list(result)[:3] == ["step", "n", "classes"]
    assert (result["step"], result["n"]) == (700, 41)


def test_confusion_csv_agrees_with_the_metrics(made):
    folder, result, *_ = made
    header, *body = rows(folder / "confusion.csv")
    assert header[1:] == [row[0] for row in body] == NAMES
    counts = np.array([row[1:] for row in body], int)
    assert counts.sum() == 41
    assert counts.trace() / 41 == result["accuracy"]
    assert counts.sum(axis=1).tolist() == [result["per_class"][name]["n"] for name in NAMES]


def test_predictions_csv_recomputes_the_metrics(made):
    folder, result, source, scores = made
    header, *body = rows(folder / "predictions.csv")
    assert header == ["file", "label", "prediction", "probability", *[f"p({n})" for n in NAMES]]
    assert [row[0] for row in body] == source.ids
    assert [NAMES.index(row[1]) for row in body] == source.labels.tolist()
    assert sum(row[1] == row[2] for row in body) / 41 == result["accuracy"]
    p = np.array([row[4:] for row in body], float)
    np.testing.assert_allclose(p, np.exp(scores), rtol=5e-6)
    assert [row[2] for row in body] == [NAMES[k] for k in p.argmax(axis=1)]
    assert [float(row[3]) for row in body] == p.max(axis=1).tolist()
    assert b"\r" not in (folder / "predictions.csv").read_bytes()


def test_mistakes_are_the_most_confident_ones(tmp_path):
    asked = []

    def read(i, min_side):
        asked.append(i)
        return np.zeros((4, 4, 3), np.uint8)

    _, source, scores = write(tmp_path / "r", n=211, read=read)
    wrong = [i for i in range(211) if scores[i].argmax() != source.labels[i]]
    assert len(wrong) > 24
    assert asked == sorted(wrong, key=lambda i: -scores[i].max())[:24]


def test_perfect_classifier_reads_no_image(tmp_path):
    result, *_ = write(tmp_path / "r", right=True, read=None)
    assert result["accuracy"] == 1
    assert (tmp_path / "r" / "mistakes.png").exists()


def test_hostile_names_are_neutral(tmp_path):
    names = ["=cmd()", "@a\nb", "<script>", " +1", "$x$\x1b[2J", "a;=b"]
    ids = [f"-{i},\t\udce9.jpg" for i in range(41)]
    result, *_ = write(tmp_path / "r", names=names, ids=ids)
    neutral = ["'=cmd()", "'@a\ufffdb", "<script>", "' +1", "$x$\ufffd[2J", "a;'=b"]
    header, *body = rows(tmp_path / "r" / "confusion.csv")
    assert header[1:] == [row[0] for row in body] == neutral
    header, *body = rows(tmp_path / "r" / "predictions.csv")
    assert header[4] == "p(=cmd())"
    assert header[-1] == "p(a;'=b)"
    assert [row[0] for row in body] == [f"'-{i},\ufffd\ufffd.jpg" for i in range(41)]
    assert {row[1] for row in body} <= set(neutral)
    for name in ("confusion.csv", "predictions.csv"):
        text = (tmp_path / "r" / name).read_text(encoding="utf-8")
        assert not set(text) & set("\t\r\x1b")
    assert list(json.loads((tmp_path / "r" / "metrics.json").read_text())["per_class"]) == names
    assert "\x1b" not in summary(result)
    assert len(summary(result).splitlines()) == 3 + 6


def test_older_report_is_replaced(tmp_path):
    write(tmp_path / "r")
    (tmp_path / "r" / "left_over").touch()
    write(tmp_path / "r", step=800)
    assert json.loads((tmp_path / "r" / "metrics.json").read_text())["step"] == 800
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == sorted([*FILES, "left_over"])
    assert [p.name for p in tmp_path.iterdir()] == ["r"]


def test_interrupted_report_leaves_the_older_one(tmp_path, monkeypatch):
    write(tmp_path / "r")
    before = {p.name: p.read_bytes() for p in (tmp_path / "r").iterdir()}

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(report.pictures, "mistakes_png", interrupt)
    for folder in ("r", "fresh"):
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / folder, step=800)
    assert {p.name: p.read_bytes() for p in (tmp_path / "r").iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["r"]


def test_folder_of_other_things_is_refused_and_kept(tmp_path):
    (tmp_path / "metrics.json").write_text("mine")
    with pytest.raises(UserError, match="holds other things"):
        write(tmp_path)
    with pytest.raises(UserError, match="it is a file"):
        write(tmp_path / "metrics.json")
    assert (tmp_path / "metrics.json").read_text() == "mine"


@pytest.mark.parametrize("own", [[], ["notes.txt", "skipped.csv.bak"]])
def test_a_folder_without_a_report_is_filled(tmp_path, own):
    (tmp_path / "r").mkdir()
    for name in own:
        (tmp_path / "r" / name).touch()
    write(tmp_path / "r")
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == sorted([*FILES, *own])


@pytest.mark.parametrize("file", FILES)
def test_a_report_that_was_cut_off_is_replaced(tmp_path, file):
    """A process that is killed between two files leaves the new metrics first."""
    write(tmp_path / "r")
    (tmp_path / "r" / file).unlink()
    if file == "metrics.json":  # then nothing shows that the rest is a report
        with pytest.raises(UserError, match="holds other things"):
            write(tmp_path / "r")
        return
    write(tmp_path / "r")
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == sorted(FILES)


def test_a_list_of_skipped_images_is_kept_unless_a_report_made_it(tmp_path):
    write(tmp_path / "r")
    (tmp_path / "r" / "skipped.csv").write_text("mine")
    write(tmp_path / "r")
    assert (tmp_path / "r" / "skipped.csv").read_text() == "mine"


def test_images_that_could_not_be_read_are_listed(tmp_path):
    skipped = [("=a.jpg", "Cubism", "it is empty")]
    result, *_ = write(tmp_path / "r", skipped=skipped)
    assert result["skipped"] == 1
    assert "41 examples in 13 groups; 1 could not be read" in summary(result)
    assert rows(tmp_path / "r" / "skipped.csv") == [
        ["file", "label", "reason"],
        ["'=a.jpg", "Cubism", "it is empty"],
    ]
    write(tmp_path / "r")  # a later report without skipped images replaces all files
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == sorted(FILES)


def test_ids_that_do_not_belong_are_refused(tmp_path):
    with pytest.raises(ValueError, match="40 ids and 41 labels"):
        write(tmp_path / "r", ids=["x"] * 40)
    assert not (tmp_path / "r").exists()


def test_summary():
    result = {
        "step": 3,
        "n": 1234,
        "classes": 3,
        "accuracy": 0.91234,
        "loss": 0.25,
        "top2": 0.995,
        "per_class": {
            "Baroque": {"n": 1000, "precision": 0.5, "recall": 1.0, "f1": 2 / 3},
            "浮世绘\n": {"n": 234, "precision": 0.0, "recall": 0.0, "f1": 0.0},
        },
        "ece": 0.0312,
        "interval95": [0.9, 0.925],
        "groups": 77,
        "skipped": 0,
    }
    assert summary(result).splitlines() == [
        "accuracy 91.23% (95% interval 90.00% to 92.50%) on 1,234 examples in 77 groups",
        "loss 0.2500, top-2 accuracy 99.50%, calibration error 3.12%",
        "        n  precision  recall      F1  class",
        "    1,000      50.0%  100.0%   66.7%  Baroque",
        "      234       0.0%    0.0%    0.0%  浮世绘\ufffd",
    ]


def test_what_is_not_known_is_no_number():
    nothing = {"n": 0, "precision": None, "recall": None, "f1": None}
    known = {"n": 3, "precision": 0.0, "recall": 0.0, "f1": 0.0}
    result = {
        "n": 3,
        "accuracy": 0.0,
        "loss": 0.25,
        "top2": None,
        "per_class": {"ink": known, "oil": nothing},
        "ece": 0.612,
        "interval95": None,
        "interval95_reason": "too few groups (3) for an interval",
        "groups": 3,
        "skipped": 0,
    }
    assert summary(result).splitlines() == [
        "accuracy 0.00% (too few groups (3) for an interval) on 3 examples in 3 groups",
        "loss 0.2500, calibration error 61%",
        "        n  precision  recall      F1  class",
        "        3       0.0%    0.0%    0.0%  ink",
        "        0          -       -       -  oil",
    ]
