"""Prediction of a collection: a row for every file, resumed, in parts, by one network."""

import dataclasses
import json
import os
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dkse_jax
from dkse_jax.cli import predict as command
from dkse_jax.errors import UserError
from dkse_jax.prediction import answers, reading, run, state
from dkse_jax.prediction.writing import Format
from dkse_jax.workdir import calibration_file


@pytest.fixture(scope="module")
def loaded(short, trained):
    return dkse_jax.load(trained)


@pytest.fixture(autouse=True)
def one_network(loaded, monkeypatch):
    """Batches of 8 of a network that is traced once."""
    monkeypatch.setattr(run, "restore", lambda found, mesh: loaded)
    monkeypatch.setattr(run, "BATCH", 8)


@pytest.fixture
def decoded(monkeypatch):
    """The files that were decoded."""
    files, whole = [], reading.decode

    def decode(content, min_side, name, *rest):
        files.append(name)
        return whole(content, min_side, name, *rest)

    monkeypatch.setattr(reading, "decode", decode)
    return files


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures of many sizes, among them a broken, a cut and an empty one, and a folder."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    (root / "b").mkdir()
    for i in range(21):
        path = root / ("b" if i > 11 else "") / f"{i:02}.jpg"
        pixels = rng.integers(0, 256, (40 + i, 60 - i, 3), np.uint8)
        Image.fromarray(pixels).save(path, quality=95)
    (root / "01.jpg").write_bytes(b"\xff\xd8\xff\xe0 no header")
    (root / "05.jpg").write_bytes((root / "05.jpg").read_bytes()[:900])
    (root / "09.jpg").write_bytes(b"")
    (root / "99.jpg").mkdir()
    return root


BROKEN = {"01.jpg", "05.jpg", "09.jpg"}


def predict(workdir, out, *inputs, **options):
    form = Format(("csv", "jsonl"))
    run.predict(workdir, out, list(map(str, inputs)), form=form, **options)
    return table(out)


def table(out):
    lines = (out / "predictions.csv").read_text("utf-8").splitlines()
    return {line.split(",")[0]: line.split(",") for line in lines[1:]}


def contents(out):
    return [(out / f"predictions.{name}").read_bytes() for name in ("csv", "jsonl")]


@pytest.fixture(scope="module")
def whole(trained, loaded, pictures, tmp_path_factory):
    """The tables of all pictures, made at once."""
    out = tmp_path_factory.mktemp("out") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "restore", lambda found, mesh: loaded)
        patch.setattr(run, "BATCH", 8)
        predict(trained, out, pictures)
    return out


def test_every_file_has_its_row_in_order_and_its_own_numbers(loaded, pictures, whole):
    rows = table(whole)
    names = sorted(f"{'b/' if i > 11 else ''}{i:02}.jpg" for i in range(21))
    assert list(rows) == names
    assert {name for name, cells in rows.items() if cells[1] == "failed"} == BROKEN
    good = [name for name in names if name not in BROKEN]
    expected = list(loaded.predict([pictures / name for name in good]))
    for name, answer in zip(good, expected, strict=True):
        _, status, class_name, p, *rest = rows[name]
        assert (status, class_name) == ("ok", answer.class_name)
        assert float(p) == max(map(float, rest[:3]))
        np.testing.assert_allclose(list(map(float, rest[:3])), answer.probabilities, atol=2e-6)
    for name in BROKEN:
        assert rows[name][2:8] == [""] * 6
        assert rows[name][9]
        assert "\\" not in rows[name][9]
        assert name not in rows[name][9]


@pytest.mark.parametrize("seed", range(3))
def test_numbers_are_the_same_to_the_bit_whatever_fills_the_batch(loaded, seed):
    rng = np.random.default_rng(seed)
    size = loaded.transform.size
    squares = rng.integers(0, 256, (8, size, size, 3), np.uint8)
    whole = list(map(np.asarray, loaded.answers(squares)))
    order = rng.permutation(8)
    other = squares[order]
    other[: rng.integers(1, 8)] = 0
    changed = list(map(np.asarray, loaded.answers(other)))
    kept = (other == squares[order]).all(axis=(1, 2, 3))
    assert kept.any()
    for before, after in zip(whole, changed, strict=True):
        assert before.dtype == np.float32
        np.testing.assert_array_equal(after[kept], before[order][kept])


@pytest.mark.parametrize("squares", [1, 3, 8])
def test_groups_have_all_pictures_in_order_and_enough_squares(squares, monkeypatch):
    rng = np.random.default_rng(0)
    counts = [*rng.integers(0, 5, 60).tolist(), *[0] * 100]
    pictures = [reading.Read(i, np.zeros((n, 1, 1, 3)), "") for i, n in enumerate(counts)]
    groups = list(answers.grouped(pictures, squares))
    assert [one.item for group in groups for one in group] == list(range(160))
    for group in groups[:-1]:
        sizes = [len(one.views) for one in group]
        assert sum(sizes) >= squares or len(sizes) == answers.MOST * squares
        assert sum(sizes[:-1]) < squares
    monkeypatch.setattr(answers, "FIRST", -1)
    assert len(next(answers.grouped(pictures, squares))) == 1


