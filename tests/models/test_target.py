"""Networks lowered here, on a CPU, for devices that are not here."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dkse_jax.models.dkse_net import DKSENet
from dkse_jax.models.fold import fold
from dkse_jax.models.layers import plain_form
from dkse_jax.ops.forms import Target

ELSEWHERE = [("tpu", "tpu"), ("gpu", "cuda")]  # by the names of devices and of lowering
CPU = Target("cpu")
IMAGES = jax.ShapeDtypeStruct((16, 96, 96, 3), jnp.float32)  # 64 channels of 16×16 in the block


def _images(batch):
    return np.random.default_rng(0).standard_normal((batch, 32, 32, 3)).astype(np.float32)


def lowered(net, lowering, *, train, images=IMAGES):
    """The StableHLO of the logits, from folded weights, or of a training's gradients."""
    variables = jax.eval_shape(net.init, jax.random.key(0), images)

    def gradients(variables, images):
        def loss(params):
            (logits, _), _ = net.apply(
                {**variables, "params": params}, images, train=True, mutable=["batch_stats"]
            )
            return jnp.square(logits).sum()

        return jax.grad(loss)(variables["params"])

    def logits(variables, images):
        return net.apply(variables, images)[0]

    if not train:
        variables = jax.eval_shape(lambda variables: fold(net, variables, 96), variables)
    traced = jax.jit(gradients if train else logits).trace(variables, images)
    return traced.lower(lowering_platforms=(lowering,)).as_text().partition("\n")[2]


def kernels(text):
    """The shapes of the kernels of all convolutions, and how many matrix products there are."""
    found = re.findall(r"stablehlo\.convolution.* : \(\S+, tensor<(\S+)x\w+>\)", text)
    return sorted(found), text.count("stablehlo.dot_general")


def network(platform, **fields):
    return DKSENet(5, width=16, kernel_sizes=(3, 5), target=Target(platform, 8), **fields)


@pytest.mark.parametrize(("platform", "lowering"), ELSEWHERE)
def test_a_network_for_another_platform_has_plain_forms_alone(platform, lowering):
    net = network(platform)
    assert lowered(net, lowering, train=True) == lowered(
        net.clone(ops="plain"), lowering, train=True
    )
    unmerged = lowered(net.clone(merge_stem=False), lowering, train=False)
    assert unmerged == lowered(net.clone(ops="plain"), lowering, train=False)
    shapes, products = kernels(unmerged)
    assert shapes[:1] + shapes[-1:] == ["1x1x128x128", "5x5x64x64"]
    # Two layers of the stem, nine of both kinds in separable convolutions, two branches; the gate's
    # two layers and the classifier.
    assert (len(shapes), products) == (22, 3)


def test_a_network_for_the_cpu_has_fast_forms():
    shapes, products = kernels(lowered(network("cpu"), "cpu", train=False))
    assert shapes == ["7x7x3x16"]
    assert products == 3 + 9 + 2  # pointwise convolutions, and Winograd's in the branches


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(
    ("ops", "platform", "merge", "merged"),
    [
        ("plain", "cpu", None, (False, False)),
        ("plain", "cpu", True, (True, True)),
        ("auto", "tpu", None, (False, True)),
        ("auto", "tpu", True, (True, True)),
        ("auto", "cpu", None, (True, True)),
        ("auto", "cpu", False, (False, False)),
        ("fast", "cpu", False, (False, False)),
    ],
)
def test_the_stem_is_merged_by_a_switch_of_its_own(ops, platform, merge, merged, train):
    net = network(platform, ops=ops, merge_stem=merge, positions=())
    text = lowered(net, platform, train=train)
    assert ("tensor<7x7x3x16xf32>" in text) == merged[0 if train else 1]
    assert "tensor<7x7x3x16xf32>" not in lowered(plain_form(net), platform, train=train)


@pytest.mark.parametrize("merge", [True, False])
def test_a_merged_stem_changes_no_logits(merge, variables_of):
    def logits(net, variables, images):
        trained, _ = net.apply(variables, images, train=True, mutable=["batch_stats"])
        evaluated, _ = net.apply(variables, images)
        folded, _ = net.apply(fold(net, variables, 32), images)
        return jnp.stack([trained[0], evaluated, folded])

    with jax.enable_x64(True):
        net = DKSENet(5, width=4, ops="plain", merge_stem=merge, dtype=jnp.float64)
        images = np.random.default_rng(0).standard_normal((4, 33, 32, 3))
        variables = variables_of(net, images)
        merged, plain = (
            jax.jit(partial(logits, each))(variables, images) for each in (net, plain_form(net))
        )
    assert (np.ptp(plain, axis=(1, 2)) > 0.1).all()
    np.testing.assert_allclose(merged, plain, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("devices", "step"), [(1, 8), (2, 16), (4, 32)])
def test_steps_suit_the_target_not_the_devices_that_are_here(devices, step):
    """A device takes 8 images of 4×4 tiles a step; this process has 8 devices."""
    net = DKSENet(5, width=16, target=Target("cpu", devices))
    images = jax.ShapeDtypeStruct((64, 96, 96, 3), jnp.float32)
    for train in (True, False):
        text = lowered(net, "cpu", train=train, images=images)
        found = set(re.findall(r"tensor<(\d+)x(\d+)x16x16x64xf32>", text))
        assert found == {(str(step), "1"), (str(step), str(64 // step))}


@pytest.mark.parametrize(("ops", "target"), [("auto", CPU), ("auto", Target()), ("fast", CPU)])
def test_folding_does_not_need_transformed_kernels(ops, target, variables_of):
    """Norms are folded either way: the folded network reads no statistics."""
    net = DKSENet(5, width=16, ops=ops, target=target)
    images = _images(3)
    variables = variables_of(net, images)
    expected, _ = jax.jit(net.apply)(variables, images)
    for transform, transformed in ((True, target == CPU), (False, False)):
        folded = fold(net, variables, 32, transform_kernels=transform)
        conv = folded["precomputed"]["dkse_6"]["branch_2"]["conv"]
        assert list(conv) == ["winograd_kernel" if transformed else "kernel"]
        folded["batch_stats"] = jax.tree.map(np.zeros_like, variables["batch_stats"])
        logits, _ = jax.jit(net.apply)(folded, images)
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("target", [CPU, Target()])
def test_a_folded_network_exports_with_a_symbolic_batch(target, variables_of):
    net, images = DKSENet(5, width=16, target=target), _images(5)
    variables = variables_of(net, images)
    folded = fold(net, variables, 32)
    (batch,) = jax.export.symbolic_shape("b")
    logits = jax.jit(lambda images: net.apply(folded, images)[0])
    platforms = ("cpu",) if target == CPU else ("cpu", "cuda", "tpu")
    exported = jax.export.export(logits, platforms=platforms)(
        jax.ShapeDtypeStruct((batch, *images.shape[1:]), images.dtype)
    )
    expected, _ = jax.jit(net.apply)(variables, images)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(exported.call(images), expected, rtol=0, atol=1e-4)
