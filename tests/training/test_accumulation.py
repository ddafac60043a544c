"""Micro-batches, and what the compiled step sends between the devices: on a small network."""

import functools
import math
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dkse_jax import runtime, sharding
from dkse_jax.data.transform import Transform, normalise
from dkse_jax.models.layers import NORM_MOMENTUM, BatchNorm, classifier
from dkse_jax.models.separable import SeparableConv
from dkse_jax.ops.forms import ANY, Target
from dkse_jax.training.optimizer import make_optimizer
from dkse_jax.training.state import create_state
from dkse_jax.training.steps import accumulated, make_train_step
from tests.conftest import thin_config

EXAMPLES, SIZE = 32, 8
TRANSFORM = Transform(SIZE)
PIXELS = np.random.default_rng(0).integers(0, 256, (EXAMPLES, SIZE, SIZE, 3), dtype=np.uint8)
LABELS = np.arange(EXAMPLES, dtype=np.int32) % 3


class Small(nn.Module):
    """The mean colour, normalised if norm, a separable convolution and a classifier."""

    norm: bool
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32
    target: Target = ANY

    @nn.compact
    def __call__(self, images, *, train=False):
        shared = {"ops": "plain", "dtype": self.dtype, "target": self.target}
        if self.norm:
            images = BatchNorm(3, relu=False, name="norm", **shared)(images)
        x = jnp.tile(images, (1, 1, 1, 16))
        x = SeparableConv(96, norm=self.norm, name="separable", **shared)(x, train=train)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return classifier(3, self.dtype)(x.mean((1, 2))), {}


def make_step(model, accumulate, mesh, optimizer=None, schedule=lambda step: 0.1, frozen=""):
    """The step and its first state, on the mesh."""
    config = thin_config()
    config.train.accumulate, config.frozen = accumulate, frozen
    model = model.clone(target=sharding.target_of(mesh))
    optimizer = optimizer or optax.sgd(schedule, momentum=0.9)
    state = create_state(model, optimizer, SIZE, seed=0)
    state = state.replace(
        batch_stats=jax.tree.map(lambda leaf: leaf.astype(model.dtype), state.batch_stats)
    )
    state = jax.device_put(jax.tree.map(np.asarray, state), sharding.shardings(state, mesh))
    return make_train_step(model, optimizer, schedule, config, TRANSFORM, mesh), state


def test_micro_batches_without_norms_are_the_large_batch():
    losses, weights = [], []
    with jax.enable_x64(True):
        for accumulate in (1, 4):
            mesh = runtime.default_mesh(2)
            step, state = make_step(Small(norm=False, dtype=jnp.float64), accumulate, mesh)
            for _ in range(5):
                state, metrics = step(state, PIXELS, LABELS)
            losses.append([float(metrics["loss"]), float(metrics["accuracy"])])
            weights.append(jax.tree.map(np.asarray, state.params))
    np.testing.assert_allclose(*losses, rtol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), *weights)
    assert losses[0][0] < 1.09  # it did learn


@pytest.mark.parametrize("frozen", ["", "separable"])
def test_a_step_reports_its_learning_rate_and_the_norm_that_clipping_has(frozen):
    settings, schedule = thin_config().optimizer, lambda step: 0.1 / (1 + step)
    settings.momentum = settings.clip_norm = 0.0
    optimizer = make_optimizer(settings, schedule, frozen.split(",") if frozen else ())
    with jax.enable_x64(True):
        model = Small(norm=True, dtype=jnp.float64)
        step, state = make_step(model, 2, runtime.default_mesh(2), optimizer, schedule, frozen)
        for learning_rate in (0.1, 0.05):
            before = jax.tree.map(np.array, state.params)
            state, metrics = step(state, PIXELS, LABELS)
            change = jax.tree.map(lambda a, b: np.sum((a - b) ** 2), before, state.params)
            norm = np.sqrt(sum(jax.tree.leaves(change))) / learning_rate
            assert metrics["learning_rate"] == pytest.approx(learning_rate, rel=1e-12)
            assert metrics["gradient_norm"] == pytest.approx(norm, rel=1e-9)


