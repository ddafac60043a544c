"""The paper's network (Fig. 10): a stem, nine separable convolutions, DKSE blocks, a classifier."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from dkse_jax.choices import ATTENTIONS, BLOCK_CHANNELS, FORMS, LEAST_IMAGE_SIZES
from dkse_jax.errors import UserError, nearest
from dkse_jax.models.attention import DKSE, SE, SK, check_block
from dkse_jax.models.layers import Conv, check_image_size, classifier, inherit, recomputed
from dkse_jax.models.pooling import global_average_pool
from dkse_jax.models.separable import DepthwiseNormReLU, SeparableConv
from dkse_jax.ops.forms import ANY, Target

NORM_PLACEMENTS = ("all", "second_layer_only")

# The paper's layer ID, channels as a multiple of the stem's, stride. Missing IDs are of blocks.
SEPARABLE = (
    (3, 2, 1),
    (4, 4, 2),
    (5, 4, 1),
    (7, 8, 2),
    (8, 8, 1),
    (10, 16, 2),
    (11, 16, 1),
    (13, 32, 2),
    (14, 32, 1),
)


class DKSENet(nn.Module):
    """The DKSE classifier; layers, stages and parameters are numbered by the paper's layer IDs.

    width: channels of the stem. positions: the IDs, of 6, 9, 12, that hold a block. attention: the
    block: `DKSE` with the fields kernel_sizes, dilations, reduction, gate and branch_norm; `SK`
    with the first three; `SE` with the reduction; or none. norm_placement: "all" normalises after
    the second layer and every pointwise convolution, "second_layer_only" (the paper's literal
    words) after the second layer; the blocks' own norms follow branch_norm. dropout_*: rates,
    before and after the global average pool. ops: the form of the arithmetic (auto | plain | fast).
    dtype: of the activations; parameters, statistics and logits are of at least float32. remat:
    the backward pass keeps the input of each separable convolution and block and recomputes the
    inside. merge_stem: whether the first two layers are computed as one convolution; by default
    unless ops is plain, but with auto in training only on CPU. target: the devices to trace for,
    which auto depends on. Raises UserError for unknown or inconsistent values.
    """

    num_classes: int
    width: int = 32
    positions: tuple[int, ...] = (6,)
    attention: str = "dkse"
    kernel_sizes: tuple[int, ...] = (1, 5)
    dilations: tuple[int, ...] = (1, 1)
    reduction: int = 4
    gate: str = "shared_sigmoid"
    branch_norm: str = "bn_relu"
    norm_placement: str = "all"
    dropout_before_pool: float = 0.0
    dropout_after_pool: float = 0.0
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32
    remat: bool = False
    merge_stem: bool | None = None
    target: Target = ANY

    def __post_init__(self) -> None:
        for position in self.positions:
            if position not in BLOCK_CHANNELS:
                allowed = tuple(BLOCK_CHANNELS)
                raise UserError(f"no DKSE block can stand at layer {position}; choose of {allowed}")
        if self.attention not in ATTENTIONS:
            raise UserError(f'no attention "{self.attention}"{nearest(self.attention, ATTENTIONS)}')
        if self.norm_placement not in NORM_PLACEMENTS:
            hint = nearest(self.norm_placement, NORM_PLACEMENTS)
            raise UserError(f'no norm_placement "{self.norm_placement}"{hint}')
        if self.ops not in FORMS:
            raise UserError(f'no form "{self.ops}" of ops{nearest(self.ops, FORMS)}')
        check_block(self.kernel_sizes, self.dilations, self.reduction, self.gate, self.branch_norm)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Computes the logits (B, num_classes) of (B, H, W, 3), and all named stages in order.

        A stage is the output of the layer of that name; pre_logits, in every network, is the
        classifier's input, (B, C), before dropout. (`jax.jit` sorts stages by name.) train:
        normalises by the batch (apply with mutable=["batch_stats"]) and applies dropout (needs an
        rng "dropout"). Raises UserError for images below 32 pixels.
        """
        check_image_size(images, LEAST_IMAGE_SIZES["dkse_net"], "DKSENet")
        separable = partial(inherit(self, SeparableConv), norm=self.norm_placement == "all")
        branches = self.kernel_sizes, self.dilations, self.reduction
        blocks: dict[str, Callable[..., nn.Module]] = {
            "dkse": partial(inherit(self, DKSE), *branches, self.gate, self.branch_norm),
            "se": partial(SE, self.reduction, dtype=self.dtype),
            "sk": partial(inherit(self, SK), *branches),
        }
        run = partial(recomputed, remat=self.remat, train=train)
        stages: dict[str, jax.Array] = {}

        first = inherit(self, Conv)(3, self.width, dilation=2, name="dilated_1")
        second = inherit(self, DepthwiseNormReLU)(
            self.width, stride=3, merge=self.merge_stem, name="depthwise_2"
        )
        x = first(images, train=train)
        stages["dilated_1"] = x
        x = second(x, images, first, train=train)
        stages["depthwise_2"] = x
        for layer, multiple, stride in SEPARABLE:
            name = f"separable_{layer}"
            x = run(separable(self.width * multiple, stride=stride, name=name), x)
            stages[name] = x
            if layer + 1 in self.positions and self.attention != "none":
                name = f"{self.attention}_{layer + 1}"
                x = run(blocks[self.attention](name=name), x)
                stages[name] = x

        x = nn.Dropout(self.dropout_before_pool, deterministic=not train)(x)
        with jax.named_scope("pool_15"):
            x = global_average_pool(x, self.ops, self.target)  # (B, C)
        stages["pool_15"] = stages["pre_logits"] = x
        x = nn.Dropout(self.dropout_after_pool, deterministic=not train)(x)
        logits = classifier(self.num_classes, self.dtype)(x)
        stages["logits"] = logits
        return logits, stages
