"""VGG: Simonyan & Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image
Recognition".

Without local response normalisation and without batch normalisation.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from dkse_jax.choices import LEAST_IMAGE_SIZES
from dkse_jax.models.layers import ConvReLU, DenseReLU, check_image_size, classifier, inherit
from dkse_jax.models.pooling import adaptive_average_pool
from dkse_jax.ops.forms import ANY, Target
from dkse_jax.ops.max_pool import max_pool

GRID = 7  # side of the map before the fully connected layers
HIDDEN = 4096
DROPOUT = 0.5

# Table 1, configurations D and E: number of 3×3 convolutions before each max pool, and channels.
CONVOLUTIONS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
CHANNELS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """VGG of 16 or 19 layers with weights; ops, dtype and target are those of `DKSENet`."""

    num_classes: int
    depth: int = 16
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32
    target: Target = ANY

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Computes the logits (B, num_classes) of (B, H, W, 3), and all named stages in order.

        train: applies dropout (needs rng "dropout"). Raises UserError for images below 64 pixels.
        """
        check_image_size(images, LEAST_IMAGE_SIZES[f"vgg{self.depth}"], f"VGG{self.depth}")
        stages: dict[str, jax.Array] = {}

        x = images
        for i, count in enumerate(CONVOLUTIONS[self.depth]):
            for j in range(count):
                name = f"conv{i + 1}_{j + 1}"
                stages[name] = x = inherit(self, ConvReLU)(CHANNELS[i], name=name)(x, train=train)
            with jax.named_scope(f"max_pool{i + 1}"):
                stages[f"max_pool{i + 1}"] = x = max_pool(
                    x, 2, 2, form=self.ops, target=self.target
                )

        with jax.named_scope("average_pool"):
            stages["average_pool"] = x = adaptive_average_pool(x, GRID)
        x = x.reshape(x.shape[0], -1)  # (B, 7·7·512)
        for name in ("fc6", "fc7"):
            stages[name] = x = DenseReLU(HIDDEN, self.dtype, name=name)(x)
            x = nn.Dropout(DROPOUT, deterministic=not train)(x)
        stages["pre_logits"] = stages["fc7"]
        stages["logits"] = logits = classifier(self.num_classes, self.dtype)(x)
        return logits, stages
