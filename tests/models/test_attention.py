"""The DKSE block against its formula (Eq. 9) and against the blocks it is made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dkse_jax.errors import UserError
from dkse_jax.models.attention import DKSE, GATES, SE, SK, Gate


def _x(channels=8):
    return np.random.default_rng(0).standard_normal((2, 7, 6, channels))


def _branch(x, params, statistics, dilation):
    y = lax.conv_general_dilated(
        x,
        params["conv"]["kernel"],
        (1, 1),
        "SAME",
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    y = (y - statistics["norm"]["mean"]) / jnp.sqrt(statistics["norm"]["var"] + 1e-5)
    return jnp.maximum(y * params["norm"]["scale"] + params["norm"]["bias"], 0)


def _formula(gate, x, variables):
    """Σ_i U_i · F_ex(F_sq(Σ_j U_j)) for three branches, the last one dilated."""
    params, statistics = variables["params"], variables["batch_stats"]
    maps = [
        _branch(x, params[name], statistics[name], dilation)
        for name, dilation in (("branch_1", 1), ("branch_2", 1), ("branch_3", 2))
    ]
    z = jnp.mean(maps[0] + maps[1] + maps[2], axis=(1, 2))
    z = jnp.maximum(z @ params["gate"]["reduce"]["kernel"], 0)
    z = z @ params["gate"]["expand"]["kernel"]
    if gate == "shared_sigmoid":
        gates = [1 / (1 + jnp.exp(-z))] * 3
    elif gate == "branch_sigmoid":
        gates = jnp.split(1 / (1 + jnp.exp(-z)), 3, axis=1)
    else:
        exponentials = jnp.split(jnp.exp(z), 3, axis=1)
        gates = [e / sum(exponentials) for e in exponentials]
    return sum(u * g[:, None, None, :] for u, g in zip(maps, gates, strict=True))


@pytest.mark.parametrize("gate", GATES)
def test_block_is_its_formula(gate, variables_of):
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        x = _x()
        block = DKSE((3, 1, 3), (1, 1, 2), reduction=2, gate=gate, dtype=jnp.float64)
        variables = variables_of(block, x)
        y, expected = jax.jit(lambda v: (block.apply(v, x), _formula(gate, x, v)))(variables)
    assert y.shape == x.shape
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, expected, rtol=0, atol=2e-6)  # the norm's statistics are float32


def test_shared_gate_is_se_of_the_sum_of_the_branches(variables_of):
    block, se = DKSE((1, 3), dtype=jnp.float64), SE(dtype=jnp.float64)

    def both(variables):
        y, state = block.apply(variables, _x(), capture_intermediates=True)
        outputs = state["intermediates"]
        fused = outputs["branch_1"]["__call__"][0] + outputs["branch_2"]["__call__"][0]
        return y, se.apply({"params": {"gate": variables["params"]["gate"]}}, fused)

    with jax.enable_x64(True):
        y, expected = jax.jit(both)(variables_of(block, _x()))
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)


def test_linear_3x3_and_5x5_branches_are_one_5x5_branch(variables_of):
    pair = DKSE((3, 5), branch_norm="none", dtype=jnp.float64)
    single = DKSE((5,), branch_norm="none", dtype=jnp.float64)

    def both(params):
        merged = (
            jnp.pad(params["branch_1"]["conv"]["kernel"], ((1, 1), (1, 1), (0, 0), (0, 0)))
            + params["branch_2"]["conv"]["kernel"]
        )
        one = {"branch_1": {"conv": {"kernel": merged}}, "gate": params["gate"]}
        return pair.apply({"params": params}, _x()), single.apply({"params": one}, _x())

    with jax.enable_x64(True):
        y, expected = jax.jit(both)(variables_of(pair, _x())["params"])
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", GATES)
def test_gate_weights(kind, variables_of):
    x = 5 * jnp.asarray(_x(), jnp.float32)
    gate = Gate(kind, branches=3, reduction=2)
    variables = variables_of(gate, x)
    weights = jnp.asarray(jax.jit(gate.apply)(variables, x))
    shared = kind == "shared_sigmoid"
    assert weights.shape == (2, 1 if shared else 3, 1, 1, 8)
    assert variables["params"]["reduce"]["kernel"].shape == (8, 4)
    assert variables["params"]["expand"]["kernel"].shape == (4, 8 if shared else 24)
    assert jnp.all((weights > 0) & (weights < 1))
    assert jnp.std(weights) > 0.01
    sums = weights.sum(axis=1)
    is_one = np.allclose(sums, 1, rtol=0, atol=1e-6)
    assert is_one == (kind == "selective_softmax")


@pytest.mark.parametrize("gate", GATES)
def test_every_parameter_of_the_block_gets_a_gradient(gate, variables_of):
    x = jnp.asarray(_x(), jnp.float32)
    block = DKSE((1, 3), gate=gate, reduction=1)
    variables = variables_of(block, x)

    def loss(params):
        y, _ = block.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
        return jnp.sum(y**2 * jnp.cos(jnp.arange(y.size)).reshape(y.shape))

    for path, gradient in jax.tree.leaves_with_path(jax.jit(jax.grad(loss))(variables["params"])):
        assert jnp.any(gradient != 0), path


def _selected(x, variables):
    """Eqs. 1-6 of Li et al. 2019 for kernels of 3×3 and 3×3 with a dilation of 2."""
    params, statistics = variables["params"], variables["batch_stats"]
    maps = [
        _branch(x, params[name], statistics[name], dilation)
        for name, dilation in (("branch_1", 1), ("branch_2", 2))
    ]
    s = jnp.mean(maps[0] + maps[1], axis=(1, 2))
    norm, running = params["reduce"]["norm"], statistics["reduce"]["norm"]
    z = s @ params["reduce"]["conv"]["kernel"][0, 0]
    z = (z - running["mean"]) / jnp.sqrt(running["var"] + 1e-5) * norm["scale"] + norm["bias"]
    a, b = jnp.split(jnp.maximum(z, 0) @ params["expand"]["kernel"], 2, axis=1)
    weight = jnp.exp(a) / (jnp.exp(a) + jnp.exp(b))
    return maps[0] * weight[:, None, None, :] + maps[1] * (1 - weight)[:, None, None, :]


def test_sk_is_its_paper_s_equations(variables_of):
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        x = _x()
        block = SK(dtype=jnp.float64)
        variables = variables_of(block, x)
        y, expected = jax.jit(lambda v: (block.apply(v, x), _selected(x, v)))(variables)
    assert variables["params"]["expand"]["kernel"].shape == (32, 2 * 8)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("channels", "hidden"), [(128, 32), (512, 32), (1024, 64)])
def test_the_hidden_layer_of_sk_is_a_sixteenth_and_at_least_32(channels, hidden):
    x = jnp.ones((1, 2, 2, channels))
    params = jax.eval_shape(SK().init, jax.random.key(0), x)["params"]
    assert params["reduce"]["conv"]["kernel"].shape == (1, 1, channels, hidden)
    assert params["expand"]["kernel"].shape == (hidden, 2 * channels)


def test_every_parameter_of_sk_gets_a_gradient_and_its_statistics_move(variables_of):
    x = jnp.asarray(_x(), jnp.float32)
    block = SK()
    variables = variables_of(block, x)

    def loss(params):
        y, state = block.apply(
            {**variables, "params": params}, x, train=True, mutable=["batch_stats"]
        )
        return jnp.sum(y**2 * jnp.cos(jnp.arange(y.size)).reshape(y.shape)), state["batch_stats"]

    gradients, statistics = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    for path, gradient in jax.tree.leaves_with_path(gradients):
        assert jnp.any(gradient != 0), path
    pairs = jax.tree.map(lambda a, b: bool(np.all(a != b)), variables["batch_stats"], statistics)
    assert all(jax.tree.leaves(pairs))
    assert len(jax.tree.leaves(pairs)) == 6


def test_se_weighs_each_channel_of_x_with_biases_if_asked(variables_of):
    x = _x().astype(np.float32)
    plain, biased = SE(2), SE(2, use_bias=True)
    assert "bias" not in variables_of(plain, x)["params"]["gate"]["reduce"]
    variables = variables_of(biased, x)
    reduce, expand = variables["params"]["gate"]["reduce"], variables["params"]["gate"]["expand"]
    z = np.maximum(x.mean((1, 2)) @ reduce["kernel"] + reduce["bias"], 0)
    gate = 1 / (1 + np.exp(-(z @ expand["kernel"] + expand["bias"])))
    y = jax.jit(biased.apply)(variables, x)
    np.testing.assert_allclose(y, x * gate[:, None, None, :], rtol=0, atol=1e-5)


def test_the_hidden_layer_of_a_narrow_gate_keeps_one_unit(variables_of):
    params = variables_of(Gate(reduction=16), jnp.ones((1, 2, 2, 8)))["params"]
    assert params["reduce"]["kernel"].shape == (8, 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kernel_sizes": ()}, "kernel_sizes is .*one positive size"),
        ({"kernel_sizes": (0, 3)}, "kernel_sizes is .*one positive size"),
        ({"dilations": (1, 1, 1)}, "dilations is .*one positive dilation for each"),
        ({"dilations": (1, 0)}, "dilations is .*one positive dilation for each"),
        ({"reduction": 0}, "reduction is 0"),
        ({"gate": "shared"}, 'did you mean "shared_sigmoid"'),
        ({"branch_norm": "bn"}, "choose one of bn_relu, none"),
    ],
)
def test_fields_that_do_not_fit_are_user_errors(fields, message):
    with pytest.raises(UserError, match=message):
        DKSE(**fields)


def test_branches_of_sk_that_do_not_fit_are_user_errors():
    with pytest.raises(UserError, match="one positive dilation for each"):
        SK((3, 3, 3))
