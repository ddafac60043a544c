import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from dkse_jax import runtime, sharding
from dkse_jax.data.pipeline import training_batches
from dkse_jax.data.sources import load_splits
from dkse_jax.errors import UserError
from dkse_jax.interrupts import Interrupted
from dkse_jax.ops.forms import Target
from dkse_jax.training import loop, measure
from dkse_jax.training.loop import train
from dkse_jax.training.optimizer import make_schedule
from dkse_jax.training.setup import make_setup
from dkse_jax.workdir import checkpoint
from tests.conftest import thin_config

pytestmark = pytest.mark.usefixtures("short")

STEPS = 10  # of the thin config


def metrics(workdir):
    return (workdir / "metrics.jsonl").read_text()


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def train_until_killed(config, workdir, monkeypatch, step):
    """Ends the run when it asks for the batch after `step`."""

    def short(*args, **named):
        for batch, number in zip(
            training_batches(*args, **named), range(named["first_step"], 10**6), strict=False
        ):
            if number > step:
                raise Killed
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(loop, "training_batches", short)
        with pytest.raises(Killed):
            train(config, workdir)


def test_the_journal_has_every_step_and_evaluation(trained):
    lines = [json.loads(line) for line in metrics(trained).splitlines()]
    training = [line for line in lines if line["split"] == "train"]
    assert [line["step"] for line in training] == list(range(1, STEPS + 1))
    keys = ["step", "split", "loss", "accuracy", "learning_rate", "gradient_norm", "batch"]
    assert list(training[0]) == keys
    settings = thin_config().optimizer
    expected = [float(make_schedule(settings, STEPS)(step)) for step in range(STEPS)]
    np.testing.assert_allclose([line["learning_rate"] for line in training], expected, rtol=1e-6)
    assert len({line["batch"] for line in training}) == STEPS
    # 27 examples in batches of 8: an epoch is 3 steps, to the nearest; and the last step.
    assert [line["step"] for line in lines if line["split"] == "val"] == [3, 6, 9, 10]


@pytest.mark.parametrize("killed_at", [2, 5, 9])
def test_a_killed_run_goes_on_bit_for_bit(config, tmp_path, trained, monkeypatch, killed_at):
    train_until_killed(config, tmp_path / "run", monkeypatch, killed_at)
    assert metrics(tmp_path / "run") != metrics(trained)
    train(config, tmp_path / "run")
    assert metrics(tmp_path / "run") == metrics(trained)
    assert state_of(tmp_path / "run", config) == state_of(trained, config)


def test_a_run_interrupted_while_it_judges_goes_on_bit_for_bit(
    config, tmp_path, trained, monkeypatch
):
    def interrupted(*args, **named):
        raise Interrupted(15)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "evaluate", interrupted)
        with pytest.raises(Interrupted):
            train(config, tmp_path / "run")
    assert checkpoint.read_metrics(tmp_path / "run", 3) == {}
    # Killed between the verdict's line and its place in the checkpoint, it judges once more.
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_metrics", interrupted)
        with pytest.raises(Interrupted):
            train(config, tmp_path / "run")
    train(config, tmp_path / "run")
    assert metrics(tmp_path / "run") == metrics(trained)
    assert state_of(tmp_path / "run", config) == state_of(trained, config)
    assert checkpoint.best_step(tmp_path / "run") == checkpoint.best_step(trained)


def test_a_verdict_of_nan_loses_no_step(config, tmp_path, trained, monkeypatch):
    def broken(*args, **named):
        log_probabilities = predict(*args, **named)
        log_probabilities[[1, 4], 2] = np.nan, -np.inf
        return log_probabilities

    predict, run = measure.predict, tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(measure, "predict", broken)
        sentence = "^2 of the 15 images of val at step 3, which is saved, have logits that are not"
        with pytest.raises(UserError, match=sentence):
            train(config, run)
    assert '"val"' not in metrics(run)
    assert checkpoint.latest_step(run) == 3
    train(config, run)
    assert metrics(run) == metrics(trained)
    assert state_of(run, config) == state_of(trained, config)


def test_ignoring_the_start_step_would_be_noticed(config, tmp_path, trained, monkeypatch):
    train_until_killed(config, tmp_path / "run", monkeypatch, 5)

    def saboteur(source, config, *, first_step, last_step, rows):
        return training_batches(source, config, first_step=1, last_step=last_step - first_step + 1)

    monkeypatch.setattr(loop, "training_batches", saboteur)
    train(config, tmp_path / "run")
    assert metrics(tmp_path / "run") != metrics(trained)
    assert state_of(tmp_path / "run", config) != state_of(trained, config)


