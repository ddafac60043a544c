"""Dense convolution: Winograd's algorithm against lax, in float64, and where it is used."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dkse_jax.errors import UserError
from dkse_jax.ops import winograd
from dkse_jax.ops.conv import add_kernels, conv, takes_winograd
from dkse_jax.ops.forms import Target

CPU, EIGHT = Target("cpu"), Target("cpu", 8)


@pytest.mark.parametrize("k", [3, 5])
def test_winograd_equals_lax_in_float64(k, noise, assert_forms_equal):
    sizes = [(1, 1), (3, 4), (4, 4), (5, 7), (8, 9), (12, 6), (13, 13)]
    cases = [(noise(2, *size, 3), noise(k, k, 3, 2)) for size in sizes]
    assert_forms_equal(conv, cases)


def test_winograd_in_steps_equals_lax_in_float64(noise, assert_forms_equal):
    x = noise(16, 45, 46, 2)
    assert winograd._chunks(jnp.asarray(x), 8).shape == (8, 2, 45, 46, 2)  # two, on 8 devices
    assert_forms_equal(partial(conv, target=EIGHT), [(x, noise(3, 3, 2, 1))])


def test_devices_exchange_a_kernels_gradient_once_not_in_every_step():
    mesh = Mesh(jax.devices(), "data")
    split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))
    x, kernel = jnp.zeros((16, 45, 46, 2)), jnp.zeros((3, 3, 2, 1))  # two steps

    def gradient(x, kernel):
        return jax.grad(
            lambda kernel: jnp.square(conv(x, kernel, target=EIGHT, form="fast")).sum()
        )(kernel)

    program = jax.jit(gradient, in_shardings=(split, whole), out_shardings=whole)
    text = program.lower(x, kernel).compile().as_text()
    assert "while(" in text
    assert re.findall(r"= (\S+) all-reduce", text) == ["f32[3,3,2,1]{3,2,1,0}"]


@pytest.mark.parametrize(
    ("side", "options"),
    [
        (1, {}),
        (1, {"stride": 2}),
        (2, {}),
        (3, {"stride": 2}),
        (3, {"dilation": 2}),
        (3, {"padding": "VALID"}),
        (5, {"padding": ((2, 2), (1, 0))}),
        (3, {"padding": ((1, 1), (1, 1)), "stride": 2}),
        (1, {"padding": ((1, 1), (1, 1))}),
        (7, {}),
    ],
)
def test_what_has_no_algorithm_of_its_own_is_lax(side, options, noise, assert_forms_equal):
    assert_forms_equal(partial(conv, **options), [(noise(2, 9, 8, 3), noise(side, side, 3, 2))])


@pytest.mark.parametrize("k", [3, 5])
def test_matrices_convolve(k):
    output, kernel, pixels = winograd.matrices(k)
    x, g = np.arange(k + 3.0) ** 2, np.arange(1.0, k + 1)
    expected = np.correlate(x, g, "valid")
    np.testing.assert_allclose(output @ ((kernel @ g) * (pixels @ x)), expected, rtol=1e-12)


def test_auto_is_winograd_for_kernels_of_many_channels_on_cpu():
    def used(*shape, dtype=jnp.float32, **options):
        traced = jax.jit(partial(conv, **options)).trace(
            jax.ShapeDtypeStruct((1, 9, 9, shape[2]), dtype), jax.ShapeDtypeStruct(shape, dtype)
        )
        return {
            platform: "stablehlo.convolution"
            not in traced.lower(lowering_platforms=(platform,)).as_text()
            for platform in ("cpu", "cuda")
        }

    assert used(3, 3, 64, 64) == {"cpu": True, "cuda": False}
    assert used(5, 5, 64, 96) == {"cpu": True, "cuda": False}
    assert used(3, 3, 64, 64, dtype=jnp.bfloat16) == {"cpu": True, "cuda": False}
    for narrow in (used(3, 3, 63, 64), used(3, 3, 64, 63), used(3, 3, 64, 64, dtype=jnp.float16)):
        assert narrow == {"cpu": False, "cuda": False}
    for pixels, winograd_too in ((1, True), (2, False)):
        pads = ((pixels, pixels), (pixels, pixels))
        assert used(3, 3, 64, 64, padding=pads) == {"cpu": winograd_too, "cuda": False}
    assert used(3, 3, 64, 64, dilation=2) == {"cpu": False, "cuda": False}
    for padding in ("SAME", ((0, 0), (0, 0))):
        assert used(1, 1, 3, 2, padding=padding) == {"cpu": True, "cuda": False}  # a matrix product


@pytest.mark.parametrize("k", [3, 5])
def test_bfloat16_is_rounded_once(k, noise):
    narrow = [a.astype(jnp.bfloat16) for a in (noise(2, 9, 7, 6), noise(k, k, 6, 5))]
    grad = noise(2, 9, 7, 5).astype(jnp.bfloat16)

    def results(form, x, kernel, grad):
        y, backward = jax.vjp(partial(conv, form=form), x, kernel)
        return y, *backward(grad)

    found = jax.jit(partial(results, "fast"))(*narrow, grad)
    expected = results("plain", *(a.astype(jnp.float32) for a in (*narrow, grad)))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == jnp.bfloat16
        atol = 1e-4 * np.abs(other).max()
        np.testing.assert_allclose(one.astype(np.float32), other, rtol=2**-8, atol=atol)


def test_a_transformed_kernel_gives_the_same(noise):
    x, kernel = noise(2, 7, 9, 64, dtype=np.float32), noise(5, 5, 64, 64, dtype=np.float32)
    y = winograd.winograd_conv(x, winograd.transform_kernel(jnp.asarray(kernel)), devices=1)
    expected = conv(x, kernel, form="plain")
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-4 * np.ptp(expected))


def test_winograd_is_certain_where_the_target_is_a_cpu():
    kernel = jax.ShapeDtypeStruct((5, 5, 64, 64), jnp.float32)
    assert takes_winograd(kernel, target=CPU)
    assert not takes_winograd(kernel, target=CPU, form="plain")
    assert not takes_winograd(kernel, target=CPU, stride=2)
    for elsewhere in (Target(), Target("tpu"), Target("gpu", 8)):
        assert not takes_winograd(kernel, target=elsewhere)
        assert takes_winograd(kernel, target=elsewhere, form="fast")


def test_float32_winograd_errs_by_a_few_times_1e_5(noise):
    x, kernel = noise(1, 25, 25, 64, dtype=np.float32), noise(5, 5, 64, 64, dtype=np.float32)
    exact = conv(x, kernel, form="plain")
    error = np.abs(np.asarray(conv(x, kernel)) - exact).max() / np.abs(exact).max()
    assert 0 < error < 5e-5


def test_a_batch_over_eight_devices_stays_there(noise, outputs_and_gradients):
    mesh = Mesh(np.array(jax.devices()), ("data",))
    assert mesh.size == 8
    x, kernel = noise(16, 45, 45, 2, dtype=np.float32), noise(3, 3, 2, 2, dtype=np.float32)
    step = jax.jit(partial(outputs_and_gradients, partial(conv, form="fast", target=EIGHT)))
    split = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
    whole = jax.device_put(kernel, NamedSharding(mesh, PartitionSpec()))
    compiled = step.lower(split, whole).compile()
    assert "all-gather" not in compiled.as_text()
    assert "all-to-all" not in compiled.as_text()
    results = compiled(split, whole)
    assert [y.addressable_shards[0].data.shape[0] for y in results[:2]] == [2, 2]
    for a, b in zip(results, step(x, kernel), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


def test_kernels_that_are_added_convolve_to_the_sum(noise):
    x = noise(1, 9, 8, 2)
    kernels = [(noise(1, 1, 2, 3), 1), (noise(3, 3, 2, 3), 2), (noise(3, 3, 2, 3), 1)]
    with jax.enable_x64(True):
        expected = sum(conv(x, kernel, dilation=d, form="plain") for kernel, d in kernels)
        total = add_kernels([(jnp.asarray(kernel), d) for kernel, d in kernels])
        y = conv(x, total, form="plain")
    assert total.shape == (5, 5, 2, 3)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)


def test_an_unknown_form_is_a_user_error():
    with pytest.raises(UserError, match='no form "winograd" of conv; choose one of auto, fast'):
        conv(jnp.ones((1, 2, 2, 1)), jnp.ones((3, 3, 1, 1)), form="winograd")


@pytest.mark.parametrize("devices", [1, 4, 16])
def test_steps_are_as_large_as_the_target_s_devices_need(devices):
    """The process has 8."""
    x, kernel = (
        jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((64, 45, 46, 2), (3, 3, 2, 1))
    )
    step = jax.jit(partial(conv, form="fast", target=Target("cpu", devices)))
    text = step.trace(x, kernel).lower().as_text()
    assert f"tensor<{devices}x{64 // devices}x45x46x2xf32>" in text


def test_a_symbolic_batch_is_one_step(noise):
    x, kernel = noise(3, 9, 8, 64, dtype=np.float32), noise(3, 3, 64, 64, dtype=np.float32)
    (batch,) = jax.export.symbolic_shape("b")
    images = jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype)
    exported = jax.export.export(jax.jit(partial(conv, target=CPU)))(images, kernel)
    assert "stablehlo.convolution" not in exported.mlir_module()
    expected = conv(x, kernel, target=CPU)
    error = 1e-5 * np.ptp(expected)
    np.testing.assert_allclose(exported.call(x, kernel), expected, rtol=0, atol=error)
