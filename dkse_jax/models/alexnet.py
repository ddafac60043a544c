"""AlexNet: Krizhevsky et al. 2012, "ImageNet Classification with Deep Convolutional Networks".

The one-column layout of Krizhevsky 2014, "One weird trick for parallelizing convolutional neural
networks", as in torchvision: without local response normalisation and without groups.
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

GRID = 6  # side of the map before the fully connected layers
HIDDEN = 4096
DROPOUT = 0.5

# Section 1 of Krizhevsky 2014: features, kernel, stride, padding, whether a max pool follows.
CONVOLUTIONS = (
    (64, 11, 4, 2, True),
    (192, 5, 1, 2, True),
    (384, 3, 1, 1, False),
    (256, 3, 1, 1, False),
    (256, 3, 1, 1, True),
)


class AlexNet(nn.Module):
    """Five convolutions and three fully connected layers.

    ops, dtype and target are those of `DKSENet`.
    """

    num_classes: int
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
        check_image_size(images, LEAST_IMAGE_SIZES["alexnet"], "AlexNet")
        stages: dict[str, jax.Array] = {}

        x = images
        for i, (features, kernel, stride, padding, pool) in enumerate(CONVOLUTIONS, start=1):
            conv = inherit(self, ConvReLU)(features, kernel, stride, padding, name=f"conv{i}")
            stages[f"conv{i}"] = x = conv(x, train=train)
            if pool:
                with jax.named_scope(f"max_pool{i}"):
                    stages[f"max_pool{i}"] = x = max_pool(
                        x, 3, 2, form=self.ops, target=self.target
                    )

        with jax.named_scope("average_pool"):
            stages["average_pool"] = x = adaptive_average_pool(x, GRID)
        x = x.reshape(x.shape[0], -1)  # (B, 6·6·256)
        for name in ("fc6", "fc7"):
            x = nn.Dropout(DROPOUT, deterministic=not train)(x)
            stages[name] = x = DenseReLU(HIDDEN, self.dtype, name=name)(x)
        stages["pre_logits"] = stages["fc7"]
        stages["logits"] = logits = classifier(self.num_classes, self.dtype)(x)
        return logits, stages