def test_a_file_alone_has_the_row_that_it_has_among_others(trained, pictures, whole, tmp_path):
    rows = table(whole)
    for name in ("b/17.jpg", "05.jpg"):
        alone = Path(shutil.copy2(pictures / name, tmp_path))
        [cells] = predict(trained, tmp_path / f"{alone.stem}.out", alone).values()
        assert cells[1:] == rows[name][1:]


@pytest.mark.parametrize("seed", range(2))
def test_later_commands_take_what_is_new_or_changed(
    trained, pictures, whole, tmp_path, decoded, seed
):
    """Files come, change and go in any order; the tables are those of a first command."""
    moments = random.Random(seed)
    root, out = tmp_path / "in", tmp_path / "out"
    names = sorted(table(whole))
    root.mkdir()
    (root / "b").mkdir()
    for _ in range(3):
        some = moments.sample(names, 8)
        for name in some:
            shutil.copy2(pictures / name, root / name)
        changed = moments.choice(some)
        shutil.copy2(pictures / "b/20.jpg", root / changed)
        before = {*some} - {changed}
        os.utime(root / changed, (1, moments.randrange(10**9)))
        decoded.clear()
        predict(trained, out, root)
        assert len(decoded) == len(set(decoded))
        assert set(decoded) <= {*some}
        assert changed in decoded
        tables = contents(out)
        decoded.clear()
        predict(trained, out, root)
        assert decoded == []
        assert contents(out) == tables
        shutil.rmtree(tmp_path / "new", ignore_errors=True)
        predict(trained, tmp_path / "new", root)
        assert contents(tmp_path / "new") == tables
        (root / moments.choice(sorted(before))).unlink()


def test_a_file_that_cannot_be_opened_is_tried_again(trained, pictures, tmp_path, monkeypatch):
    items = run.list_items([str(pictures)], [], lambda sentence: None).items
    broken = dataclasses.replace(items[0], read=lambda: (_ for _ in ()).throw(OSError(5, "gone")))
    listed = run.Listed([broken, items[3]], [], [], {})
    monkeypatch.setattr(run, "list_items", lambda *arguments: listed)
    rows = predict(trained, tmp_path / "out")
    assert rows["00.jpg"][1:] == ["failed", *[""] * 7, "gone"]
    listed.items[0] = items[0]
    assert predict(trained, tmp_path / "out")["00.jpg"][1] == "ok"


@pytest.mark.parametrize("count", [2, 5, 30])
def test_parts_are_merged_to_the_tables_of_one_machine(
    trained, pictures, whole, tmp_path, decoded, count
):
    out = tmp_path / "out"
    order = list(range(1, count + 1))
    random.Random(count).shuffle(order)
    for place, number in enumerate(order):
        predict_part(trained, out, pictures, (number, count))
        if place + 1 < min(count, 21) and count < 30:
            sentence = ", ".join(
                f"part {other} of {count} has not begun" for other in sorted(order[place + 1 :])
            )
            with pytest.raises(UserError, match=f"cannot be merged yet: {sentence}; run each"):
                predict(trained, out, pictures)
            assert not (out / "predictions.csv").exists()
    assert sorted(decoded) == sorted(table(whole))
    predict(trained, out, pictures)
    assert sorted(decoded) == sorted(table(whole))
    assert contents(out) == contents(whole)
    assert sorted(os.listdir(out / "state")) == ["lock", "rows.jsonl", "run.json"]


def predict_part(trained, out, pictures, part):
    run.predict(trained, out, [str(pictures)], part=part)


def test_an_unfinished_part_is_named(trained, pictures, tmp_path):
    out = tmp_path / "out"
    for number in (1, 2):
        predict_part(trained, out, pictures, (number, 2))
    rows = out / "state" / "part-2-of-2" / "rows.jsonl"
    rows.write_bytes(rows.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"part 2 of 2 lacks \d files; run each with --part=I/2,"):
        predict(trained, out, pictures)
    with pytest.raises(UserError, match=r"has parts of 2 and of 3; go on with the number of"):
        predict_part(trained, out, pictures, (1, 3))
    predict_part(trained, out, pictures, (2, 2))
    assert len(predict(trained, out, pictures)) == 21


