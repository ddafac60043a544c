"""Grad-CAM against its formula, and on a network trained to find a patch."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dkse_jax.errors import UserError
from dkse_jax.evaluation.gradcam import choose_stage, grad_cam, map_stages
from dkse_jax.models.dkse_net import DKSENet
from dkse_jax.models.layers import Conv
from tests.conftest import default_optimisation


class Toy(nn.Module):
    """A network without forms of ops, with two maps and a head that is more than a mean."""

    classes: int = 3

    @nn.compact
    def __call__(self, images, *, train=False):
        stages = {}
        x = jnp.concatenate([nn.relu(images), nn.relu(-images)], axis=-1)
        stages["halves"] = x  # a map, but of no submodule
        stages["first"] = x = Block(8, name="first")(x)
        stages["second"] = x = Block(16, name="second")(x)
        stages["pool"] = x = x.mean((1, 2))
        stages["logits"] = x = nn.Dense(self.classes, name="logits")(x)
        return x, stages


class Block(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x):
        return nn.relu(Conv(x.shape[-1], self.features, 3, name="conv")(x))


def noise(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def dkse(variables_of):
    """Provides a thin network with dropout, its variables and three images."""
    net = DKSENet(3, width=4, dropout_before_pool=0.5, dropout_after_pool=0.5)
    images = noise(3, 64, 64, 3)
    return net, variables_of(net, images), images


@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-5), ("bfloat16", 1e-2)])
def test_at_the_last_map_it_is_the_class_activation_map(dtype, error, dkse):
    """CAM (Zhou et al. 2016): ∂(logit c) / ∂(channel k) is w_kc / (H·W) at any pixel."""
    net, variables, images = dkse
    net = net.clone(ops="plain", dtype=jnp.dtype(dtype))
    classes = np.array([2, 0, 1])
    folded = {"depthwise_2": {"depthwise": {"kernel": jnp.zeros(3)}}}  # must not matter
    explain = jax.jit(partial(grad_cam, net, stage="separable_14"))
    with default_optimisation():
        _, stages = jax.jit(net.apply)(variables, images)
        result = explain({**variables, "precomputed": folded}, images, classes)
    maps = np.asarray(stages["separable_14"], np.float32)
    kernel = variables["params"]["logits"]["kernel"]
    cam = np.stack([a @ kernel[:, c] for a, c in zip(maps, classes, strict=True)]) / (2 * 2)
    assert (cam > 0).any()
    assert (cam < 0).any()
    assert result.shape == (3, 2, 2)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, np.maximum(cam, 0), rtol=0, atol=error * cam.max())


def test_at_an_earlier_map_it_is_the_gradient_through_what_follows(variables_of):
    net, images = Toy(), noise(4, 12, 10, 3)
    variables = variables_of(net, images)
    classes = np.array([0, 1, 2, 2])
    first = jax.jit(net.apply)(variables, images)[1]["first"]

    def rest(maps):
        params = variables["params"]
        x = Block(16).apply({"params": params["second"]}, maps)
        logits = x.mean((1, 2)) @ params["logits"]["kernel"] + params["logits"]["bias"][None]
        return jnp.sum(logits[np.arange(4), classes])

    gradient = np.asarray(jax.jit(jax.grad(rest))(first))
    weighted = np.einsum("bk,bhwk->bhw", gradient.mean((1, 2)), first)
    assert (weighted > 0).any()
    assert (weighted < 0).any()
    result = jax.jit(partial(grad_cam, net, stage="first"))(variables, images, classes)
    np.testing.assert_allclose(result, np.maximum(weighted, 0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("stage", ["dilated_1", "dkse_6"])
def test_no_form_of_ops_goes_past_the_stage(dkse, stage):
    net, variables, images = dkse
    maps = {
        ops: jax.jit(partial(grad_cam, net.clone(ops=ops), stage=stage))(
            variables, images, np.array([0, 1, 2])
        )
        for ops in ("plain", "fast")
    }
    assert np.all(np.any(maps["plain"] > 0, axis=(1, 2)))
    np.testing.assert_array_equal(maps["fast"], maps["plain"])


def test_map_stages_are_what_submodules_return():
    net = DKSENet(5, positions=(6,))
    maps = map_stages(net, 299)
    assert list(maps)[:2] == ["dilated_1", "depthwise_2"]
    assert list(maps)[-1] == "separable_14"
    assert maps["dkse_6"] == (50, 50, 128)
    assert not {"pool_15", "logits"} & set(maps)
    assert map_stages(Toy(), 12) == {"first": (12, 12, 8), "second": (12, 12, 16)}

    class Scaled(nn.Module):
        @nn.compact
        def __call__(self, images, *, train=False):
            return images, {"block": 2 * Block(4, name="block")(images)}

    assert map_stages(Scaled(), 12) == {}


def test_the_stage_is_the_last_map_or_the_one_named():
    net = DKSENet(5, width=4)
    assert choose_stage(net, 64, None) == "separable_14"
    assert choose_stage(net, 64, "dkse_6") == "dkse_6"
    assert choose_stage(Toy(), 12, None) == "second"
    with pytest.raises(UserError, match=r'no map "dkse_9"; did you mean "dkse_6"\?'):
        choose_stage(net, 64, "dkse_9")
    with pytest.raises(UserError, match=r'no map "pool_15"; choose one of depthwise_2, dilated_1'):
        choose_stage(net, 64, "pool_15")


COLOURS = np.array([[1, -1, -1], [-1, 1, -1], [-1, -1, 1]], np.float32)
PATCH = 6


def planted(examples, seed):
    """Draws noise with a patch whose colour is the class: images, classes, corners."""
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((examples, 32, 32, 3)).astype(np.float32)
    classes = rng.integers(3, size=examples)
    corners = rng.integers(32 - PATCH + 1, size=(examples, 2))
    for image, label, (top, left) in zip(images, classes, corners, strict=True):
        image[top : top + PATCH, left : left + PATCH] += 2 * COLOURS[label]
    return images, classes, corners


@pytest.fixture(scope="module")
def finder():
    """Provides Toy, trained for 60 steps to classify the colour of the patch."""
    net, optimizer = Toy(), optax.adam(1e-2)
    params = net.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]

    @jax.jit
    def step(params, state, images, classes):
        def loss(params):
            logits, _ = net.apply({"params": params}, images, train=True)
            return optax.softmax_cross_entropy_with_integer_labels(logits, classes).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for i in range(60):
        params, state = step(params, state, *planted(32, seed=i)[:2])
    return net, {"params": params}


def test_it_finds_the_patch_that_decides_the_class(finder):
    net, variables = finder
    images, classes, corners = planted(200, seed=1000)
    logits, _ = jax.jit(net.apply)(variables, images)
    right = np.asarray(logits).argmax(axis=1) == classes
    assert right.mean() > 0.95
    maps = jax.jit(partial(grad_cam, net, stage="second"))(variables, images, classes)
    peaks = np.stack(np.unravel_index(maps.reshape(200, -1).argmax(axis=1), (32, 32)), axis=1)
    centres = corners + (PATCH - 1) / 2
    near = np.abs(peaks - centres).max(axis=1) <= PATCH / 2 + 1
    assert near[right].mean() > 0.95


def test_another_class_points_elsewhere(finder):
    net, variables = finder
    images, classes, corners = planted(50, seed=1000)
    explain = jax.jit(partial(grad_cam, net, stage="second"))
    own, other = (explain(variables, images, (classes + k) % 3) for k in (0, 1))
    inside = np.zeros((2, 50))
    for i, (top, left) in enumerate(corners):
        patch = np.s_[i, top : top + PATCH, left : left + PATCH]
        inside[:, i] = np.mean(own[patch]), np.mean(other[patch])
    assert np.mean(inside[0] > 2 * inside[1]) > 0.95
