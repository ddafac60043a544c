import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dkse_jax import devices
from dkse_jax.data.transform import Transform
from dkse_jax.models import create_model
from dkse_jax.models.dkse_net import DKSENet
from dkse_jax.training.state import create_state, initialise
from dkse_jax.training.steps import cross_entropy, make_train_step, pointwise_l2
from tests.conftest import thin_config


def test_cross_entropy_is_the_hand_written_sum():
    logits = jnp.array([[2.0, 0.0, -1.0], [0.5, 0.5, 0.0]])
    labels = jnp.array([0, 2])
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    targets = np.full((2, 3), 0.1 / 3) + 0.9 * np.eye(3)[[0, 2]]
    expected = -(targets * np.log(probabilities)).sum(1).mean()
    np.testing.assert_allclose(cross_entropy(logits, labels, 0.1), expected, rtol=1e-6)
    np.testing.assert_allclose(
        cross_entropy(logits, labels, 0.0),
        -np.log([probabilities[0, 0], probabilities[1, 2]]).mean(),
        rtol=1e-6,
    )


def test_the_penalty_sums_the_pointwise_kernels_alone():
    params = {
        "separable_3": {
            "pointwise": {"kernel": jnp.full((1, 1, 2, 3), 2.0)},
            "depthwise": {"kernel": jnp.ones((3, 3, 1, 2))},
        },
        "dkse_6": {"branch_1": {"conv": {"kernel": jnp.ones((1, 1, 2, 2))}}},
        "logits": {"kernel": jnp.ones((4, 5)), "bias": jnp.ones(5)},
    }
    assert pointwise_l2(params) == 24.0


@functools.cache
def run(dtype, device_count, steps, examples, draws):
    """Trains the thin network, with dropout, on draws of noise: losses, first and last state."""
    config = thin_config()
    mesh = devices.make_mesh(jax.devices()[:device_count])
    model = DKSENet(3, width=4, dropout_before_pool=0.1, dropout_after_pool=0.2, dtype=dtype)
    optimizer = optax.sgd(0.01, momentum=0.9)
    step = make_train_step(model, optimizer, config, Transform(32), mesh)

    def fresh_state():
        state = create_state(model, optimizer, 32, seed=0)
        # flax makes the statistics float32, whatever they become in the first step
        return state.replace(
            batch_stats=jax.tree.map(lambda leaf: leaf.astype(dtype), state.batch_stats)
        )

    first = jax.tree.map(np.asarray, initialise(fresh_state, mesh))
    losses = np.zeros((draws, steps))
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        images = rng.integers(0, 256, (examples, 32, 32, 3), dtype=np.uint8)
        labels = rng.integers(0, 3, examples, dtype=np.int32)
        state = jax.device_put(first, devices.replicated(mesh))
        for i in range(steps):
            state, sums = step(state, images, labels)
            losses[draw, i] = sums["loss"]
    return losses, first, jax.tree.map(np.asarray, state)


def test_eight_devices_give_one_devices_losses_in_float32():
    # BatchNorm over few values would magnify the rounding: hence 64 images. In one of 16 draws
    # tried, a value that rounds to either side of a ReLU's zero moved a loss by 8e-5: hence the
    # median, and a rate low enough that the steps after it do not magnify that.
    one, eight = (run(jnp.float32, n, 5, 64, 7)[0] for n in (1, 8))
    assert np.median(abs(eight - one).max(axis=1)) < 1e-5
    np.testing.assert_allclose(eight, one, atol=1e-2, rtol=0)
    assert (one[:, -1] < one[:, 0] - 0.1).all()


def test_eight_devices_give_one_devices_losses_in_float64():
    with jax.enable_x64(True):
        one, eight = (run(jnp.float64, n, 20, 8, 1)[0] for n in (1, 8))
    np.testing.assert_allclose(eight, one, atol=1e-9, rtol=0)
    assert one[0, -1] < 0.9 * one[0, 0]


def test_steps_count_and_move_every_weight_and_statistic():
    _, first, last = run(jnp.float32, 8, 5, 64, 7)
    assert (int(first.step), int(last.step)) == (0, 5)
    pairs = zip(
        jax.tree_util.tree_leaves_with_path(first.variables()),
        jax.tree.leaves(last.variables()),
        strict=True,
    )
    chex.assert_trees_all_equal_shapes_and_dtypes(first, last)
    assert not [path for (path, before), after in pairs if (before == after).all()]


def test_another_seed_gives_other_weights():
    model, optimizer = DKSENet(3, width=4), optax.sgd(0.1)
    state = initialise(lambda: create_state(model, optimizer, 32, seed=1), devices.make_mesh())
    _, first, _ = run(jnp.float32, 8, 5, 64, 7)
    kernels = (tree.params["dilated_1"]["kernel"] for tree in (state, first))
    assert (np.not_equal(*kernels)).all()


@pytest.mark.parametrize("name", ["alexnet", "resnet18"])
def test_networks_with_and_without_norms_train(config, name):
    """On shapes alone: they are large."""
    config.model.name = name
    model, optimizer = create_model(config.model, 3), optax.sgd(0.1)
    step = make_train_step(model, optimizer, config, Transform(64), devices.make_mesh())
    state = jax.eval_shape(lambda: create_state(model, optimizer, 64, seed=0))
    images = jax.ShapeDtypeStruct((8, 64, 64, 3), jnp.uint8)
    after, metrics = jax.eval_shape(step, state, images, jax.ShapeDtypeStruct((8,), jnp.int32))
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    assert metrics["loss"].shape == ()
    assert set(state.variables()) == {"params"} | ({"batch_stats"} if name == "resnet18" else set())
