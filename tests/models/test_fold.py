"""The inference form of a network against the network itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from dkse_jax.models.attention import DKSE, GATES
from dkse_jax.models.dkse_net import DKSENet
from dkse_jax.models.fold import fold
from dkse_jax.ops.forms import Target

CPU = Target("cpu")
pytestmark = pytest.mark.usefixtures("optimised")


def _images(batch=3, size=33):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, size, size, 3)).astype(np.float32)


@pytest.mark.parametrize(
    "fields",
    [
        {"positions": (6, 9), "kernel_sizes": (3, 5), "ops": "fast"},
        {"branch_norm": "none", "kernel_sizes": (3, 3), "dilations": (1, 2)},
        {"norm_placement": "second_layer_only", "gate": "selective_softmax"},
        {"positions": (), "ops": "plain"},
    ],
)
def test_folded_logits_are_those_of_the_plain_network(fields, variables_of):
    net = DKSENet(5, width=8, **fields)
    variables = variables_of(net, _images())
    logits, _ = jax.jit(net.apply)(fold(net, variables, 64), _images())
    expected, _ = jax.jit(net.clone(ops="plain").apply)(variables, _images())
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)


def test_what_is_folded_is_not_computed_again(variables_of):
    net = DKSENet(5, width=8)
    variables = variables_of(net, _images())
    folded = fold(net, variables, 32)["precomputed"]
    read = {
        path: leaf
        for path, leaf in flatten_dict(variables["params"]).items()
        if path[0] == "logits" or "gate" in path
    }
    others = jax.tree.map(np.zeros_like, variables["params"])
    rest = {"params": unflatten_dict(flatten_dict(others) | read), "precomputed": folded}
    rest["batch_stats"] = jax.tree.map(np.zeros_like, variables["batch_stats"])
    logits, _ = jax.jit(net.apply)({**variables, "precomputed": folded}, _images())
    alone, _ = jax.jit(net.apply)(rest, _images())
    np.testing.assert_array_equal(logits, alone)


def test_training_does_not_look_at_folded_values(variables_of):
    net = DKSENet(5, width=8)
    variables = variables_of(net, _images())
    wrong = jax.tree.map(jnp.zeros_like, fold(net, variables, 32)["precomputed"])

    def loss(variables):
        (logits, _), _ = net.apply(variables, _images(), train=True, mutable=["batch_stats"])
        return logits

    a, b = jax.jit(loss)(variables), jax.jit(loss)({**variables, "precomputed": wrong})
    np.testing.assert_array_equal(a, b)


def test_wide_dense_kernels_are_transformed_and_the_network_stays_small(variables_of):
    block = DKSE((3, 5), target=CPU)
    x = np.random.default_rng(0).standard_normal((1, 9, 9, 64)).astype(np.float32)
    variables = variables_of(block, x)
    _, state = block.apply(variables, x, mutable=["precomputed"])
    kernels = {name: branch["conv"] for name, branch in state["precomputed"].items()}
    assert {name: list(kernel) for name, kernel in kernels.items()} == {
        "branch_1": ["winograd_kernel"],
        "branch_2": ["winograd_kernel"],
    }
    assert kernels["branch_1"]["winograd_kernel"].shape == (6, 6, 64, 64)
    assert kernels["branch_2"]["winograd_kernel"].shape == (8, 8, 64, 64)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("branch_norm", ["none", "bn_relu"])
def test_branches_merge_only_where_that_is_exact(gate, branch_norm, variables_of):
    x = np.random.default_rng(0).standard_normal((2, 7, 6, 8)).astype(np.float32)
    block = DKSE((1, 3, 3), (1, 1, 2), gate=gate, branch_norm=branch_norm)
    variables = variables_of(block, x)
    y, state = block.apply(variables, x, mutable=["precomputed"])
    merges = (gate, branch_norm) == ("shared_sigmoid", "none")
    assert ("kernel" in state["precomputed"]) == merges
    expected = DKSE((1, 3, 3), (1, 1, 2), gate=gate, branch_norm=branch_norm, ops="plain").apply(
        variables, x
    )
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("dilation", "merged"), [(2, True), (3, False)])
def test_branches_merge_up_to_5_by_5_pixels(dilation, merged):
    block = DKSE((3, 3), (1, dilation), branch_norm="none")
    x = jnp.ones((1, 9, 9, 8))
    variables = jax.eval_shape(block.init, jax.random.key(0), x)
    _, state = jax.eval_shape(lambda v: block.apply(v, x, mutable=["precomputed"]), variables)
    assert ("kernel" in state["precomputed"]) == merged


def test_folding_again_takes_the_new_weights(variables_of):
    net = DKSENet(5, width=4)
    variables = variables_of(net, _images(1))
    old = fold(net, jax.tree.map(np.zeros_like, variables), 32)
    new, expected = (fold(net, {**of, **variables}, 32) for of in (old, {}))
    assert jax.tree.all(jax.tree.map(np.array_equal, new, expected))