def state_of(workdir, config):
    """Every array of the last checkpoint, as bytes by name."""
    from dkse_jax.data.transform import Transform
    from dkse_jax.models import configured_model
    from dkse_jax.training.optimizer import make_optimizer
    from dkse_jax.training.state import create_state

    model = configured_model(config.model, 3)
    optimizer = make_optimizer(config.optimizer, make_schedule(config.optimizer, STEPS))
    target = sharding.abstract(
        jax.eval_shape(lambda: create_state(model, optimizer, Transform(32).size, 0)),
        runtime.default_mesh(),
    )
    state, step = loop.restored_state(workdir, target)
    assert step == STEPS
    return {
        jax.tree_util.keystr(path): np.asarray(leaf).tobytes()
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def test_a_finished_run_trains_no_further(config, tmp_path, capsys):
    on_val = train(config, tmp_path / "run")
    before = metrics(tmp_path / "run")
    last = json.loads(before.splitlines()[-1])
    assert last == {"step": STEPS, "split": "val"} | on_val
    assert on_val.keys() == {"accuracy", "loss"}
    capsys.readouterr()
    assert train(config, tmp_path / "run") == on_val
    assert f"training is complete at step {STEPS}" in capsys.readouterr().out
    assert metrics(tmp_path / "run") == before


def test_another_config_is_refused_with_the_difference(config, trained):
    config.optimizer.learning_rate = 0.05
    config.log.tensorboard = True
    with pytest.raises(UserError, match=r"optimizer.learning_rate: 0.1 -> 0.05$"):
        train(config, trained)


def test_other_data_are_refused(config, trained):
    config.seed = 0
    config.data.synthetic.train_per_kind = 10
    with pytest.raises(UserError, match=r"data.synthetic.train_per_kind: 9 -> 10"):
        train(config, trained)


def test_a_folder_that_is_no_run_is_refused_and_kept(config, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match=r"holds something that is not a run"):
        train(config, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_batch_that_eight_devices_cannot_share_is_refused(config, tmp_path):
    config.train.batch_size = 12
    with pytest.raises(UserError, match=r"config.train.batch_size is 12.*nearest.* is 16"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_batches_are_put_on_the_devices_before_the_step(config, tmp_path, monkeypatch):
    compiled, seen = loop.compiled, []

    def guarded(*args):
        program = compiled(*args)

        def step(state, images, labels):
            seen.append(images.sharding)
            with jax.transfer_guard("disallow"):
                return program(state, images, labels)

        return step

    monkeypatch.setattr(loop, "compiled", guarded)
    config.train.epochs, config.devices.fsdp = 0.6, 8
    train(config, tmp_path / "run")
    assert seen == [sharding.batch_sharding(runtime.default_mesh(8))] * 2


def test_training_leaves_the_settings_of_the_process(config, tmp_path):
    config.train.epochs = 0.3
    before = dict(jax.config.values)
    train(config, tmp_path / "run", runtime.default_mesh())
    assert jax.config.values == before


def test_training_uses_the_mesh_it_is_given(config, tmp_path, monkeypatch, capsys):
    config.train.epochs = 0.3
    config.train.batch_size = 12  # which 8 devices could not share
    monkeypatch.setattr(runtime, "default_mesh", None)
    train(config, tmp_path / "run", sharding.make_mesh(jax.devices()[:2]))
    assert "devices  2 cpu" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["loss", "gradient_norm"])
def test_the_first_number_that_is_not_finite_is_named(monkeypatch, name):
    metrics = dict.fromkeys(("loss", "accuracy", "learning_rate", "gradient_norm"), np.float32(0.5))
    plan = SimpleNamespace(splits={"train": None})
    monkeypatch.setattr(measure, "batch_hash", lambda source, index: "ab")
    assert loop.training_line(plan, 3, metrics, {"index": []}) == metrics | {"batch": "ab"}
    sentence = rf"^the {name.replace('_', ' ')} is inf at step 3, at learning rate 0.5, on batch ab"
    with pytest.raises(UserError, match=sentence):
        loop.training_line(plan, 3, metrics | {name: np.float32(np.inf)}, {"index": []})


def test_the_network_is_traced_for_the_mesh(config):
    mesh = sharding.make_mesh(jax.devices()[:2])
    setup = make_setup(config, load_splits(config.data, config.seed), mesh)
    assert setup.model.target == Target("cpu", 2)


def test_a_loss_that_is_not_finite_ends_the_run(config, tmp_path):
    config.optimizer.learning_rate = 1e30
    config.optimizer.clip_norm = 0.0
    with pytest.raises(UserError, match=r"the loss is (nan|inf) at step \d+, at learning rate"):
        train(config, tmp_path / "run")
    assert "NaN" not in metrics(tmp_path / "run")
