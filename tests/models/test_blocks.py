"""The blocks of ResNet and Inception-v4, thin: forms, gradients, what they compute."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dkse_jax.models.inception_v4 import Fork, Mixed, Step
from dkse_jax.models.resnet import Block, ResNet
from tests.conftest import default_optimisation

BLOCKS = {
    "basic": Block(4),
    "basic, strided": Block(6, stride=2),
    "bottleneck": Block(2, stride=2, bottleneck=True),
    "bottleneck, se": Block(1, bottleneck=True, se=True),
    "mixed": Mixed(
        (
            (Step(2),),
            (Step(3), Step(2, (1, 7)), Step(2, (7, 1))),
            (Step(3), Fork(Step(2, (1, 3)), Step(2, (3, 1)))),
            ("average_pool", Step(2)),
        )
    ),
    "mixed, reduction": Mixed((("max_pool",), (Step(3, (3, 3), 2, "VALID"),))),
}


def _x():
    return np.random.default_rng(0).standard_normal((2, 7, 6, 4))


@pytest.mark.parametrize("name", BLOCKS)
def test_fast_block_equals_plain_block_in_float64_and_every_parameter_counts(name, variables_of):
    def gradients(variables, ops):
        block = BLOCKS[name].clone(ops=ops, dtype=jnp.float64)

        def loss(params):
            y, state = block.apply(
                {**variables, "params": params}, _x(), train=True, mutable=["batch_stats"]
            )
            return jnp.sum(y**2 * jnp.cos(jnp.arange(y.size)).reshape(y.shape)), (y, state)

        return jax.value_and_grad(loss, has_aux=True)(variables["params"])

    with jax.enable_x64(True):
        variables = variables_of(BLOCKS[name].clone(dtype=jnp.float64), _x())
        plain, fast = jax.jit(lambda v: [gradients(v, "plain"), gradients(v, "fast")])(variables)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9), fast, plain)
    for path, gradient in jax.tree.leaves_with_path(plain[1]):
        assert np.any(np.abs(gradient) > 1e-6), path


@pytest.mark.parametrize("name", BLOCKS)
def test_prepared_block_equals_plain_block_in_evaluation(name, variables_of):
    x = _x().astype(np.float32)
    block = BLOCKS[name]

    def evaluate(variables):
        _, prepared = block.apply(variables, x, mutable=["precomputed"])
        plain = block.clone(ops="plain").apply(variables, x)
        return plain, block.apply({**variables, **prepared}, x), prepared

    variables = variables_of(block, x)
    with default_optimisation():
        plain, folded, prepared = jax.jit(evaluate)(variables)
    assert jax.tree.leaves(prepared)
    np.testing.assert_allclose(folded, plain, rtol=0, atol=1e-5 * np.abs(plain).max())


@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_whose_branch_is_nothing_is_its_shortcut(stride, variables_of):
    x = _x().astype(np.float32)
    block = Block(1, stride, bottleneck=True)
    variables = variables_of(block, x)
    last = variables["params"]["conv3"]["norm"]
    variables["params"]["conv3"]["norm"] = jax.tree.map(np.zeros_like, last)
    variables["batch_stats"]["conv3"]["norm"]["mean"][:] = 0
    y = block.apply(variables, x)
    if stride == 1:
        np.testing.assert_array_equal(y, np.maximum(x, 0))
        return
    shortcut, norm = variables["params"]["downsample"], variables["params"]["downsample"]["norm"]
    running = variables["batch_stats"]["downsample"]["norm"]
    expected = x[:, ::2, ::2] @ shortcut["conv"]["kernel"][0, 0]
    expected = (expected - running["mean"]) / np.sqrt(running["var"] + 1e-5)
    expected = np.maximum(expected * norm["scale"] + norm["bias"], 0)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)


def test_training_a_thin_resnet_reaches_every_parameter_and_statistic(variables_of):
    net = ResNet(3, depth=18, width=2)
    images = np.random.default_rng(0).standard_normal((2, 64, 64, 3)).astype(np.float32)
    variables = variables_of(net, images)

    def loss(params):
        (logits, _), state = net.apply(
            {**variables, "params": params}, images, train=True, mutable=["batch_stats"]
        )
        return -jnp.mean(jax.nn.log_softmax(logits)[:, 0]), state["batch_stats"]

    gradients, statistics = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    for path, gradient in jax.tree.leaves_with_path(gradients):
        assert np.all(np.isfinite(gradient)), path
        assert np.any(np.asarray(gradient) != 0), path
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), variables["batch_stats"], statistics)
    assert all(jax.tree.leaves(moved))
