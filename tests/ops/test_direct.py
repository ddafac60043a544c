"""Convolution by products of bfloat16: its gradients in float64, and the programs of oneDNN."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dkse_jax import runtime
from dkse_jax.models import create_model
from dkse_jax.ops import direct
from dkse_jax.ops.conv import conv
from dkse_jax.ops.forms import Target
from dkse_jax.ops.plain import lax_conv
from dkse_jax.ops.pointwise import pointwise_conv

PRODUCTS = Target("cpu", bfloat16=True)
OPTIONS = PRODUCTS.compiler_options if runtime.multiplies_bfloat16() else {}
# Channels last in pixels and result, and the kernel as it is: what oneDNN is given.
FORWARD = "[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"

CASES = [  # size, kernel, stride, dilation, padding
    ((9, 8), (3, 3), 1, 1, ((1, 1), (1, 1))),
    ((9, 8), (5, 5), 1, 1, ((2, 2), (2, 2))),
    ((9, 8), (3, 3), 2, 1, ((1, 1), (1, 1))),
    ((8, 8), (3, 3), 2, 1, ((0, 1), (0, 1))),
    ((10, 11), (7, 7), 2, 1, ((3, 3), (3, 3))),
    ((12, 13), (7, 7), 3, 1, ((2, 2), (2, 2))),
    ((9, 9), (3, 3), 2, 1, ((0, 0), (0, 0))),
    ((23, 25), (11, 11), 4, 1, ((2, 2), (2, 2))),
    ((9, 8), (1, 7), 1, 1, ((0, 0), (3, 3))),
    ((9, 8), (3, 3), 1, 2, ((2, 2), (2, 2))),
    ((9, 8), (3, 2), 1, 3, ((0, 3), (4, 1))),
    ((7, 7), (2, 2), 3, 1, ((0, 0), (0, 0))),
    ((5, 6), (1, 1), 2, 1, ((1, 1), (0, 0))),
]


def test_gradients_are_lax_s_in_float64(noise):
    def both(x, kernel, options):
        y, vjp = jax.vjp(partial(lax_conv, **options), x, kernel)
        grad = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
        return direct.gradients(x, kernel, grad, **options), vjp(grad)

    def of_all():
        return [
            both(
                noise(2, *size, 3),
                noise(*taps, 3, 2),
                {"stride": stride, "dilation": dilation, "padding": padding},
            )
            for size, taps, stride, dilation, padding in CASES
        ]

    with jax.enable_x64(True):
        found = jax.jit(of_all)()
    for of_case in found:
        for ours, lax_s in zip(*of_case, strict=True):
            assert ours.dtype == np.float64
            np.testing.assert_allclose(ours, lax_s, rtol=0, atol=1e-12)


def relative_errors(op, exact, operands):
    """The errors of an op of bfloat16 and its gradients, beside float32's largest numbers."""

    def everything(op, *operands):
        y, vjp = jax.vjp(op, *operands)
        return y, *vjp(jnp.cos(jnp.arange(y.size)).reshape(y.shape).astype(y.dtype))

    narrow = [jnp.asarray(operand, jnp.bfloat16) for operand in operands]
    wide = [operand.astype(jnp.float32) for operand in narrow]
    found = jax.jit(partial(everything, op), compiler_options=OPTIONS)(*narrow)
    expected = jax.jit(partial(everything, exact))(*wide)
    return [
        np.abs(np.asarray(a, np.float32) - b).max() / np.abs(b).max()
        for a, b in zip(found, expected, strict=True)
    ]


@pytest.mark.parametrize(
    ("shape", "kernel", "options"),
    [
        ((8, 24, 24, 16), (3, 3, 16, 16), {}),  # whose own gradient oneDNN sums wrongly
        ((2, 10, 10, 12), (8, 8, 12, 16), {}),  # and so these
        ((2, 9, 20, 4), (3, 16, 4, 8), {}),
        ((3, 20, 21, 3), (7, 7, 3, 32), {"stride": 3, "padding": ((2, 2), (2, 2))}),
        ((3, 9, 9, 64), (3, 3, 64, 32), {"stride": 2}),
        ((2, 9, 9, 16), (3, 3, 16, 16), {"dilation": 2}),
        ((2, 11, 9, 16), (3, 3, 16, 8), {"stride": 2, "dilation": 2}),
        ((2, 8, 8, 64), (1, 1, 64, 32), {"stride": 2}),
    ],
)
def test_convolutions_and_gradients_are_those_of_float32(shape, kernel, options, noise):
    operands = noise(*shape), noise(*kernel)
    op = partial(conv, target=PRODUCTS, **options)
    assert max(relative_errors(op, partial(conv, form="plain", **options), operands)) < 0.01


