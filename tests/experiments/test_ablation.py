"""A table on synthetic images with thin networks: runs, resumes, writes."""

import csv
import json

import numpy as np
import pytest

from configs.dkse import VARIANTS
from dkse_jax.data.sources import load_splits, subset
from dkse_jax.data.transform import Transform
from dkse_jax.errors import UserError
from dkse_jax.experiments import ablation, runs
from dkse_jax.experiments.ablation import run_table
from dkse_jax.training.setup import describe_inputs
from dkse_jax.workdir import description

pytestmark = pytest.mark.usefixtures("short")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("table")


def csv_lines(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def run(config, workdir, table="augmentation", **options):
    options = {"seeds": 1, "only": [], "command": "python ablate.py --seeds=1"} | options
    run_table(table, config, VARIANTS, workdir=workdir, **options)


@pytest.fixture
def one_epoch(config):
    config.train.epochs = 1.0
    return config


def test_a_table_is_run_and_written(one_epoch, workdir, capsys):
    run(one_epoch, workdir)
    out = capsys.readouterr().out
    assert "table augmentation: 2 rows with 1 seeds; 2 runs to go, about" in out
    assert "run 2 of 2: off, seed 0" in out
    lines = csv_lines(workdir / "table-augmentation.csv")
    assert [line["row"] for line in lines] == ["on", "off"]
    for line, folder in zip(lines, ("best", "augmentation_off"), strict=True):
        metrics = json.loads((workdir / folder / "seed-0/eval/test/metrics.json").read_text())
        assert float(line["accuracy"]) == metrics["accuracy"]
        assert int(line["n"]) == 3 * 7
        assert float(line["minutes"]) > 0
        assert float(line["milliseconds"]) > 0
    text = (workdir / "table-augmentation.md").read_text()
    assert text.startswith("`python ablate.py --seeds=1`\n\n| row ")
    assert "not run" not in text
    assert (workdir / "table-augmentation.png").stat().st_size > 5000


def test_a_table_without_a_test_split_is_refused_before_any_run(config, tmp_path, monkeypatch):
    splits = load_splits(config.data, 0)
    splits["test"] = subset(splits["test"], np.array([], int))
    monkeypatch.setattr(ablation, "load_splits", lambda *_: splits)
    with pytest.raises(UserError, match="compares the rows on test, but the data have no test"):
        run(config, tmp_path / "table")
    assert not (tmp_path / "table").exists()


def test_finished_rows_are_not_run_again(one_epoch, workdir, monkeypatch, capsys):
    def train(*_):
        raise AssertionError("a finished row was run again")

    before = (workdir / "table-augmentation.csv").read_text()
    monkeypatch.setattr(runs, "train", train)
    run(one_epoch, workdir)
    assert "0 runs to go" in capsys.readouterr().out
    assert (workdir / "table-augmentation.csv").read_text() == before


def test_finished_rows_of_another_config_are_refused(one_epoch, workdir):
    one_epoch.optimizer.learning_rate = 0.05
    with pytest.raises(UserError, match=r"optimizer.learning_rate: 0.1 -> 0.05"):
        run(one_epoch, workdir)


def test_an_interrupted_run_goes_on_and_its_minutes_are_unknown(one_epoch, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runs, "train", killed)
        with pytest.raises(KeyboardInterrupt):
            run(one_epoch, tmp_path, only=["on"])
    run(one_epoch, tmp_path, only=["on"])
    record = json.loads((tmp_path / "best/seed-0.json").read_text())
    assert record["minutes"] is None
    text = (tmp_path / "table-augmentation.md").read_text()
    assert "interrupted" in text
    assert text.count("not run") == 1
    assert "\n- `--rows=off`, about " in text


def test_all_rows_read_images_as_the_first_that_was_begun(one_epoch, tmp_path, monkeypatch):
    config = one_epoch.copy_and_resolve_references()
    config.augment.enabled, config.data.colour_profiles = False, False
    splits = load_splits(config.data, 0)
    inputs = describe_inputs(splits, Transform.of(config.data))
    description.begin(tmp_path / "augmentation_off/seed-0", config, inputs)
    used = []
    monkeypatch.setattr(runs, "run", lambda row, seed, base, *_: used.append(base))
    run(one_epoch, tmp_path)
    assert [base.data.colour_profiles for base in used] == [False, False]


def test_mistakes_are_told_before_anything_is_made(one_epoch, tmp_path):
    with pytest.raises(UserError, match=r'--rows names "of", which is no row; did you mean "off"'):
        run(one_epoch, tmp_path / "x", only=["of"])
    one_epoch.model.width = 3  # 12 channels at the block, which r = 16 does not divide
    with pytest.raises(UserError, match=r"reduction is 16, but must divide the 12 channels"):
        run(one_epoch, tmp_path / "x", table="2")
    assert not (tmp_path / "x").exists()


def test_traditional_classifiers_are_rows_too(one_epoch, tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "_seconds", lambda *_: 1.0)  # tracing every network is slow
    one_epoch.data.image_size = 64  # inception_v4 needs more, which was not asked for
    run(one_epoch, tmp_path, table="baselines", only=["knn", "svm"], seeds=1)
    lines = csv_lines(tmp_path / "table-baselines.csv")
    assert [line["row"] for line in lines] == ["svm", "knn"]
    assert all(int(line["n"]) == 3 * 7 for line in lines)
    text = (tmp_path / "table-baselines.md").read_text()
    assert "\n- `--rows=resnet50`, about " in text
    assert "\n- `--rows=inception_v4`\n" in text
    with pytest.raises(UserError, match=r"must be at least 75 for config.model.name=inception_v4"):
        run(one_epoch, tmp_path, table="baselines", only=["knn", "inception_v4"], seeds=1)
    one_epoch.data.image_size = 70  # the rows that are finished would stand beside it
    with pytest.raises(UserError, match=r"data.image_size: 64 -> 70"):
        run(one_epoch, tmp_path, table="baselines", only=["rbf_network"], seeds=1)


def test_painted_pictures_of_another_seed_are_described_anew(one_epoch, tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "_seconds", lambda *_: 1.0)
    one_epoch.data.image_size = 75
    run(one_epoch, tmp_path, table="baselines", only=["knn"], seeds=2)
    found = sorted(path.name.split("-")[1] for path in tmp_path.glob("features-*.npz"))
    assert found == ["0"] * 3 + ["1"] * 3
