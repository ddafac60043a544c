"""What an evaluation leaves out and writes down, of a stand-in for a trained network."""

import csv
import datetime
import json
import shutil
import types

import numpy as np
import pytest

from dkse_jax.data.identity import ROW, content_digest
from dkse_jax.data.sources import load_all
from dkse_jax.distributed import processes
from dkse_jax.errors import UserError
from dkse_jax.evaluation import pictures
from dkse_jax.evaluation import run as evaluation_run
from dkse_jax.evaluation.report import report_folder
from dkse_jax.evaluation.run import evaluate
from dkse_jax.evaluation.unseen import seen_of
from dkse_jax.workdir import data_file
from tests.begun import CLASSES, exchange, loaded, make_folder, rewrite, trained_on

UNKNOWN = "not everything that the weights were trained on is known"


@pytest.fixture
def root(tmp_path):
    return make_folder(tmp_path / "images", 0)


@pytest.fixture
def run(config, root, tmp_path):
    trained_on(config, root, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """In place of the network: reads every image, and prefers the class dark for an even id.

    The pictures of the report, which take long, are empty.
    """

    def predict(forward, variables, source, transform, mesh, *, batch_size, threads):
        for i in range(len(source)):
            source.read(i, 8)
        even = [int(name.split("/")[1][0]) % 2 == 0 for name in source.ids]
        return np.log(np.where(np.array(even)[:, None], (0.9, 0.1), (0.2, 0.8)))

    def restored(run, mesh):
        return types.SimpleNamespace(**{**vars(run), "step": 3, "variables": None, "mesh": None})

    monkeypatch.setattr(evaluation_run, "restore", restored)
    monkeypatch.setattr(evaluation_run, "make_forward", lambda *_: None)
    monkeypatch.setattr(evaluation_run, "predict", predict)
    for name in ("confusion_png", "mistakes_png"):
        monkeypatch.setattr(pictures, name, lambda path, *rest, **named: path.write_bytes(b""))
    monkeypatch.setattr(evaluation_run, "digest_of_step", lambda _, step: f"digest of step {step}")


def written(run, split):
    return json.loads((run / "eval" / split / "metrics.json").read_text())


def test_the_runs_own_folder_is_judged_without_what_was_seen(config, run, root, capsys):
    alone = evaluate(run, "test")
    assert (alone["n"], alone["seen"], alone["history"]) == (6, 0, "known")
    assert "seen" not in capsys.readouterr().out
    whole = evaluate(run, "all", root)
    line = "the weights have seen 12 of 18 images (6 were trained on, 6 chosen on): they are"
    assert line in capsys.readouterr().out
    assert (whole["n"], whole["seen"]) == (6, 12)
    for key in ("accuracy", "loss", "per_class", "interval95", "groups"):
        assert whole[key] == alone[key]
    with (report_folder(run, "all", root) / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18
    assert [row["file"] for row in rows if not row["left out"]] == [
        f"{label}/{i}.bmp" for label in ("dark", "light") for i in (6, 7, 8)
    ]
    with (report_folder(run, "all", root) / "confusion.csv").open() as file:
        cells = [int(cell) for row in list(csv.reader(file))[1:] for cell in row[1:]]
    assert sum(cells) == 6
    with (run / "eval/test/predictions.csv").open() as file:
        assert "left out" not in next(csv.reader(file))


def test_if_all_was_seen_it_is_refused_and_nothing_is_written(run, root):
    for i in (6, 7, 8):
        for label in ("dark", "light"):
            shutil.copy(root / "light/0.bmp", root / label / f"{i}.bmp")
    with pytest.raises(UserError) as refused:
        evaluate(run, "all", root)
    assert str(refused.value).startswith(
        "the weights have seen all 18 images (12 were trained on, 6 chosen on), in this run or in"
    )
    assert not (run / "eval").exists()


def test_train_and_val_are_judged_by_name_and_that_is_told(run, capsys):
    for split, how in (("train", "trained"), ("val", "chosen")):
        metrics = evaluate(run, split)
        assert f"the weights were {how} on this split\n" in capsys.readouterr().out
        assert (metrics["n"], metrics["seen"]) == (6, 6)


def test_an_unknown_history_is_told_once(config, root, tmp_path, capsys):
    (tmp_path / "weights.safetensors").write_bytes(b"")
    trained_on(config, root, tmp_path / "run", init_from=tmp_path / "weights.safetensors")
    metrics = evaluate(tmp_path / "run")
    assert (metrics["n"], metrics["seen"], metrics["history"]) == (6, 0, "unknown")
    assert capsys.readouterr().out.count(UNKNOWN) == 1


def test_the_report_tells_of_what_it_is(run, root, config, monkeypatch):
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    monkeypatch.chdir(root.parent)
    first, again = evaluate(run, "all", "images"), evaluate(run, "all", root)
    assert first == written(run, report_folder(run, "all", root).name) | {"date": first["date"]}
    for metrics in (first, again):
        date = datetime.datetime.fromisoformat(metrics.pop("date"))
        assert before <= date <= datetime.datetime.now(datetime.UTC)
        assert metrics["root"] == str(root)
        assert (metrics["step"], metrics["weights"]) == (3, "digest of step 3")
        assert metrics["split"] == "all"
    assert first == again
    other = evaluate(run, "all", make_folder(root.parent / "other", 5))
    assert other["root"] == str(root.parent / "other")
    assert other["data"] != first["data"]
    assert len(first["data"]) == 32
    test = evaluate(run, "test")
    assert test["root"] == str(root)
    assert test["data"] not in (first["data"], other["data"])


def test_contents_that_an_evaluation_reads_are_kept(run, root):
    evaluate(run, "test")
    assert (data_file.load(run, ROW)["content"] != b"").all()
    exchange(root, "dark/6.bmp", "light/8.bmp")
    with pytest.raises(UserError, match=r'the content of ".*/dark/6.bmp" changed since the run'):
        evaluate(run, "test")


def test_changed_data_are_refused_before_anything_else(run, root):
    rewrite(root, "dark7,", "dark8,")
    with pytest.raises(UserError, match=r'groups of 1 image \(first: "dark/7.bmp"\)') as refused:
        evaluate(run, "test")
    assert "--root" not in str(refused.value)
    evaluate(run, "val")  # which did not change
    (root / "dark/6.bmp").unlink()
    rewrite(root, "dark/6.bmp,dark,dark6,test\n", "")
    with pytest.raises(UserError, match=r"removal of 1 image, groups of 1"):
        evaluate(run, "test")


def test_moved_data_are_judged_at_their_new_place(run, root, capsys):
    expected = evaluate(run, "test")
    moved = root.parent / "moved"
    shutil.copytree(root, moved, copy_function=shutil.copyfile)  # the contents are known by now
    shutil.rmtree(root)
    with pytest.raises(UserError, match=r'images" does not exist.*; if the data were moved, name'):
        evaluate(run, "test")
    beside = root.parent / f"{root.name}.old"
    beside.mkdir()
    with pytest.raises(
        UserError, match=r'did you mean "images\.old"\? If the data were moved, name'
    ):
        evaluate(run, "test")
    found = evaluate(run, "test", moved)
    assert found["root"] == str(moved)
    for key in expected.keys() - {"date", "root"}:
        assert found[key] == expected[key]
    rewrite(moved, "dark7,", "dark8,")
    with pytest.raises(UserError, match="groups of 1 image"):
        evaluate(run, "test", moved)


def test_a_run_of_an_earlier_version_gains_what_it_lacks(run, root, config, capsys):
    whole = data_file.load(run, ROW)
    (run / data_file.FILE).unlink()
    shown = evaluate(run, "all", root)
    assert "was begun by an earlier version, which kept no hashes" in capsys.readouterr().out
    assert (shown["n"], shown["seen"], shown["history"]) == (6, 12, "known")  # by names and sizes
    rows = data_file.load(run, ROW)
    for name in ("split", "id", "label", "group", "size", "time"):
        assert rows[name].tolist() == whole[name].tolist()
    evaluate(run, "val")
    assert "earlier version" not in capsys.readouterr().out
    rows = data_file.load(run, ROW)
    assert (rows["content"] != b"").tolist() == [False] * 6 + [True] * 6 + [False] * 6


def test_without_its_data_the_history_of_an_earlier_versions_run_is_unknown(run, root, capsys):
    (run / data_file.FILE).unlink()
    moved = root.rename(root.parent / "elsewhere")
    metrics = evaluate(run, "all", moved)
    assert (metrics["n"], metrics["seen"], metrics["history"]) == (18, 0, "unknown")
    assert UNKNOWN in capsys.readouterr().out
    assert data_file.load(run, ROW) is None
    assert evaluate(run, "test", moved)["history"] == "known"
    assert len(data_file.load(run, ROW)) == 18


def test_what_another_process_read_counts(run, root, monkeypatch):
    """This one reads the even images, the other the odd ones."""
    source = load_all(str(root), CLASSES)
    digests = np.array([content_digest((root / name).read_bytes()) for name in source.ids], "S16")
    odd = digests.view(np.uint8).reshape(-1, 16) * (np.arange(18) % 2)[:, None].astype(np.uint8)
    for i in range(0, 18, 2):
        source.read(i, 8)
    monkeypatch.setattr(processes, "merged", lambda own: np.maximum(own, odd))
    seen, history = seen_of(data_file.load(run, ROW), "all", source)
    assert (seen.tolist(), history) == ([i % 9 < 6 for i in range(18)], "known")
    assert source.contents.known().tolist() == digests.tolist()


def test_unread_images_of_the_same_seed_are_not_lost_to_a_subset(config, root, tmp_path):
    """The hashes of the first classes alone, as config.data.classes takes them."""
    for i in range(9):
        (root / "zinc").mkdir(exist_ok=True)
        shutil.copy(root / f"dark/{i}.bmp", root / f"zinc/{i}.bmp")
        (root / f"zinc/{i}.bmp").write_bytes((root / f"zinc/{i}.bmp").read_bytes() + b"z")
        with (root / "metadata.csv").open("a") as file:
            file.write(f"\nzinc/{i}.bmp,zinc,zinc{i},{('train', 'val', 'test')[i // 3]}")
    config.data.classes = 2
    trained_on(config, root, tmp_path / "run")
    assert len(data_file.load(tmp_path / "run", ROW)) == 18
    assert len(loaded(config, root)["train"]) == 6
    assert evaluate(tmp_path / "run")["n"] == 6