def test_micro_batches_are_the_same_on_any_devices():
    losses = []
    with jax.enable_x64(True):
        for device_count, fsdp in ((1, 1), (8, 1), (8, 8)):
            mesh = sharding.make_mesh(jax.devices()[:device_count], fsdp=fsdp)
            model = Small(norm=True, dropout=0.3, dtype=jnp.float64)
            step, state = make_step(model, 4, mesh)
            seen = []
            for _ in range(5):
                state, metrics = step(state, PIXELS, LABELS)
                seen.append(float(metrics["loss"]))
            losses.append(seen)
    np.testing.assert_allclose(losses[1:], [losses[0]] * 2, atol=1e-9, rtol=0)


def test_each_micro_batch_moves_the_running_statistics_once():
    step, state = make_step(Small(norm=True), 2, runtime.default_mesh())
    colours = np.asarray(normalise(PIXELS, TRANSFORM), np.float64)
    expected = np.zeros(3)
    for i in range(2):
        mean = colours[i::2].mean((0, 1, 2))
        expected = NORM_MOMENTUM * expected + (1 - NORM_MOMENTUM) * mean
    state, _ = step(state, PIXELS, LABELS)
    np.testing.assert_allclose(state.batch_stats["norm"]["mean"], expected, rtol=1e-4)


def test_each_micro_batch_has_a_dropout_key_of_its_own():
    def gradients(params, batch_stats, images, labels, key):
        drawn = batch_stats.at[labels[0]].set(jax.random.bits(key))
        return params, drawn, {"loss": jnp.zeros(())}

    key, numbers = jax.random.key(1), jnp.arange(3)
    start = jnp.zeros(3, jnp.uint32)
    _, drawn, _ = accumulated(gradients, jnp.ones(2), start, numbers, numbers[:, None], key)
    assert drawn.tolist() == [int(jax.random.bits(jax.random.fold_in(key, i))) for i in range(3)]
    assert len(set(drawn.tolist())) == 3


@functools.cache
def collectives(accumulate, fsdp):
    """(kind, dtypes and shapes of its results) of each exchange between 8 devices, in a step."""
    step, state = make_step(Small(norm=True, dropout=0.3), accumulate, runtime.default_mesh(fsdp))
    text = step.lower(state, PIXELS, LABELS).compile().as_text()
    kinds = "all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute"
    found = re.findall(rf"= (\S.*?) ({kinds})(?:-start)?\(", text)
    return [
        (kind, [tuple(map(int, filter(None, s.split(",")))) for s in re.findall(r"\[(.*?)\]", r)])
        for r, kind in found
    ]


def elements(shapes):
    return sum(map(math.prod, shapes))


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("fsdp", [1, 8])
def test_gradients_are_reduced_once_and_batches_never_gathered(accumulate, fsdp):
    """Counted: exchanges that the compiled program names, and the numbers in their results.

    The loop over micro-batches is in the program once, and so are the exchanges inside. On a CPU
    XLA leaves the gradients' there: it takes place once for each micro-batch.
    """
    found = collectives(accumulate, fsdp)
    _, state = make_step(Small(norm=True), 1, runtime.default_mesh())
    weights = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    reduced = sum(elements(shapes) for kind, shapes in found if kind == "all-reduce")
    channels = 3 + 96  # of the norms, see below; and the loss and the accuracy
    # The norm of the gradients adds a sum over the parts of the ones that are divided.
    assert reduced == weights + 3 * channels + 2 + (fsdp > 1)
    # One for the statistics of each norm, and two for the gradients, of which a norm's come first.
    assert sum(kind == "all-reduce" for kind, _ in found) == 2 + 2 + (fsdp > 1)
    assert [shapes for _, shapes in found if shapes in ([(3,)] * 3, [(96,)] * 3)] == [
        [(3,)] * 3,
        [(96,)] * 3,
    ]
    # The one kernel large enough to be divided is gathered, and nothing else.
    others = [exchange for exchange in found if exchange[0] != "all-reduce"]
    assert others == ([("all-gather", [(1, 1, 48, 96)])] if fsdp > 1 else [])


def test_a_step_moves_nothing_between_host_and_devices():
    mesh = runtime.default_mesh(2)
    step, state = make_step(Small(norm=True, dropout=0.3), 2, mesh)
    batch = jax.device_put((PIXELS, LABELS), sharding.batch_sharding(mesh))
    step = step.lower(state, *batch).compile()
    with jax.transfer_guard("disallow"):
        for _ in range(3):
            state, _ = step(state, *batch)
        batch = jax.device_put((PIXELS, LABELS), sharding.batch_sharding(mesh))
        state, metrics = step(state, *batch)
        assert jax.device_get(metrics["loss"]) > 0
        with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device"):
            step(state, PIXELS, LABELS)
