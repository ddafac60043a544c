"""A given platform decides what auto is while tracing, wherever the program is lowered."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest

from dkse_jax.ops.conv import conv
from dkse_jax.ops.depthwise import depthwise_conv
from dkse_jax.ops.forms import Target
from dkse_jax.ops.norm import batch_norm
from dkse_jax.ops.pointwise import pointwise_conv
from dkse_jax.ops.stem import conv_then_depthwise

IMAGES = (4, 12, 12, 64)
OPS = {
    "conv": (conv, IMAGES, (3, 3, 64, 64)),
    "strided conv": (partial(conv, stride=2), IMAGES, (1, 1, 64, 8)),
    "pointwise": (pointwise_conv, IMAGES, (1, 1, 64, 8)),
    "depthwise": (depthwise_conv, IMAGES, (3, 3, 1, 64)),
    "norm": (partial(batch_norm, epsilon=1e-5), IMAGES, (64,), (64,)),
    "stem": (
        partial(conv_then_depthwise, dilation=2, stride=3),
        IMAGES,
        (3, 3, 64, 8),
        (3, 3, 1, 8),
    ),
}


def lowered(op, shapes, platform, **options):
    """The StableHLO of an op with all its gradients, for a platform that need not be here."""

    def loss(*operands):
        return sum(jnp.square(y).sum() for y in jax.tree.leaves(op(*operands, **options)))

    traced = jax.jit(jax.grad(loss, argnums=range(len(shapes)))).trace(
        *(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    )
    return traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize(("platform", "lowering"), [("tpu", "tpu"), ("gpu", "cuda")])
def test_off_the_cpu_auto_is_plain(name, platform, lowering):
    op, *shapes = OPS[name]
    auto = lowered(op, shapes, lowering, target=Target(platform, 8))
    assert auto == lowered(op, shapes, lowering, form="plain")
    assert auto != lowered(op, shapes, lowering, target=Target("cpu", 8))


@pytest.mark.parametrize("name", OPS)
def test_on_the_cpu_auto_is_fast(name):
    op, *shapes = OPS[name]
    auto = lowered(op, shapes, "cpu", target=Target("cpu"))
    assert auto == lowered(op, shapes, "cpu", form="fast")
