"""The rows of a table are of the same data, or the table ends in a sentence; nothing is trained."""

import csv
import os

import numpy as np
import pytest
from PIL import Image

from configs.dkse import VARIANTS
from dkse_jax.errors import UserError
from dkse_jax.experiments import ablation, runs
from dkse_jax.experiments.ablation import run_table
from tests.begun import exchange, make_folder, rewrite, trained_on


@pytest.fixture
def root(tmp_path):
    return make_folder(tmp_path / "images", 0)


@pytest.fixture
def table(config, root, tmp_path, monkeypatch):
    """table(row, ...): runs rows of the table attention on the folder; returns the trained."""
    trained = []

    def stand_in(config, folder, mesh):
        test = trained_on(config, root, folder)["test"]
        trained.append(folder.parent.name)
        (folder / "eval/test").mkdir(parents=True)
        with (folder / "eval/test/predictions.csv").open("w", newline="") as file:
            rows = [(name, test.labels[i], i % 2) for i, name in enumerate(test.ids)]
            csv.writer(file).writerows([("file", "label", "prediction"), *rows])
        metrics = {"n": len(test), "classes": 2, "accuracy": 0.5, "interval95": [0.2, 0.8]}
        return metrics | {"parameters": 1, "macs": 1, "minutes": 1.0, "milliseconds": 1.0}

    monkeypatch.setattr(runs, "_trained", stand_in)
    monkeypatch.setattr(ablation, "_seconds", lambda *_: 1.0)
    monkeypatch.setattr(ablation.table_report, "write", lambda *_: "")
    config.data.source, config.data.root = "folder", str(root)

    def run(*rows, seeds=1):
        trained.clear()
        workdir = tmp_path / "tables"
        run_table(
            "attention", config, VARIANTS, seeds=seeds, only=rows, workdir=workdir, command="c"
        )
        return list(trained)

    return run


def add(root, split):
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "dark/new.bmp")
    with (root / "metadata.csv").open("a") as file:
        file.write(f"\ndark/new.bmp,dark,new,{split}")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            lambda root: add(root, "val"),
            "the data changed since the run began: addition of 1 image",
        ),
        (lambda root: add(root, "test"), "the data changed since the run began: addition of 1 im"),
        (lambda root: rewrite(root, "dark2,", "dark1,"), "the data changed .*: groups of 1 image"),
        (lambda root: exchange(root, "dark/0.bmp", "light/0.bmp"), 'the content of ".*0.bmp" chan'),
    ],
)
def test_a_row_of_other_data_is_refused_before_it_is_trained(table, root, tmp_path, change, what):
    assert table("none") == ["none"]
    change(root)
    names = sorted(path.name for path in (tmp_path / "tables").iterdir())
    sentence = rf"^the rows of a table need the same data, but in .*/none/seed-0 {what}"
    for rows in (("se",), ("none",)):
        with pytest.raises(UserError, match=sentence):
            table(*rows)
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == names


def test_rows_of_the_same_data_are_trained_though_copied(table, root):
    assert table("none", seeds=2) == ["none", "none"]
    for path in root.glob("*/*.bmp"):
        if int(path.stem) < 6:  # read, and thus known by content
            os.utime(path, (1, 1))
    assert table("none", "se", seeds=2) == ["se", "se"]


def test_data_that_change_while_a_table_runs_are_refused_at_the_next_row(table, root, monkeypatch):
    whole, rows = runs.run, []

    def run(row, *rest):
        rows.append(row.name)
        whole(row, *rest)
        rewrite(root, "light7,", "light8,")

    monkeypatch.setattr(runs, "run", run)
    with pytest.raises(UserError, match=r"seed-0 the data changed .*: groups of 1 image"):
        table("best", "se")
    assert rows == ["best"]


def test_rows_of_an_earlier_version_are_compared_by_names_and_labels(table, root, tmp_path):
    table("none")
    (tmp_path / "tables/none/seed-0/data.npy").unlink()
    assert table("se") == ["se"]
    (tmp_path / "tables/se/seed-0/data.npy").unlink()
    rewrite(root, "light/0.bmp,light", "light/0.bmp,dark")
    with pytest.raises(UserError, match=r"seed-0 the train data changed since"):
        table("sk")
