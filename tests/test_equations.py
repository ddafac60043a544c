"""The paper's Eqs. 1 to 9 and 13 written out by hand, against what Flax, JAX and the network do.

Eqs. 10 to 12 are in tests/models/test_counts.py. The paper's indices are not consistent everywhere;
the docstrings have them corrected. Layers are numbered from 1, the input, to n, the output; W^(l)
and b^(l) lead from layer l to layer l + 1, and W^(l)_ji is the weight of a^(l)_i in z^(l+1)_j.
"""

# ruff: noqa: E741 -- l is the paper's index of a layer

from collections.abc import Callable
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from dkse_jax.models.attention import DKSE
from dkse_jax.models.dkse_net import DKSENet


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


# The activation functions that the paper names, each with f'.
ACTIVATIONS = {
    "sigmoid": (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: np.where(z > 0, 1.0, 0.0)),
}
SIZES = {1: 3, 2: 5, 3: 4, 4: 2}  # of the layers: S_l
N = 4


class DenseStack(nn.Module):
    """The same perceptron as Flax has it: layer_l holds W^(l), transposed, and b^(l)."""

    f: Callable

    @nn.compact
    def __call__(self, x):
        for l in range(1, N):
            x = self.f(nn.Dense(SIZES[l + 1], name=f"layer_{l}")(x))
        return x


def forward(x, W, b, f):
    """Eqs. 2 and 3: a^(1) = x, z^(l+1) = W^(l) a^(l) + b^(l), a^(l+1) = f(z^(l+1))."""
    z, a = {}, {1: x}
    for l in range(1, N):
        z[l + 1] = W[l] @ a[l] + b[l]
        a[l + 1] = f(z[l + 1])
    return z, a


def cost(y, h):
    """J(W, b; x, y) = ½ ‖y - h(x)‖², the cost in Eq. 4."""
    return ((y - h) ** 2).sum() / 2


def backward(y, z, a, W, df):
    """Eqs. 4, 5 and 6: δ^(l)_i = ∂J / ∂z^(l)_i for the layers from n down to 2."""
    delta = {N: -(y - a[N]) * df(z[N])}
    for l in range(N - 1, 1, -1):
        delta[l] = np.zeros(SIZES[l])
        for i in range(SIZES[l]):
            back = sum(W[l][j, i] * delta[l + 1][j] for j in range(SIZES[l + 1]))
            delta[l][i] = back * df(z[l][i])
    return delta


@pytest.fixture(params=ACTIVATIONS, scope="module")
def mlp(request):
    """A perceptron with random weights, an example (x, y), and both passes over it by hand."""
    f, df = ACTIVATIONS[request.param]
    rng = np.random.default_rng(52)  # with many other seeds a whole layer of ReLUs is off
    W = {l: rng.normal(size=(SIZES[l + 1], SIZES[l])) for l in range(1, N)}
    b = {l: rng.normal(size=SIZES[l + 1]) for l in range(1, N)}
    x, y = rng.normal(size=SIZES[1]), rng.normal(size=SIZES[N])
    z, a = forward(x, W, b, f)
    flax = {"sigmoid": nn.sigmoid, "tanh": nn.tanh, "relu": nn.relu}[request.param]
    params = {f"layer_{l}": {"kernel": W[l].T, "bias": b[l]} for l in range(1, N)}
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
    delta = backward(y, z, a, W, df)
    return SimpleNamespace(
        f=f, df=df, W=W, b=b, x=x, y=y, z=z, a=a, delta=delta, flax=flax, params=params
    )


def test_eq_1_a_neuron(mlp):
    """Eq. 1: h(x) = f(Wᵀx) = f(Σ_i W_i x_i + b), i = 1, 2, 3; in Wᵀx, b is the weight of a +1."""
    weights, b = mlp.W[1][0], mlp.b[1][0]
    h = mlp.f(sum(weights[i] * mlp.x[i] for i in range(3)) + b)
    assert mlp.f(np.append(weights, b) @ np.append(mlp.x, 1)) == pytest.approx(h, rel=1e-12)
    params = {"kernel": jnp.asarray(weights[:, None]), "bias": jnp.asarray(b[None])}
    neuron = mlp.flax(nn.Dense(1).apply({"params": params}, mlp.x))
    np.testing.assert_allclose(neuron, [h], rtol=0, atol=1e-6)


