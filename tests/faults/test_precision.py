"""F32, F33: right in reduced precision, and settings that cannot train are refused."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dkse_jax import sharding
from dkse_jax.errors import UserError
from dkse_jax.models import configured_model
from dkse_jax.models.pooling import global_average_pool
from dkse_jax.ops.forms import Target
from dkse_jax.ops.max_pool import max_pool
from dkse_jax.ops.norm import batch_norm
from dkse_jax.trained import load
from dkse_jax.training import measure
from dkse_jax.training.limits import odd_settings
from dkse_jax.training.loop import train
from dkse_jax.workdir import checkpoint
from tests.conftest import default_optimisation
from tests.faults import thin

SK = {"model.attention": "sk"}  # has a norm of the pooled map


@pytest.mark.fault("F32", "bfloat16 on a CPU: pools after two ReLUs, compiled as for users")
@pytest.mark.parametrize("pool", [global_average_pool, partial(max_pool, size=2, stride=2)])
def test_pools_of_bfloat16(pool):
    def run(x, kernel):
        for _ in range(2):
            x = jax.nn.relu(x @ kernel.astype(x.dtype))
        return pool(x)

    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 8, 8, 128), np.float32)
    kernel = rng.standard_normal((128, 128), np.float32) / np.sqrt(128)
    with default_optimisation():
        narrow = np.asarray(jax.jit(run)(x.astype(jnp.bfloat16), kernel), np.float32)
        wide = jax.jit(run)(x, kernel)
    np.testing.assert_allclose(narrow, wide, rtol=0, atol=0.03 * np.ptp(wide))


@pytest.mark.fault("F32", "a val loss of NaN: the step is saved before it is judged")
@pytest.mark.full
def test_a_verdict_of_nan_loses_no_step(tmp_path, monkeypatch, short):
    def broken(*arguments, **named):
        return np.full((15, 3), np.nan)

    monkeypatch.setattr(measure, "predict", broken)
    config = thin.get_config()
    config.train.epochs, config.model.dtype = 0.3, "bfloat16"
    sentence = "15 of the 15 images of val at step 2, which is saved, have .*model.dtype=float32$"
    with pytest.raises(UserError, match=sentence):
        train(config, tmp_path / "run")
    assert checkpoint.latest_step(tmp_path / "run") == 2
    assert (tmp_path / "run/metrics.jsonl").read_text().count("train") == 2


@pytest.mark.fault("F32", "a batch norm of maps 1000 ± 0.1: their variance is not rounded away")
@pytest.mark.parametrize("devices", [1, 8])
def test_the_variance_of_maps_far_from_zero(devices):
    x = 1000 + 0.1 * np.random.default_rng(0).standard_normal((8, 16, 16, 4))
    norm = partial(batch_norm, epsilon=1e-5, target=Target("cpu", devices))
    _, _, variance = norm(x.astype(np.float32), jnp.ones(4), jnp.zeros(4))
    np.testing.assert_allclose(variance, x.var((0, 1, 2)), rtol=0.01)


@pytest.mark.fault("F33", "a norm over one value, everything frozen, a run of warm-up alone")
@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"train.batch_size": 1, **SK}, "one value a channel in a batch of one image of 32 pixels"),
        (
            {"train.accumulate": 8, **SK},
            r"sk_6/reduce/norm sees .*accumulate=8 parts",
        ),
        ({"frozen": "d,l,s"}, 'frozen has "d", with which no parameter begins'),
        ({"frozen": "depthwise,dilated,dkse,logits,separable"}, "leaves nothing to train"),
        ({"optimizer.warmup_percent": 99.9}, "a warm-up of all 40 steps"),
    ],
)
def test_settings_that_cannot_train(tmp_path, fields, sentence):
    config = thin.get_config()
    config.train.epochs = 40 / 6
    config.update_from_flattened_dict(fields)
    with pytest.raises(UserError, match=sentence):
        train(config, tmp_path / "run", sharding.make_mesh(jax.devices()[:1]))
    assert not (tmp_path / "run").exists()


@pytest.mark.fault("F33", "frozen norms stand still; what init_from took and compared is told")
@pytest.mark.full
def test_a_tuned_run_keeps_what_is_frozen_and_says_what_it_took(
    tmp_path, config, trained, short, capsys
):
    config.init_from, config.frozen = str(trained), "depthwise,dilated,separable"
    config.train.epochs, config.data.levels = 0.3, True
    train(config, tmp_path / "run")
    text = capsys.readouterr().out
    assert "the head among them" in text
    assert "caution: " + str(trained) + " was trained with data.normalisation=centred" in text
    assert "trained  dkse_6, logits; the others are frozen" in text
    before, after = load(trained), load(tmp_path / "run")
    for name in ("depthwise_2", "separable_14"):
        for collection in ("params", "batch_stats"):
            chex.assert_trees_all_equal(
                before.variables[collection][name], after.variables[collection][name]
            )


@pytest.mark.fault("F33", "a batch larger than the data: the epochs of a step are told")
def test_a_batch_larger_than_the_data(config):
    (line,) = odd_settings(config, configured_model(config.model, 3), 5, 1)
    assert "batch_size=8 is 1.6 epochs of 5 images: this run takes 1 step, 1.6 epochs" in line
