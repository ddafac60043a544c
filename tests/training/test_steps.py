import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dkse_jax import runtime, sharding
from dkse_jax.data.pipeline import training_batches
from dkse_jax.data.sources import load_splits
from dkse_jax.data.transform import Transform
from dkse_jax.models import configured_model
from dkse_jax.models.dkse_net import DKSENet
from dkse_jax.training.loop import restored_state, training_part
from dkse_jax.training.state import create_state, initialise
from dkse_jax.training.steps import cross_entropy, make_train_step, pointwise_l2
from dkse_jax.workdir import checkpoint
from tests.conftest import thin_config
from tests.short import FULL

pytestmark = pytest.mark.usefixtures("short")

SCHEDULE = optax.constant_schedule(0.1)


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


def thin_network(dtype, *, remat=False):
    """The network, with dropout, its optimiser, and what makes their first state."""
    dropout = {"dropout_before_pool": 0.1, "dropout_after_pool": 0.2}
    model = DKSENet(3, width=4, dtype=dtype, remat=remat, **dropout)
    optimizer = optax.sgd(0.01, momentum=0.9)

    def fresh_state():
        state = create_state(model, optimizer, 32, seed=0)
        # flax makes the statistics float32, whatever they become in the first step
        return state.replace(
            batch_stats=jax.tree.map(lambda leaf: leaf.astype(dtype), state.batch_stats)
        )

    return model, optimizer, fresh_state


@functools.cache
def first_state(dtype):
    *_, fresh_state = thin_network(dtype)
    mesh = sharding.make_mesh(jax.local_devices()[:1])
    return jax.tree.map(np.asarray, initialise(fresh_state, mesh))


@functools.cache
def compiled(dtype, device_count, fsdp, examples, remat=False):
    """The train step, its mesh, and where its state lies."""
    mesh = sharding.make_mesh(jax.devices()[:device_count], fsdp=fsdp)
    model, optimizer, _ = thin_network(dtype, remat=remat)
    target = sharding.abstract(first_state(dtype), mesh)
    images = jax.ShapeDtypeStruct((examples, 32, 32, 3), np.uint8)
    labels = jax.ShapeDtypeStruct((examples,), np.int32)
    step = make_train_step(model, optimizer, SCHEDULE, thin_config(), Transform(32), mesh)
    program = step.lower(target, images, labels).compile()
    return program, mesh, target


@functools.cache
def run(dtype, device_count, fsdp, steps, examples, draws):
    """Trains the thin network on draws of noise: losses (draws, steps) and the last state."""
    step, mesh, _ = compiled(dtype, device_count, fsdp, examples)
    first = first_state(dtype)
    losses = np.zeros((draws, steps))
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        images = rng.integers(0, 256, (examples, 32, 32, 3), dtype=np.uint8)
        labels = rng.integers(0, 3, examples, dtype=np.int32)
        state = jax.device_put(first, sharding.shardings(first, mesh))
        rows = sharding.local_indices(mesh, examples)
        images, labels = (
            sharding.to_global_array(x[rows], examples, mesh) for x in (images, labels)
        )
        for i in range(steps):
            state, sums = step(state, images, labels)
            losses[draw, i] = sums["loss"]
    return losses, state


# How many devices, and how many of them share one copy of the state.
@pytest.mark.parametrize(
    ("device_count", "fsdp"),
    [
        (8, 1),
        pytest.param(2, 2, marks=pytest.mark.full),
        pytest.param(4, 1, marks=pytest.mark.full),
        pytest.param(8, 8, marks=pytest.mark.full),
    ],
)
def test_devices_give_one_devices_losses_in_float32(device_count, fsdp):
    # BatchNorm over few values would magnify the rounding: hence 64 images. In one of 16 draws
    # tried, a value that rounds to either side of a ReLU's zero moved a loss by 8e-5: hence the
    # median, and a rate low enough that the steps after it do not magnify that.
    one, many = (run(jnp.float32, *mesh, 5, 64, 7)[0] for mesh in ((1, 1), (device_count, fsdp)))
    assert np.median(abs(many - one).max(axis=1)) < 1e-5
    np.testing.assert_allclose(many, one, atol=1e-2, rtol=0)
    assert (one[:, -1] < one[:, 0]).all()


@pytest.mark.parametrize(
    ("device_count", "fsdp"),
    [
        (4, 2),
        (8, 8),
        pytest.param(2, 1, marks=pytest.mark.full),
        pytest.param(8, 1, marks=pytest.mark.full),
    ],
)
def test_devices_give_one_devices_losses_in_float64(device_count, fsdp):
    with jax.enable_x64(True):
        one, many = (
            run(jnp.float64, *mesh, 20, 8, 1)[0] for mesh in ((1, 1), (device_count, fsdp))
        )
    np.testing.assert_allclose(many, one, atol=1e-9, rtol=0)
    assert one[0, -1] < 0.9 * one[0, 0]