def test_eqs_2_and_3_the_forward_pass(mlp):
    """Eqs. 2, 3: a^(1) = x, z^(l+1) = W^(l) a^(l) + b^(l), a^(l+1) = f(z^(l+1)), h(x) = a^(n).

    Printed is W^(l+1) here, but W^(l) in Eqs. 5 to 7.
    """
    h = DenseStack(mlp.flax).apply({"params": mlp.params}, mlp.x)
    assert np.ptp(mlp.a[N]) > 0.1
    np.testing.assert_allclose(h, mlp.a[N], rtol=0, atol=1e-6)


def _cost_from(mlp, layer, z):
    """J as a function of the z of a layer."""
    a = mlp.flax(z)
    for l in range(layer, N):
        a = mlp.flax(mlp.params[f"layer_{l}"]["kernel"].T @ a + mlp.params[f"layer_{l}"]["bias"])
    return cost(jnp.asarray(mlp.y), a)


def test_eq_4_the_residual_of_the_output(mlp):
    """Eq. 4: δ^(n)_i = ∂/∂z^(n)_i ½ ‖y - h(x)‖² = -(y_i - a^(n)_i) f'(z^(n)_i)."""
    expected = jax.grad(lambda z: _cost_from(mlp, N, z))(jnp.asarray(mlp.z[N]))
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(mlp.delta[N], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("layer", [3, 2])
def test_eqs_5_and_6_the_residuals_of_the_hidden_layers(mlp, layer):
    """Eqs. 5, 6: δ^(l)_i = (Σ_j W^(l)_ji δ^(l+1)_j) f'(z^(l)_i); printed are W_jk and δ^(l-1)."""
    expected = jax.grad(lambda z: _cost_from(mlp, layer, z))(jnp.asarray(mlp.z[layer]))
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(mlp.delta[layer], expected, rtol=0, atol=1e-5)


def test_eq_7_the_gradients_are_those_of_jax(mlp):
    """Eq. 7: ∂J/∂W^(l)_ij = a^(l)_j δ^(l+1)_i, ∂J/∂b^(l)_i = δ^(l+1)_i; printed is δ^(l-1)."""

    def J(params):
        return cost(jnp.asarray(mlp.y), DenseStack(mlp.flax).apply({"params": params}, mlp.x))

    gradients = jax.grad(J)(mlp.params)
    for l in range(1, N):
        to_W, to_b = np.outer(mlp.delta[l + 1], mlp.a[l]), mlp.delta[l + 1]
        layer = gradients[f"layer_{l}"]
        np.testing.assert_allclose(to_W, layer["kernel"].T, rtol=0, atol=1e-5)
        np.testing.assert_allclose(to_b, layer["bias"], rtol=0, atol=1e-5)


def test_eq_7_the_gradients_are_finite_differences(mlp):
    """Eq. 7, against (J(W + h) - J(W - h)) / 2h for every single weight and intercept."""
    assert min(np.abs(z).min() for z in mlp.z.values()) > 1e-3  # no ReLU is at its corner
    h = 1e-6

    def difference(array, index):
        value, costs = array[index], []
        for step in (h, -h):
            array[index] = value + step
            costs.append(cost(mlp.y, forward(mlp.x, mlp.W, mlp.b, mlp.f)[1][N]))
        array[index] = value
        return (costs[0] - costs[1]) / (2 * h)

    for l in range(1, N):
        for i in range(SIZES[l + 1]):
            assert difference(mlp.b[l], i) == pytest.approx(mlp.delta[l + 1][i], abs=1e-8)
            for j in range(SIZES[l]):
                expected = mlp.a[l][j] * mlp.delta[l + 1][i]
                assert difference(mlp.W[l], (i, j)) == pytest.approx(expected, abs=1e-8)


@pytest.fixture(scope="module")
def network(variables_of):
    """A thin network's fields, variables and stages, on two images that are not square."""
    net = DKSENet(5, width=4, positions=(6,), kernel_sizes=(1, 5), reduction=4)
    images = np.random.default_rng(0).standard_normal((2, 130, 96, 3)).astype(np.float32)
    variables = variables_of(net, images)
    _, stages = jax.jit(net.apply)(variables, images)
    return net, variables, {name: np.asarray(stage) for name, stage in stages.items()}


def test_eq_8_global_average_pooling(network):
    """Eq. 8: S_c = 1/(H·W) Σ_i Σ_j U_c(i, j), so that H×W×D becomes 1×1×D; printed is U_z."""
    _, _, stages = network
    U = stages["separable_14"]
    B, H, W, D = U.shape
    assert (B, H, W, D) == (2, 3, 2, 128)
    S = np.zeros((B, D))
    for i in range(H):
        for j in range(W):
            S += U[:, i, j] / (H * W)
    assert stages["pool_15"].shape == (B, D)
    assert np.ptp(S) > 0.1
    np.testing.assert_allclose(stages["pool_15"], S, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel_sizes", [(5,), (1, 5), (1, 3, 5)])
def test_eq_9_the_block(kernel_sizes, variables_of):
    """Eq. 9: V = Σ_i U_i · F_ex(F_sq(F_jp(U))), i = 1 ... n, one F_ex for all branches.

    The paper defines none of the three: F_jp is the sum of the branches, F_sq is Eq. 8, and F_ex
    is that of squeeze-and-excitation, σ(W_2 ReLU(W_1 s)). How a branch makes its U_i from the
    input, and the other gates, are in tests/models/test_attention.py.
    """
    x = np.random.default_rng(0).standard_normal((2, 7, 6, 8)).astype(np.float32)
    block = DKSE(kernel_sizes, reduction=2)
    variables = variables_of(block, x)
    V, state = block.apply(variables, x, capture_intermediates=True)
    branches = range(1, len(kernel_sizes) + 1)
    U = {i: np.asarray(state["intermediates"][f"branch_{i}"]["__call__"][0]) for i in branches}
    gate = variables["params"]["gate"]

    def F_jp(U):
        return sum(U.values())

    def F_sq(u):
        return u.mean(axis=(1, 2))

    def F_ex(s):
        hidden = np.maximum(s @ gate["reduce"]["kernel"], 0)
        return sigmoid(hidden @ gate["expand"]["kernel"])

    weights = F_ex(F_sq(F_jp(U)))[:, None, None, :]
    assert V.shape == x.shape
    assert weights.std() > 0.01
    np.testing.assert_allclose(V, sum(U[i] * weights for i in branches), rtol=1e-5, atol=1e-5)


def test_eq_13_the_block_behind_a_separable_convolution(network):
    """Eq. 13: Y(X) = (Y_1 * Y_2 * Y_3)(X) = Y_3(Y_2(Y_1(X))), where "*" is "and then".

    The paper does not say what the three are: Y_1 is the depthwise convolution, Y_2 the pointwise
    one (here with its norm and ReLU), Y_3 the DKSE block.
    """
    net, variables, stages = network
    params, statistics = variables["params"], variables["batch_stats"]

    def Y_1(x):
        kernel = params["separable_5"]["depthwise"]["kernel"][:, :, 0]  # (3, 3, C)
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        H, W = x.shape[1:3]
        taps = [(u, v) for u in range(3) for v in range(3)]
        return sum(padded[:, u : u + H, v : v + W] * kernel[u, v] for u, v in taps)

    def Y_2(x):
        layer, norm = params["separable_5"], statistics["separable_5"]["norm"]
        y = x @ layer["pointwise"]["kernel"][0, 0]
        y = (y - norm["mean"]) / np.sqrt(norm["var"] + 1e-5)
        return np.maximum(y * layer["norm"]["scale"] + layer["norm"]["bias"], 0)

    def Y_3(x):
        block = DKSE(net.kernel_sizes, net.dilations, net.reduction)
        own = {"params": params["dkse_6"], "batch_stats": statistics["dkse_6"]}
        return jax.jit(block.apply)(own, x)

    X = stages["separable_4"]
    assert X.shape == (2, 22, 16, 16)
    np.testing.assert_allclose(Y_2(Y_1(X)), stages["separable_5"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(Y_3(Y_2(Y_1(X))), stages["dkse_6"], rtol=1e-4, atol=1e-5)
