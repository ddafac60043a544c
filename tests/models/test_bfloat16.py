"""bfloat16 as XLA's default optimisation compiles it, against the same sums in float32."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dkse_jax import runtime
from dkse_jax.evaluation.gradcam import choose_stage, grad_cam
from dkse_jax.models import alexnet, create_model, list_models, pooling, vgg
from dkse_jax.models.attention import Gate
from dkse_jax.models.layers import BatchNorm, ConvReLU
from dkse_jax.ops.forms import Target
from dkse_jax.ops.max_pool import max_pool

pytestmark = pytest.mark.usefixtures("optimised")

REDUCTIONS = {
    "max_pool": partial(max_pool, size=2, stride=2),
    "padded_max_pool": partial(max_pool, size=3, stride=2, padding=1),
    "average_pool": partial(pooling.average_pool, size=3),
    "adaptive_average_pool": partial(pooling.adaptive_average_pool, side=3),
    "global_average_pool": pooling.global_average_pool,
    "global_average_pool of a known target": partial(
        pooling.global_average_pool, target=Target("cpu")
    ),
    "global_average_pool in the fast form": partial(pooling.global_average_pool, form="fast"),
    "gate": lambda x: Gate(dtype=x.dtype, name="gate")(x),
    "norm": lambda x: BatchNorm(x.shape[-1], ops="plain", dtype=x.dtype, name="norm")(x),
}


class Chain(nn.Module):
    """Two pointwise convolutions with their ReLUs, a reduction, and two more if it is a map."""

    reduction: str
    channels: int
    dtype: jnp.dtype = jnp.dtype(jnp.float32)

    @nn.compact
    def __call__(self, x):
        clamped = partial(ConvReLU, self.channels, 1, ops="plain", dtype=self.dtype)
        x = REDUCTIONS[self.reduction](clamped(name="two")(clamped(name="one")(x)))
        return clamped(name="four")(clamped(name="three")(x)) if x.ndim == 4 else x


def assert_close(narrow, wide, share):
    """The errors are below a share of the spread of the exact numbers."""
    for a, b in zip(*map(jax.tree.leaves, (narrow, wide)), strict=True):
        a, b = np.asarray(a, np.float32), np.asarray(b)
        np.testing.assert_allclose(a, b, rtol=0, atol=share * np.ptp(b))


def assert_narrow_is_wide(reduction, seed, variables_of):
    rng = np.random.default_rng(seed)
    batch, channels = int(rng.choice([1, 2, 8])), int(rng.choice([32, 64, 128, 256]))
    side = 2 * int(rng.integers(3, 6)) + seed % 2
    x = rng.standard_normal((batch, side, side, channels), np.float32)
    net = Chain(reduction, channels)
    variables = variables_of(net, x)
    narrow, wide = (
        jax.jit(partial(each.apply, mutable=["batch_stats"]))(variables, x)
        for each in (net.clone(dtype=jnp.dtype(jnp.bfloat16)), net)
    )
    assert_close(narrow, wide, 0.03)


@pytest.mark.parametrize("reduction", ["max_pool", "global_average_pool"])
def test_a_reduction_between_clamps_is_that_of_float32(reduction, variables_of):
    assert_narrow_is_wide(reduction, 0, variables_of)


@pytest.mark.full
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_reduction_of_maps_of_any_shape(reduction, seed, variables_of):
    assert_narrow_is_wide(reduction, seed, variables_of)


def whole(name, ops, monkeypatch, variables_of):
    """(the network in bfloat16, its plain form in float32, variables, images): thin, if it can."""
    monkeypatch.setattr(vgg, "CHANNELS", (16, 32, 64, 64, 64))
    monkeypatch.setattr(vgg, "HIDDEN", 256)
    monkeypatch.setattr(alexnet, "HIDDEN", 256)
    thin = {"width": 16} if "resnet" in name or name == "dkse_net" else {}
    side = {"inception_v4": 75, "dkse_net": 128}.get(name, 64)
    x = np.random.default_rng(1).standard_normal((2, side, side, 3), np.float32)
    wide = create_model(name, 5, ops="plain", **thin)

    def gentle(path, leaf):  # else the gates of many blocks make much of each rounding
        return leaf * 0.1 if "gate" in jax.tree_util.keystr(path) else leaf

    variables = jax.tree.map_with_path(gentle, variables_of(wide, x))
    return wide.clone(dtype=jnp.bfloat16, ops=ops), wide, variables, x


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "ops"),
    [(name, "plain") for name in list_models()]
    + [(name, "auto") for name in ("alexnet", "vgg16", "resnet18", "dkse_net")],
)
def test_a_network_is_that_of_float32(name, ops, monkeypatch, variables_of):
    narrow, wide, variables, x = whole(name, ops, monkeypatch, variables_of)

    def run(net):
        return jax.jit(lambda v, x: jax.nn.log_softmax(net.apply(v, x)[0]))(variables, x)

    assert_close(run(narrow), run(wide), 0.05)


def products(net):
    """The network for a CPU that multiplies bfloat16, and the options of its programs."""
    target = Target("cpu", bfloat16=True)
    options = target.compiler_options if runtime.multiplies_bfloat16() else {}
    return net.clone(target=target), options


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n == "dkse_net" else pytest.mark.full) for n in list_models()],
)
def test_a_network_by_products_of_bfloat16_is_that_of_float32(name, monkeypatch, variables_of):
    narrow, wide, variables, x = whole(name, "auto", monkeypatch, variables_of)
    narrow, options = products(narrow)

    def run(net, variables, x):
        return jax.nn.log_softmax(net.apply(variables, x)[0])

    found = jax.jit(partial(run, narrow), compiler_options=options)(variables, x)
    assert_close(found, jax.jit(partial(run, wide))(variables, x), 0.05)


@pytest.mark.full
@pytest.mark.parametrize("name", ["dkse_net", "resnet18", "vgg16", "alexnet"])
def test_gradients_by_products_are_as_exact_as_those_of_lax(name, monkeypatch, variables_of):
    """In evaluation mode: norms of two small images would make much of each rounding."""
    narrow, wide, variables, x = whole(name, "auto", monkeypatch, variables_of)
    ours, options = products(narrow)

    def loss(net, variables, x):
        logits, _ = net.apply(variables, x)
        labels = jnp.arange(len(x))
        return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels).sum()

    by_products, by_lax, exact = (
        jax.jit(jax.grad(partial(loss, net)), compiler_options=given)(variables, x)["params"]
        for net, given in ((ours, options), (narrow.clone(ops="plain"), {}), (wide, {}))
    )

    def angle(a, b):
        return 1 - jnp.vdot(a, b) / (jnp.linalg.norm(a.ravel()) * jnp.linalg.norm(b.ravel()))

    for (path, a), b, c in zip(
        jax.tree_util.tree_leaves_with_path(by_products),
        *map(jax.tree.leaves, (by_lax, exact)),
        strict=True,
    ):
        if a.size > 1000:  # the angle of a few numbers is chance
            assert angle(a, c) < 2 * angle(b, c) + 1e-3, jax.tree_util.keystr(path)


@pytest.mark.full
@pytest.mark.parametrize("name", ["vgg16", "resnet18", "dkse_net"])
def test_grad_cam_compiled_is_that_of_single_operations(name, monkeypatch, variables_of):
    """Not that of float32: a ReLU or a largest pixel that rounding moves changes a gradient."""
    net, _, variables, x = whole(name, "auto", monkeypatch, variables_of)
    stage = choose_stage(net, x.shape[1], None)
    cam = partial(grad_cam, net, classes=np.array([0, 3]), stage=stage)
    assert_close(jax.jit(cam)(variables, x), cam(variables, x), 0.02)
