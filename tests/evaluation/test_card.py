import csv
import itertools
import json
import re

import numpy as np
import pytest

from dkse_jax.data.identity import ROW
from dkse_jax.data.splits import SPLITS
from dkse_jax.errors import UserError
from dkse_jax.evaluation.card import card_text, write_card
from dkse_jax.evaluation.metrics import confusion, summarise
from dkse_jax.text import csv_text
from dkse_jax.workdir import data_file

NAMES = ["=engraving", "etching|dry point", "wood cut"]
FLOATS = ("temperature", "ece_before", "ece_after", "refused", "known_up_to_distance")


@pytest.fixture
def workdir(tmp_path):
    """Provides a folder with every file that a card is made of, with random numbers."""
    rng = np.random.default_rng(5)
    rows = np.zeros(90, ROW)
    rows["split"] = rng.integers(0, 5, 90)
    rows["label"] = rng.integers(0, 3, 90)
    rows["group"] = rng.choice([b"a", b"b", b"c", b"d"], 90)
    data_file.write(tmp_path, rows)
    splits = {split: {"examples": int(rng.integers(1e6))} for split in SPLITS}
    inputs = {"class_names": NAMES, "splits": splits}
    config = {"model": {"name": "dkse_net", "width": 12}, "train": {"epochs": 2.5}, "seed": 7}
    calibration = {"weights": "ab12", "uncalibrated": "", "examples": 1234, "groups": 40}
    calibration |= dict(zip(FLOATS, rng.random(len(FLOATS)).tolist(), strict=True))
    trees = {"inputs.json": inputs, "config.json": config, "calibration.json": calibration}
    for name, tree in trees.items():
        (tmp_path / name).write_text(json.dumps(tree))
    for name in ("val", "test"):
        report(tmp_path / "eval" / name, rng)
    return tmp_path


def report(folder, rng):
    scores = np.log(rng.dirichlet(np.ones(3), 40))
    labels = rng.integers(0, 3, 40)
    metrics = summarise(scores, labels, [str(i // 4) for i in range(40)], NAMES, seed=0)
    metrics |= {"step": 5, "split": folder.name, "skipped": 0, "seen": 2, "history": False}
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    matrix = confusion(labels, scores.argmax(axis=1), 3).tolist()
    cells = ([name, *row] for name, row in zip(NAMES, matrix, strict=True))
    (folder / "confusion.csv").write_text(csv_text(["true", *NAMES], cells))


def tables(card):
    """Yields the paragraph before each table, its header and its rows, cells unescaped."""
    paragraphs = card.split("\n\n")
    for before, text in itertools.pairwise(paragraphs):
        if text.startswith("|"):
            lines = [
                [re.sub(r"\\(.)", r"\1", cell.strip()) for cell in re.split(r"(?<!\\)\|", line)]
                for line in text.splitlines()
            ]
            header, rule, *rows = [line[1:-1] for line in lines]
            assert all(re.fullmatch("-+:?", cell) for cell in rule)
            yield before, header, rows


def field(workdir, source):
    file, _, path = source.partition(": ")
    tree = json.loads((workdir / file).read_text())
    for key in path.split("."):
        tree = tree[int(key) if isinstance(tree, list) else key]
    return tree


def shown(cell, value):
    if isinstance(value, str) or value is None:
        return cell == (value or "-")
    if isinstance(value, bool):
        return cell == ("yes" if value else "no")
    number = float(cell.replace(",", ""))
    return number == value if isinstance(value, int) else number == float(f"{value:.4g}")


def test_every_number_of_the_card_is_in_its_source(workdir):
    write_card(workdir)
    card = (workdir / "card.md").read_text()
    rows_of_data = data_file.load(workdir, ROW)
    seen = []
    for before, header, rows in tables(card):
        if header[-1] == "source":
            for _, value, source in rows:
                assert shown(value, field(workdir, source)), source
                seen.append(source)
            continue
        file = re.search("ource: `(.*?)[`:]", before)[1]
        if file == "data.npy":
            for name, *cells in rows:
                of_class = rows_of_data[rows_of_data["label"] == NAMES.index(name)]
                own = [of_class[of_class["split"] == split] for split in range(3)]
                right = [n for one in own for n in (len(one), len(set(one["group"].tolist())))]
                assert list(map(int, cells)) == right
        elif file.endswith("metrics.json"):
            metrics = json.loads((workdir / file).read_text())["per_class"]
            assert [row[0] for row in rows] == NAMES
            for name, *cells in rows:
                for key, cell in zip(header[1:], cells, strict=True):
                    assert shown(cell, metrics[name][key])
        else:
            with (workdir / file).open() as stream:
                _, *matrix = csv.reader(stream)
            found = [int(matrix[NAMES.index(i)][1 + NAMES.index(j)]) for i, j, _ in rows]
            assert found == [int(count) for *_, count in rows]
            wrong = [int(matrix[i][1 + j]) for i in range(3) for j in range(3) if i != j]
            assert found == sorted(wrong, reverse=True)[:5]
        seen.append(file)
    assert len(seen) == len(set(seen))
    assert {"data.npy", "eval/test/metrics.json", "eval/val/confusion.csv"} <= set(seen)
    wanted = {f"calibration.json: {name}" for name in FLOATS}
    wanted |= {f"eval/test/metrics.json: {name}" for name in ("accuracy", "ece", "interval95.0")}
    assert wanted | {"config.json: train.epochs"} <= set(seen)


def test_no_number_stands_outside_of_tables_and_code(workdir):
    prose = re.sub(r"`.*?`|^\|.*$", "", card_text(workdir), flags=re.MULTILINE)
    assert re.findall(r"\d[\d.]*", prose) == ["4"]  # digits, to which floats are rounded


def test_a_licence_is_asked_for_and_never_guessed(workdir):
    section = card_text(workdir).split("## ")[1]
    assert section.startswith("Licence of the pictures\n\n**Missing.**")
    assert "Write it to the file `licence.txt` here" in section
    (workdir / "licence.txt").write_text("\ufeffCC BY `4.0`\n<b>[x](y)\x1b\n", encoding="utf-8")
    section = card_text(workdir).split("## ")[1]
    assert "Missing" not in section
    assert section.splitlines()[2:5] == [
        "As `licence.txt` has it, unchecked:  ",
        "`` CC BY `4.0` ``  ",
        "`<b>[x](y)\ufffd`",
    ]


def test_what_is_not_measured_is_called_so(workdir):
    for name in ("data.npy", "calibration.json"):
        (workdir / name).unlink()
    (workdir / "eval/val/metrics.json").write_text("{broken")
    card = card_text(workdir)
    assert card.count("`eval/val/metrics.json` cannot be read.") == 1
    assert "eval/val/confusion.csv" not in card
    assert "Images and groups of each class are not known: there is no `data.npy`." in card
    assert "Uncalibrated: there is no `calibration.json`." in card
    (workdir / "calibration.json").write_text('{"uncalibrated": "val has 3 pictures"}')
    assert "| val has 3 pictures | calibration.json: uncalibrated |" in card_text(workdir)


def test_a_full_disk_leaves_the_older_card(workdir, monkeypatch):
    (workdir / "card.md").write_text("older")

    def full(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dkse_jax.evaluation.card.write_atomically", full)
    with pytest.raises(UserError, match=r"cannot write .*card\.md .*No space left on device"):
        write_card(workdir)
    assert (workdir / "card.md").read_text() == "older"
