"""The layers alone: their sums, what they see, how they start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from jax import lax

from dkse_jax.models.dkse_net import DKSENet
from dkse_jax.models.layers import Conv, ConvNorm
from dkse_jax.models.separable import DepthwiseConv, SeparableConv, is_pointwise_kernel

pytestmark = pytest.mark.usefixtures("optimised")


def _lax_conv(x, kernel, stride=1, groups=1):
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def test_separable_is_grouped_then_pointwise_then_norm_then_relu(variables_of):
    x = np.random.default_rng(0).standard_normal((2, 9, 8, 3)).astype(np.float32)
    layer = SeparableConv(features=5, stride=2)
    variables = variables_of(layer, x)
    params = variables["params"]
    expected = _lax_conv(x, params["depthwise"]["kernel"], stride=2, groups=3)
    expected = _lax_conv(expected, params["pointwise"]["kernel"])
    norm, statistics = params["norm"], variables["batch_stats"]["norm"]
    expected = (np.asarray(expected) - statistics["mean"]) / np.sqrt(statistics["var"] + 1e-5)
    expected = np.maximum(expected * norm["scale"] + norm["bias"], 0)
    y = np.asarray(jax.jit(layer.apply)(variables, x))
    assert y.shape == (2, 5, 4, 5)
    assert (y == 0).any()
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ops", ["plain", "auto"])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "pads"),
    [
        (3, 2, 1, ((1, 1), (1, 1))),
        (1, 2, "SAME", ((0, 0), (0, 0))),
        ((1, 7), 1, "SAME", ((0, 0), (3, 3))),
        (11, 4, 2, ((2, 2), (2, 2))),
        (3, 2, "VALID", ((0, 0), (0, 0))),
    ],
)
def test_convolution_pads_as_it_is_told_and_adds_its_bias(
    ops, kernel, stride, padding, pads, variables_of
):
    x = np.random.default_rng(0).standard_normal((2, 16, 13, 3)).astype(np.float32)
    layer = Conv(3, 4, kernel, stride=stride, padding=padding, use_bias=True, ops=ops)
    variables = variables_of(layer, x)
    params = variables["params"]
    expected = lax.conv_general_dilated(
        x,
        params["kernel"],
        (stride, stride),
        pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    expected = np.asarray(expected) + params["bias"].reshape(1, 1, 1, 4)
    np.testing.assert_allclose(layer.apply(variables, x), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("relu", [True, False])
def test_folded_norm_without_relu_is_the_norm(relu, variables_of):
    x = np.random.default_rng(0).standard_normal((2, 6, 5, 3)).astype(np.float32)
    layer = ConvNorm(4, 3, 2, padding=1, relu=relu, epsilon=0.1)
    variables = variables_of(layer, x)
    conv = Conv(3, 4, 3, stride=2, padding=1)
    y = np.asarray(conv.apply({"params": variables["params"]["conv"]}, x))
    norm, running = variables["params"]["norm"], variables["batch_stats"]["norm"]
    y = (y - running["mean"]) / np.sqrt(running["var"] + 0.1) * norm["scale"] + norm["bias"]
    expected = np.maximum(y, 0) if relu else y
    folded, state = layer.apply(variables, x, mutable=["precomputed"])
    again = layer.apply({**variables, **state}, x)
    np.testing.assert_allclose(folded, expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(again, folded)
    trained, moved = layer.apply(variables, x, train=True, mutable=["batch_stats"])
    assert (np.asarray(trained) < 0).any() != relu
    assert np.all(moved["batch_stats"]["norm"]["mean"] != running["mean"])


def test_two_3x3_convolutions_see_as_far_as_one_5x5(variables_of):
    """Section 3.1.4, on VGG: the same field of 5×5 pixels, for 18 instead of 25 weights."""
    x = np.zeros((1, 9, 9, 1), np.float32)

    def seen(sizes):
        layers = [Conv(1, 1, size) for size in sizes]
        variables = [variables_of(layer, x) for layer in layers]

        def middle(x):
            for layer, own in zip(layers, variables, strict=True):
                x = layer.apply(own, x)
            return x[0, 4, 4, 0]

        weights = sum(leaf.size for leaf in jax.tree.leaves(variables))
        return np.argwhere(jax.grad(middle)(x)[0, :, :, 0]).tolist(), weights

    five_by_five = [[i, j] for i in range(2, 7) for j in range(2, 7)]
    assert seen([3, 3]) == (five_by_five, 18)
    assert seen([5]) == (five_by_five, 25)


def test_evaluation_gives_what_training_gave_once_the_statistics_have_settled(variables_of):
    x = np.random.default_rng(0).standard_normal((4, 6, 5, 3)).astype(np.float32)
    layer = SeparableConv(features=5)
    variables = variables_of(layer, x)

    @jax.jit
    def train(variables):
        y, state = layer.apply(variables, x, train=True, mutable=["batch_stats"])
        return y, {**variables, **state}

    gaps = []
    for _ in range(120):
        y, variables = train(variables)
        gaps.append(np.abs(layer.apply(variables, x) - y).max() if len(gaps) in (0, 119) else 0)
    assert gaps[0] > 0.1
    assert gaps[-1] < 1e-4


def test_initial_kernels_keep_the_variance():
    x = jnp.zeros((1, 3, 3, 400))
    depthwise = DepthwiseConv(400).init(jax.random.key(0), x)["params"]["kernel"]
    pointwise = Conv(400, 400, 1).init(jax.random.key(0), x)["params"]["kernel"]
    np.testing.assert_allclose(jnp.var(depthwise) * 9, 1, rtol=0.1)
    np.testing.assert_allclose(jnp.var(pointwise) * 400, 2, rtol=0.1)


def test_is_pointwise_kernel_picks_the_separable_ones_and_no_1x1_branch():
    net = DKSENet(5, width=4, positions=(6, 9, 12), kernel_sizes=(1, 5))
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), "float32")
    params = jax.eval_shape(net.init, jax.random.key(0), image)["params"]
    by_key = [path for path, _ in jax.tree.leaves_with_path(params) if is_pointwise_kernel(path)]
    by_name = {path for path in flatten_dict(params) if is_pointwise_kernel(path)}
    assert by_name == {
        (f"separable_{i}", "pointwise", "kernel") for i in (3, 4, 5, 7, 8, 10, 11, 13, 14)
    }
    assert {tuple(key.key for key in path) for path in by_key} == by_name
