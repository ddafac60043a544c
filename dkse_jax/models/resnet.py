"""ResNet: He et al. 2016, "Deep Residual Learning for Image Recognition".

A bottleneck's stride is at its 3×3 convolution, as in torchvision and timm. SE-ResNet: Hu et al.
2018, "Squeeze-and-Excitation Networks".
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from dkse_jax.choices import LEAST_IMAGE_SIZES
from dkse_jax.models.attention import SE
from dkse_jax.models.layers import ConvNorm, check_image_size, classifier, inherit
from dkse_jax.models.pooling import global_average_pool
from dkse_jax.ops.forms import ANY, Target
from dkse_jax.ops.max_pool import max_pool

EXPANSION = 4  # of a bottleneck's last convolution
SE_REDUCTION = 16

# Table 1: the blocks of conv2_x to conv5_x, and whether they are bottlenecks.
BLOCKS = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}


class Block(nn.Module):
    """A residual block: ReLU(x + F(x)).

    F is two 3×3 convolutions or, as a bottleneck, 1×1, 3×3 and 1×1, each with a norm; with se, a
    gate scales its channels. If F changes the shape, a 1×1 convolution with a norm projects x.
    """

    features: int
    stride: int = 1
    bottleneck: bool = False
    se: bool = False
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32
    target: Target = ANY

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Computes (B, H, W, C) -> (B, H', W', features), 4 times the features for bottlenecks."""
        conv = inherit(self, ConvNorm)
        if self.bottleneck:
            outputs = EXPANSION * self.features
            y = conv(self.features, 1, name="conv1")(x, train=train)
            y = conv(self.features, 3, self.stride, padding=1, name="conv2")(y, train=train)
            y = conv(outputs, 1, relu=False, name="conv3")(y, train=train)
        else:
            outputs = self.features
            y = conv(outputs, 3, self.stride, padding=1, name="conv1")(x, train=train)
            y = conv(outputs, 3, padding=1, relu=False, name="conv2")(y, train=train)
        if self.se:
            y = SE(SE_REDUCTION, use_bias=True, dtype=self.dtype, name="se")(y)
        if self.stride > 1 or x.shape[-1] != outputs:
            shortcut = conv(outputs, 1, self.stride, relu=False, name="downsample")
            x = shortcut(x, train=train)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """ResNet of 18, 34, 50, 101 or 152 layers; ops, dtype and target are those of `DKSENet`.

    se: a squeeze-and-excitation gate in every block. width: channels of the stem.
    """

    num_classes: int
    depth: int = 50
    se: bool = False
    width: int = 64
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32
    target: Target = ANY

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Computes the logits (B, num_classes) of (B, H, W, 3), and all named stages in order.

        train: normalises by the batch (apply with mutable=["batch_stats"]). Raises UserError for
        images below 64 pixels.
        """
        check_image_size(images, LEAST_IMAGE_SIZES[f"resnet{self.depth}"], f"ResNet-{self.depth}")
        counts, bottleneck = BLOCKS[self.depth]
        stages: dict[str, jax.Array] = {}

        stem = inherit(self, ConvNorm)(self.width, 7, 2, padding=3, name="stem")
        stages["stem"] = x = stem(images, train=train)
        with jax.named_scope("max_pool"):
            stages["max_pool"] = x = max_pool(x, 3, 2, 1, form=self.ops, target=self.target)
        for i, count in enumerate(counts):
            for j in range(count):
                name, stride = f"layer{i + 1}_{j}", 2 if i > 0 and j == 0 else 1
                block = inherit(self, Block)(
                    self.width * 2**i, stride, bottleneck, self.se, name=name
                )
                stages[name] = x = block(x, train=train)

        with jax.named_scope("average_pool"):
            x = global_average_pool(x, self.ops, self.target)  # (B, C)
        stages["average_pool"] = stages["pre_logits"] = x
        stages["logits"] = logits = classifier(self.num_classes, self.dtype)(x)
        return logits, stages
