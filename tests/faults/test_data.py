"""F27, F28: data that changed between starts, and evaluation on what the weights have seen."""

import os

import pytest

from dkse_jax.errors import UserError
from dkse_jax.evaluation.run import evaluate
from dkse_jax.training.loop import train
from tests.begun import exchange, make_folder, rewrite, trained_on
from tests.conftest import thin_config
from tests.faults import runs

pytestmark = pytest.mark.usefixtures("short")
CLASSES = ("dark", "light", "zinc")


def config_of(root, examples, steps=10, **fields):
    """A training of `steps` steps on the folder; of 10 it is the program of others' tests."""
    config = thin_config()
    config.data.source, config.data.root = "folder", str(root)
    config.train.epochs = steps * config.train.batch_size / examples
    config.update_from_flattened_dict(fields)
    return config


@pytest.fixture
def root(tmp_path):
    """A folder of 9 images of each class in each split."""
    return make_folder(tmp_path / "images", 0, 27, CLASSES)


@pytest.fixture
def trained_run(root, tmp_path):
    train(config_of(root, 27), tmp_path / "run")
    return tmp_path / "run"


CHANGES = {  # what the sentence must say -> the change of a folder
    "content of 1 image": lambda root: (root / "zinc/26.bmp").write_bytes(b"other"),
    "labels of 1 image": lambda root: rewrite(root, "dark/26.bmp,dark", "dark/26.bmp,light"),
    "groups of 1 image": lambda root: rewrite(root, "light25,", "light24,"),
    "removal of 1 image": lambda root: rewrite(root, "dark/26.bmp,dark,dark26,test\n", ""),
}


@pytest.mark.fault("F27", "contents, labels, groups or names that changed between two starts")
@pytest.mark.parametrize("what", CHANGES)
def test_changed_data_are_refused_on_resuming_and_evaluating(root, tmp_path, what):
    config, workdir = config_of(root, 27), tmp_path / "run"
    trained_on(config, root, workdir)
    before = files(workdir)
    CHANGES[what](root)
    for start in (lambda: train(config, workdir), lambda: evaluate(workdir)):
        with pytest.raises(UserError, match=f"the data changed since the run began: {what}"):
            start()
    assert files(workdir) == before


def files(workdir):
    return {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}


@pytest.mark.fault("F27", "images exchanged under the same names, sizes and times kept")
@pytest.mark.full
def test_an_exchange_that_only_the_content_shows_ends_the_resumed_run(root, trained_run):
    before = runs.journal(trained_run)
    times = {path: path.stat().st_mtime_ns for path in root.glob("*/*.bmp")}
    for i in range(27):
        exchange(root, f"dark/{i}.bmp", f"light/{i}.bmp")
    for path, time in times.items():
        os.utime(path, ns=(time, time))
    with pytest.raises(UserError, match=r'the content of ".*" changed since the run began'):
        train(config_of(root, 27, 20), trained_run)
    assert runs.journal(trained_run) == before
    with pytest.raises(UserError, match=r'the content of ".*" changed since the run began'):
        evaluate(trained_run, "val")


@pytest.mark.fault("F28", "evaluation of the run's own folder, given as other images")
@pytest.mark.full
def test_the_own_folder_is_judged_without_what_was_seen(root, trained_run, capfd):
    alone, whole = evaluate(trained_run), evaluate(trained_run, "all", root)
    assert (alone["n"], alone["seen"], whole["n"], whole["seen"]) == (27, 0, 27, 54)
    for key in ("accuracy", "loss", "per_class", "weights"):
        assert whole[key] == alone[key]
    assert "the weights have seen 54 of 81 images" in capfd.readouterr().out


@pytest.mark.fault("F28", "init_from with another seed: training images become test images")
@pytest.mark.full
def test_the_test_split_of_another_seed_is_judged_without_what_was_seen(root, tmp_path):
    (root / "metadata.csv").unlink()  # the seed assigns the splits
    config = config_of(root, 56)
    train(config, tmp_path / "a")
    config.seed, config.init_from = 1, str(tmp_path / "a")
    train(config, tmp_path / "b")
    metrics = evaluate(tmp_path / "b")
    assert metrics["seen"] > metrics["n"] > 0
    assert metrics["history"] == "known"
    assert "left out" in (tmp_path / "b/eval/test/predictions.csv").read_text()
