"""F16, F17: mistakes in flags and configs are refused at once, and nothing is left behind."""

import pytest

from dkse_jax.errors import UserError
from dkse_jax.training.loop import train
from tests.faults import runs, thin
from tests.short import FULL

TYPOS = [  # a flag, and what the sentence about it must name
    ("--config.train.batchsize=8", ["train.batchsize", "train.batch_size"]),
    ("--config.trian.epochs=3", ["trian.epochs", "train.epochs"]),
    ("--config.model.name=dkse_nett", ["dkse_nett", "dkse_net"]),
    ("--config.optimizer.momentm=0.8", ["optimizer.momentm", "optimizer.momentum"]),
    ("--config.optimizer.learning_rate=-0.1", ["optimizer.learning_rate", "above 0"]),
    ("--config.train.batch_size=0", ["train.batch_size", "at least 1"]),
    ("--config.train.batch_size=eight", ["train.batch_size", "whole number"]),
    ("--config.train.epochs=many", ["train.epochs", "number"]),
    ("--config.model.positions=7", ["model.positions", "6, 9 and 12"]),
    ("--config.model.kernel_sizes=1,4", ["model.kernel_sizes", "odd"]),
    ("--config.model.dilations=1", ["model.dilations", "model.kernel_sizes"]),
    ("--config.model.reduction=3", ["model.reduction", "divide"]),
    ("--config.model.attention=sks", ["model.attention", "sk"]),
    ("--config.model.dtype=float16", ["model.dtype", "bfloat16"]),
    ("--config.data.source=foldr", ["data.source", "folder"]),
    ("--config.data.image_size=16", ["data.image_size", "at least 32"]),
    ("--config.data.on_bad_image=ignore", ["data.on_bad_image", "skip"]),
    ("--config.augment.flip=1.5", ["augment.flip", "from 0 to 1"]),
    ("--config.train.label_smoothing=1.0", ["train.label_smoothing", "below 1"]),
    ("--workdri=x", ["workdri", "workdir"]),
]


@pytest.mark.fault("F16", "twenty typos in flags and fields")
@pytest.mark.parametrize(("flag", "names"), TYPOS if FULL else TYPOS[::5])
def test_a_typo_is_refused_by_name(tmp_path, flag, names):
    process = runs.train(tmp_path / "run", flag)
    assert process.end() == 2, process.output
    runs.assert_in_time(process, 3)
    assert "Traceback" not in process.output
    assert len(process.output.splitlines()) == 1
    for name in names:
        assert name in process.output
    assert not (tmp_path / "run").exists()


@pytest.mark.fault("F16", "a batch that the devices cannot share; a folder that is not there")
def test_what_only_the_machine_knows_is_refused_too(tmp_path):
    for flags, names in [
        (["--config.train.batch_size=12"], ["config.train.batch_size is 12", "8 devices", "16"]),
        (
            ["--config.data.source=folder", f"--config.data.root={tmp_path}/imagse"],
            [f"{tmp_path}/imagse", 'did you mean "images"?'],
        ),
    ]:
        (tmp_path / "images").mkdir(exist_ok=True)
        process = runs.train(tmp_path / "run", *flags, environment={"JAX_NUM_CPU_DEVICES": "8"})
        assert process.end() == 2, process.output
        assert len(process.output.splitlines()) == 1
        for name in names:
            assert name in process.output
        assert not (tmp_path / "run").exists()


@pytest.mark.fault("F17", "going on with a changed config")
@pytest.mark.parametrize("saboteur", ["-", "differences_ignored"])
def test_a_changed_config_is_refused_field_by_field(baseline, monkeypatch, saboteur):
    if saboteur != "-":
        from dkse_jax.workdir import description

        monkeypatch.setattr(description, "differences", lambda saved, new: [])
        monkeypatch.setattr("dkse_jax.training.loop.load_splits", None)  # goes no further
    for field, value, line in [
        ("model.width", 8, "model.width: 4 -> 8"),
        ("model.dtype", "bfloat16", "model.dtype: 'float32' -> 'bfloat16'"),
        ("data.synthetic.kinds", 4, "data.synthetic.kinds: 3 -> 4"),
        ("data.image_size", 48, "data.image_size: 32 -> 48"),
        ("data.normalisation", "imagenet", "data.normalisation: 'centred' -> 'imagenet'"),
        ("optimizer.momentum", 0.8, "optimizer.momentum: 0.9 -> 0.8"),
        ("seed", 1, "seed: 0 -> 1"),
        ("train.epochs", 5.0, f"train.epochs: {thin.STEPS / 6} -> 5.0"),
    ]:
        config = thin.get_config()
        config.update_from_flattened_dict({field: value})
        before = runs.journal(baseline)
        sentence = ""
        try:
            train(config, baseline)
        except UserError as error:
            sentence = str(error)
        except TypeError:  # it went on
            pass
        with runs.must_fail(saboteur):
            assert sentence.endswith(line)
        assert runs.journal(baseline) == before