def test_other_weights_classes_or_transforms_are_refused(trained, loaded, tmp_path):
    state.begin(tmp_path, loaded)
    state.begin(tmp_path, loaded)
    transform = dataclasses.replace(loaded.transform, levels=True, size=40)
    other = dataclasses.replace(loaded, transform=transform, class_names=("x", "y"))
    before = ", ".join(loaded.class_names)
    sentence = (
        rf"^--out={tmp_path} was begun with other classes \({before}, now x, y\), transform "
        r"\(size 32, now 40; levels False, now True\); name a new folder, or the workdir that it"
    )
    with pytest.raises(UserError, match=sentence):
        state.begin(tmp_path, other)
    path = tmp_path / "state" / "run.json"
    path.write_text(path.read_text().replace(f"step {loaded.step} (", f"step {loaded.step} (0"))
    sentence = rf"weights \(step {loaded.step} \(0[0-9a-f]+\), now step {loaded.step} \([0-9a-f]+"
    with pytest.raises(UserError, match=sentence):
        state.begin(tmp_path, loaded)
    saved = json.loads(path.read_text())
    wrong = [{**saved, name: 5} for name in saved] + [{**saved, "classes": [1, None]}, [], 5]
    wrong += [{key: saved[key] for key in saved if key != name} for name in saved]
    for text in ("{", "", *map(json.dumps, wrong)):
        path.write_text(text)
        with pytest.raises(UserError, match=r"run\.json is damaged"):
            state.begin(tmp_path, loaded)


def test_another_calibration_is_refused(trained, loaded, tmp_path):
    shutil.copytree(trained, tmp_path / "w")
    moved = dataclasses.replace(loaded, workdir=tmp_path / "w")
    state.begin(tmp_path / "out", loaded)
    state.begin(tmp_path / "out", moved)
    (tmp_path / "w" / calibration_file.FILE).write_text("{}")
    with pytest.raises(
        UserError, match=r"other calibration \([0-9a-f]{12}, now 44136fa355b3\); name"
    ):
        state.begin(tmp_path / "out", moved)


def test_the_tiles_of_a_picture_are_averaged(trained, loaded, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    widths = [400, 40, 110, 40, 300, 200, 40]
    for place, width in enumerate(widths):
        pixels = rng.integers(0, 256, (40, width, 3), np.uint8)
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{place}.png")
    transform = dataclasses.replace(loaded.transform, views="tiles")
    tiled = dataclasses.replace(loaded, transform=transform)
    monkeypatch.setattr(run, "restore", lambda found, mesh: tiled)
    rows = predict(trained, tmp_path / "out", tmp_path / "in")
    paths = [tmp_path / "in" / name for name in rows]
    for cells, answer in zip(rows.values(), tiled.predict(paths), strict=True):
        found = list(map(float, cells[4:7]))
        np.testing.assert_allclose(found, answer.probabilities, atol=2e-6)


MISTAKES = {
    ("--format=xls",): 'has "xls"; did you mean "xlsx"?',
    ("--part=3/2",): "--part is 3/2, but must be I/N with I from 1 to N",
    ("--part=0/2",): "--part is 0/2, but must be",
    ("--part=1/2", "--format=csv"): "--part writes no table",
    ("--decimal-comma", "--format=xlsx"): "--decimal-comma is of csv alone",
    ("--workdir=/no/run",): "/no/run is not a run",
    ("--workdir=W",): "has no evaluated checkpoint yet; train it first",
    ("--out=FILE",): "is a file, but must be a folder",
    ("--out=FULL",): "holds something that is not predictions; name a new folder",
    ("--out=IN/out",): "lies in the input",
    ("IN/no.jpg",): '/no.jpg" does not exist',
    ("EMPTY",): "there is no picture to predict",
    (): "name what to predict: folders, files, archives or --list=FILE",
}


@pytest.mark.parametrize("arguments", MISTAKES)
def test_mistakes_are_one_sentence(arguments, trained, pictures, tmp_path, monkeypatch, capsys):
    places = {"W": tmp_path / "w", "FILE": tmp_path / "f.csv", "FULL": tmp_path / "full"}
    places |= {"EMPTY": tmp_path / "empty", "IN": pictures}
    (tmp_path / "empty").mkdir()
    (tmp_path / "f.csv").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x.txt").write_text("x")
    shutil.copytree(trained, tmp_path / "w", ignore=lambda *_: {"checkpoints"})

    def placed(text):
        flag, equals, value = text.rpartition("=")
        name, slash, rest = value.partition("/")
        return f"{flag}{equals}{places.get(name, name)}{slash}{rest}"

    given = list(map(placed, arguments))
    if arguments and all(one.startswith("--") for one in arguments):
        given.append(str(pictures))
    for flag, value in {"workdir": trained, "out": tmp_path / "out"}.items():
        if not any(one.startswith(f"--{flag}") for one in arguments):
            given.append(f"--{flag}={value}")
    monkeypatch.setattr(sys, "argv", ["predict.py", *given])
    command.FLAGS.unparse_flags()
    for name in command.FLAGS:
        command.FLAGS[name].unparse()
    with pytest.raises(SystemExit) as end:
        command.run()
    assert end.value.code == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert MISTAKES[arguments] in errors
    assert not (tmp_path / "out").exists()
    assert list((tmp_path / "full").iterdir()) == [tmp_path / "full" / "x.txt"]
