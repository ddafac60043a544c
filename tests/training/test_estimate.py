import dataclasses
import shlex
from pathlib import Path

import numpy as np
import pytest

from dkse_jax import runtime
from dkse_jax.data.sources import load_splits, subset
from dkse_jax.models import configured_model
from dkse_jax.training import estimate


@pytest.fixture
def told(config, monkeypatch, capsys):
    """What announce prints for 1,000 steps of the paper's best network at 96 pixels."""
    splits = load_splits(config.data, config.seed)
    config.model.width = 32
    config.data.image_size = 96
    model = configured_model(config.model, num_classes=5)
    mesh = runtime.default_mesh()
    monkeypatch.setattr(estimate, "matmul_rate", lambda mesh: 1e10 / estimate.ATTAINED_SHARE)

    def tell(step, class_names=splits["train"].class_names, workdir="runs/x", remarks=()):
        named = {
            name: dataclasses.replace(split, class_names=class_names, remarks=remarks)
            for name, split in splits.items()
        }
        estimate.announce(config, model, named, Path(workdir), mesh, step=step, last_step=1000)
        return capsys.readouterr().out

    return tell


def test_a_new_run_says_what_it_will_do_and_how_long_it_takes(told):
    text = told(0)
    assert "workdir  runs/x\n" in text
    assert "train 27, val 15, test 21; 3 classes: hatched_landscape" in text
    assert "2,566,053 trainable parameters, 0.146 GMACs an image of 96 pixels" in text
    # 8,000 images of 6 x 0.1463 G operations at 10 G a second: 702 s
    assert "training takes 1000 steps of 8 images: about 12 min here" in text
    for split, count in (("val", 15), ("test", 21)):
        assert text.count(f"caution: {split} has only {count} images: ") == 1


@pytest.mark.parametrize("step", [0, 500])
def test_what_was_left_out_of_the_data_follows_their_sizes(told, step):
    line = '2 files are not read: 2 .jxl (first: "ink/\x1b[31m.jxl")'
    lines = told(step, remarks=(line, "not taken for pictures: 1 .txt")).splitlines()
    place = lines.index("listing  not taken for pictures: 1 .txt")
    assert lines[place - 1] == f"listing  {line}".replace("\x1b", "\ufffd")
    assert lines[place - 2].startswith("data     train 27")
    assert "listing" not in told(step)


def test_a_resumed_run_counts_what_is_left(told):
    text = told(500)
    assert "training goes on after step 500 of 1000 steps of 8 images: about 6 min" in text
    assert "caution" not in text


def test_a_finished_run_says_what_to_do_next(told):
    assert "training is complete at step 1000: dkse-eval --workdir=runs/x" in told(1000)


def test_the_next_command_can_be_pasted(told, config):
    splits = load_splits(config.data, config.seed)
    assert told(1000, workdir="my run 1").endswith(": dkse-eval --workdir='my run 1'\n")
    for workdir in ("my run 1", "it's", "$HOME;x", "~a"):
        command = estimate.eval_command(Path(workdir), splits)
        assert shlex.split(command) == ["dkse-eval", f"--workdir={workdir}"]
    none = subset(splits["test"], np.array([], int))
    assert estimate.eval_command(Path("a"), splits | {"test": none}).endswith("=a --split=val")


def test_names_steer_no_terminal(told):
    for step in (0, 1000):
        text = told(step, ("a\nb", "x\x1b]0;t\x07", "\u200fc"), "runs/\x1b[2J")
        assert "3 classes: a\ufffdb, x\ufffd]0;t\ufffd, \ufffdc\n" in text
        assert "workdir  runs/\ufffd[2J\n" in text
        assert not set(text) & set("\x1b\x07\u200f")
        assert len(text.splitlines()) == (5 if step else 7)  # two cautions about small splits


def test_the_probe_measures_a_rate():
    assert 1e8 < estimate.matmul_rate(runtime.default_mesh()) < 1e16
