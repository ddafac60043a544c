import jax.numpy as jnp
import numpy as np
import pytest

from dkse_jax.training.optimizer import make_optimizer, make_schedule


def test_schedule_warms_up_and_ends_at_zero(config):
    settings = config.optimizer
    settings.learning_rate, settings.warmup_percent = 0.4, 10.0
    schedule = make_schedule(settings, 100)
    assert 0 < schedule(0) < 0.05
    np.testing.assert_allclose(schedule(10), 0.4, rtol=1e-6)
    np.testing.assert_allclose(schedule(55), 0.2, rtol=1e-6)  # half way down the cosine
    np.testing.assert_allclose(schedule(100), 0.0, atol=1e-9)


def test_one_step_is_a_schedule_too(config):
    assert make_schedule(config.optimizer, 1)(0) == pytest.approx(config.optimizer.learning_rate)


def first_update(config, gradient):
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    optimizer = make_optimizer(config.optimizer, lambda step: 0.1)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    return updates


def test_sgd_clips_the_whole_gradient(config):
    gradient = {"kernel": jnp.full((2, 2), 30.0), "bias": jnp.zeros(2)}
    config.optimizer.clip_norm = 1.0
    clipped = first_update(config, gradient)
    config.optimizer.clip_norm = 0.0
    free = first_update(config, gradient)
    np.testing.assert_allclose(free["kernel"] / clipped["kernel"], 60.0, rtol=1e-5)
    np.testing.assert_allclose(free["kernel"], -0.1 * 1.9 * 30, rtol=1e-5)  # nesterov: 1 + 0.9
