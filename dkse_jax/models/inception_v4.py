"""Inception-v4: Szegedy et al. 2017, "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning".
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from dkse_jax.choices import LEAST_IMAGE_SIZES
from dkse_jax.models.layers import ConvNorm, check_image_size, classifier, inherit
from dkse_jax.models.pooling import average_pool, global_average_pool
from dkse_jax.ops.forms import ANY, Target
from dkse_jax.ops.max_pool import max_pool

NORM_EPSILON = 1e-3
DROPOUT = 0.2


class Step(NamedTuple):
    """One convolution of a branch, with its norm and ReLU."""

    features: int
    kernel: tuple[int, int] = (1, 1)  # rows, columns
    stride: int = 1
    padding: Literal["SAME", "VALID"] = "SAME"


class Fork(NamedTuple):
    """Two parallel convolutions of one map: the end of a branch."""

    a: Step
    b: Step


Branch = tuple[Step | Fork | Literal["average_pool", "max_pool"], ...]

_HALVE = partial(Step, kernel=(3, 3), stride=2, padding="VALID")
_SQUARE, _ROW, _COLUMN = (3, 3), (1, 7), (7, 1)
_FORK = Fork(Step(256, (1, 3)), Step(256, (3, 1)))

# The branches of every block: Figs. 3 to 9, and Table 1 for the channels of reduction A.
STEM = {
    "conv1a": _HALVE(32),
    "conv2a": Step(32, _SQUARE, padding="VALID"),
    "conv2b": Step(64, _SQUARE),
}
MIXED_3A: tuple[Branch, ...] = (("max_pool",), (_HALVE(96),))
MIXED_4A: tuple[Branch, ...] = (
    (Step(64), Step(96, _SQUARE, padding="VALID")),
    (Step(64), Step(64, _ROW), Step(64, _COLUMN), Step(96, _SQUARE, padding="VALID")),
)
MIXED_5A: tuple[Branch, ...] = ((_HALVE(192),), ("max_pool",))
INCEPTION_A: tuple[Branch, ...] = (
    (Step(96),),
    (Step(64), Step(96, _SQUARE)),
    (Step(64), Step(96, _SQUARE), Step(96, _SQUARE)),
    ("average_pool", Step(96)),
)
REDUCTION_A: tuple[Branch, ...] = (
    (_HALVE(384),),
    (Step(192), Step(224, _SQUARE), _HALVE(256)),
    ("max_pool",),
)
INCEPTION_B: tuple[Branch, ...] = (
    (Step(384),),
    (Step(192), Step(224, _ROW), Step(256, _COLUMN)),
    (Step(192), Step(192, _COLUMN), Step(224, _ROW), Step(224, _COLUMN), Step(256, _ROW)),
    ("average_pool", Step(128)),
)
REDUCTION_B: tuple[Branch, ...] = (
    (Step(192), _HALVE(192)),
    (Step(256), Step(256, _ROW), Step(320, _COLUMN), _HALVE(320)),
    ("max_pool",),
)
INCEPTION_C: tuple[Branch, ...] = (
    (Step(256),),
    (Step(384), _FORK),
    (Step(384), Step(448, (3, 1)), Step(512, (1, 3)), _FORK),
    ("average_pool", Step(256)),
)
BLOCKS: dict[str, tuple[Branch, ...]] = {
    "mixed3a": MIXED_3A,
    "mixed4a": MIXED_4A,
    "mixed5a": MIXED_5A,
    **{f"inception_a{i}": INCEPTION_A for i in range(1, 5)},
    "reduction_a": REDUCTION_A,
    **{f"inception_b{i}": INCEPTION_B for i in range(1, 8)},
    "reduction_b": REDUCTION_B,
    **{f"inception_c{i}": INCEPTION_C for i in range(1, 4)},
}


class Mixed(nn.Module):
    """Parallel branches of one map, with concatenated channels."""

    branches: tuple[Branch, ...]
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32
    target: Target = ANY

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Computes (B, H, W, C) -> (B, H', W', C'); branches and steps are numbered from 0."""

        def conv(step: Step, name: str, x: jax.Array) -> jax.Array:
            return inherit(self, ConvNorm)(*step, epsilon=NORM_EPSILON, name=name)(x, train=train)

        def run(step: Step | Fork | str, name: str, x: jax.Array) -> list[jax.Array]:
            if isinstance(step, Fork):
                return [conv(step.a, f"{name}a", x), conv(step.b, f"{name}b", x)]
            if isinstance(step, Step):
                return [conv(step, name, x)]
            return [
                average_pool(x, 3)
                if step == "average_pool"
                else max_pool(x, 3, 2, form=self.ops, target=self.target)
            ]

        ends: list[jax.Array] = []
        for i, branch in enumerate(self.branches):
            y = [x]
            for j, step in enumerate(branch):
                y = run(step, f"branch{i}_{j}", y[0])
            ends += y
        return jnp.concatenate(ends, axis=-1)


class InceptionV4(nn.Module):
    """Inception-v4 in timm's layout; ops, dtype and target are those of `DKSENet`."""

    num_classes: int
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32
    target: Target = ANY

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Computes the logits (B, num_classes) of (B, H, W, 3), and all named stages in order.

        train: normalises by the batch (apply with mutable=["batch_stats"]) and applies dropout
        (needs an rng "dropout"). Raises UserError for images below 75 pixels.
        """
        check_image_size(images, LEAST_IMAGE_SIZES["inception_v4"], "Inception-v4")
        stages: dict[str, jax.Array] = {}

        x = images
        for name, step in STEM.items():
            conv = inherit(self, ConvNorm)(*step, epsilon=NORM_EPSILON, name=name)
            stages[name] = x = conv(x, train=train)
        for name, branches in BLOCKS.items():
            stages[name] = x = inherit(self, Mixed)(branches, name=name)(x, train=train)

        with jax.named_scope("average_pool"):
            x = global_average_pool(x, self.ops, self.target)  # (B, C)
        stages["average_pool"] = stages["pre_logits"] = x
        x = nn.Dropout(DROPOUT, deterministic=not train)(x)
        stages["logits"] = logits = classifier(self.num_classes, self.dtype)(x)
        return logits, stages
