"""F32: right in reduced precision, and nothing lost where it is not."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dkse_jax.errors import UserError
from dkse_jax.models.pooling import global_average_pool, max_pool
from dkse_jax.training import measure
from dkse_jax.training.loop import train
from dkse_jax.workdir import checkpoint
from tests.conftest import default_optimisation
from tests.faults import thin


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