def test_eight_devices_hold_an_eighth_of_the_large_arrays():
    with jax.enable_x64(True):
        _, state = run(jnp.float64, 8, 8, 20, 8, 1)
    parts = {
        jax.tree_util.keystr(path): leaf.size // leaf.addressable_shards[0].data.size
        for path, leaf in jax.tree_util.tree_leaves_with_path((state.params, state.opt_state))
        if leaf.size >= sharding.LEAST_SHARDED
    }
    assert set(parts.values()) == {8}
    # The kernels of separable_14 (whole, of 11 and 13 too) and of one branch, and their momentum.
    assert len(parts) == 2 * (4 if FULL else 2)


def trained(step, state, last_step):
    """Trains on painted pictures from the state's step on: examples and loss of each, the state."""
    config, seen = thin_config(), []
    source = load_splits(config.data, config.seed)["train"]
    first_step = int(state.step) + 1
    for batch in training_batches(source, config, first_step=first_step, last_step=last_step):
        state, metrics = step(state, batch["image"], batch["label"])
        seen.append((batch["index"].tolist(), float(metrics["loss"])))
    return seen, state


def test_a_run_saved_on_eight_devices_goes_on_on_fewer(tmp_path):
    with jax.enable_x64(True):
        step, _, target = compiled(jnp.float64, 8, 8, 8)
        first = first_state(jnp.float64)
        start = jax.device_put(first, jax.tree.map(lambda leaf: leaf.sharding, target))
        _, state = trained(step, start, 4)
        checkpoint.save(tmp_path, 4, state.variables(), training_part(state), {})
        expected, _ = trained(step, state, 8)
        for device_count, fsdp in ((1, 1), (4, 2)):
            step, _, target = compiled(jnp.float64, device_count, fsdp, 8)
            state, saved = restored_state(tmp_path, target)
            found, _ = trained(step, state, 8)
            assert saved == 4
            assert [examples for examples, _ in found] == [examples for examples, _ in expected]
            for (_, loss), (_, as_saved) in zip(found, expected, strict=True):
                assert abs(loss - as_saved) < 1e-9


def test_recomputation_takes_less_memory_and_gives_the_same_losses():
    plain, mesh, _ = compiled(jnp.float32, 1, 1, 64)
    thrifty, *_ = compiled(jnp.float32, 1, 1, 64, remat=True)
    kept, recomputed = (p.memory_analysis().temp_size_in_bytes for p in (plain, thrifty))
    assert recomputed < 0.75 * kept
    images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    losses = []
    for step in (plain, thrifty):
        state = jax.device_put(first_state(jnp.float32), sharding.replicated(mesh))
        for _ in range(2):
            state, metrics = step(state, images, np.arange(64, dtype=np.int32) % 3)
        losses.append(metrics["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_steps_count_and_move_every_weight_and_statistic():
    with jax.enable_x64(True):
        first, last = first_state(jnp.float64), run(jnp.float64, 8, 8, 20, 8, 1)[1]
    assert (int(first.step), int(last.step)) == (0, 20)
    pairs = zip(
        jax.tree_util.tree_leaves_with_path(first.variables()),
        jax.tree.leaves(last.variables()),
        strict=True,
    )
    chex.assert_trees_all_equal_shapes_and_dtypes(first, last)
    assert not [path for (path, before), after in pairs if np.array_equal(before, after)]


def test_another_seed_gives_other_weights():
    model, optimizer = DKSENet(3, width=4), optax.sgd(0.1)
    mesh = runtime.default_mesh(8)
    state = initialise(lambda: create_state(model, optimizer, 32, seed=1), mesh)
    assert jax.tree.map(lambda leaf: leaf.sharding, state) == sharding.shardings(state, mesh)
    kernels = (tree.params["dilated_1"]["kernel"] for tree in (state, first_state(jnp.float32)))
    assert (np.not_equal(*kernels)).all()


@pytest.mark.parametrize("name", ["alexnet", "resnet18"])
def test_networks_with_and_without_norms_train(config, name):
    """On shapes alone: they are large."""
    config.model.name = name
    model, optimizer = configured_model(config.model, 3), optax.sgd(0.1)
    step = make_train_step(
        model, optimizer, SCHEDULE, config, Transform(64), runtime.default_mesh()
    )
    state = jax.eval_shape(lambda: create_state(model, optimizer, 64, seed=0))
    images = jax.ShapeDtypeStruct((8, 64, 64, 3), jnp.uint8)
    after, metrics = jax.eval_shape(step, state, images, jax.ShapeDtypeStruct((8,), jnp.int32))
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    assert metrics["loss"].shape == ()
    assert set(state.variables()) == {"params"} | ({"batch_stats"} if name == "resnet18" else set())