@pytest.mark.full
@pytest.mark.parametrize("seed", range(40))
def test_convolutions_of_any_shape_are_those_of_float32(seed, noise):
    rng = np.random.default_rng(seed)
    channels, features = (int(rng.choice([1, 2, 3, 4, 8, 12, 16, 24, 32, 64])) for _ in range(2))
    taps = tuple(int(n) for n in rng.integers(1, 9, 2))
    stride, dilation = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    least = [(k - 1) * dilation + 1 for k in taps]
    size = [int(n + rng.integers(0, 30)) for n in least]
    options = {
        "stride": stride,
        "dilation": dilation,
        "padding": str(rng.choice(["SAME", "VALID"])),
    }
    operands = noise(int(rng.integers(1, 9)), *size, channels), noise(*taps, channels, features)
    op = partial(conv, target=PRODUCTS, **options)
    assert max(relative_errors(op, partial(conv, form="plain", **options), operands)) < 0.012


def test_pointwise_products_are_those_of_float32(noise):
    operands = noise(3, 9, 8, 24), noise(1, 1, 24, 40)
    op = partial(pointwise_conv, target=PRODUCTS)
    assert max(relative_errors(op, partial(pointwise_conv, form="plain"), operands)) < 0.01


def test_devices_share_a_convolution_and_exchange_its_gradient_once(noise):
    mesh = Mesh(jax.devices(), "data")
    split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))
    target = Target("cpu", 8, True)

    def gradients(x, kernel):
        y, vjp = jax.vjp(partial(conv, target=target, stride=2), x, kernel)
        return vjp(y)

    x, kernel = (jnp.asarray(a, jnp.bfloat16) for a in (noise(8, 9, 9, 16), noise(3, 3, 16, 16)))
    program = jax.jit(
        gradients,
        in_shardings=(split, whole),
        out_shardings=(split, whole),
        compiler_options=OPTIONS,
    )
    assert program.lower(x, kernel).compile().as_text().count(" all-reduce(") == 1
    alone = jax.jit(gradients, compiler_options=OPTIONS)(x, kernel)
    for ours, single in zip(program(x, kernel), alone, strict=True):
        ours, single = (np.asarray(a, np.float32) for a in (ours, single))
        np.testing.assert_allclose(ours, single, rtol=0, atol=0.01 * np.abs(single).max())


THIN = [("dkse_net", {"width": 16, "kernel_sizes": (3, 5)}), ("resnet18", {"width": 16})]
OTHERS = [("resnet50", {"width": 16}), ("inception_v4", {}), ("vgg16", {}), ("alexnet", {})]


@pytest.mark.parametrize(
    ("name", "fields"), [*THIN, *(pytest.param(*n, marks=pytest.mark.full) for n in OTHERS)]
)
@pytest.mark.parametrize("train", [True, False])
def test_every_convolution_of_a_network_goes_forward(name, fields, train):
    net = create_model(name, 5, dtype="bfloat16", target=PRODUCTS, **fields)
    images = jax.ShapeDtypeStruct((2, 96, 96, 3), jnp.float32)
    variables = jax.eval_shape(net.init, jax.random.key(0), images)

    def loss(variables, images):
        rngs = {"dropout": jax.random.key(0)}
        options = {"train": True, "mutable": ["batch_stats"], "rngs": rngs} if train else {}
        found = net.apply(variables, images, **options)
        return jnp.sum(found[0][0] if train else found[0])

    text = jax.jit(jax.grad(loss)).lower(variables, images).as_text()
    found = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    assert len(found) > 3
    for line in found:
        assert f"dim_numbers = {FORWARD}, " in line
        assert "lhs_dilate = [1, 1]" in line
        assert "{batch_group_count = 1 : i64, feature_group_count = 1 : i64" in line
