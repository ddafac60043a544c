"""The paper's network (Fig. 10): a stem, nine separable convolutions, DKSE blocks, a classifier."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from dkse_jax.errors import UserError, nearest
from dkse_jax.models.attention import DKSE, check_block
from dkse_jax.models.layers import (
    Conv,
    DepthwiseNormReLU,
    SeparableConv,
    global_average_pool,
    lecun_normal,
    wide_dtype,
)
from dkse_jax.ops.forms import FORMS

POSITIONS = (6, 9, 12)
NORM_PLACEMENTS = ("all", "second_layer_only")
MIN_IMAGE_SIZE = 32

# The paper's layer ID, channels as a multiple of the stem's, stride. The missing IDs are POSITIONS.
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

    width: channels of the stem. positions: which of IDs 6, 9, 12 hold a DKSE block, whose fields
    are kernel_sizes, dilations, reduction, gate and branch_norm (see `DKSE`). norm_placement "all"
    normalises after the second layer and every pointwise convolution, "second_layer_only" (the
    paper's literal words) after the second layer; the blocks' own norms follow branch_norm.
    dropout_*: rates, before and after the global average pool. ops: the form of the arithmetic
    (auto | plain | fast). dtype: of the activations; parameters, statistics and logits are of at
    least float32. Raises UserError for values that do not exist or do not fit.
    """

    num_classes: int
    width: int = 32
    positions: tuple[int, ...] = (6,)
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

    def __post_init__(self) -> None:
        unknown = [position for position in self.positions if position not in POSITIONS]
        if unknown:
            raise UserError(f"no DKSE block can stand at layer {unknown[0]}; choose of {POSITIONS}")
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
        """(B, H, W, 3) -> the logits (B, num_classes), and every named stage in order.

        A stage is the output of the layer of that name. (What `jax.jit` returns is sorted by name.)
        train: normalise by the batch (apply with mutable=["batch_stats"]) and drop out (with an rng
        "dropout"). Raises UserError for images below 32 pixels.
        """
        if min(images.shape[1:3]) < MIN_IMAGE_SIZE:
            height, width = images.shape[1:3]
            raise UserError(
                f"images of {height}×{width} pixels are too small for DKSENet; the least is "
                f"{MIN_IMAGE_SIZE}×{MIN_IMAGE_SIZE}"
            )
        separable = partial(
            SeparableConv, norm=self.norm_placement == "all", ops=self.ops, dtype=self.dtype
        )
        block = partial(
            DKSE,
            kernel_sizes=self.kernel_sizes,
            dilations=self.dilations,
            reduction=self.reduction,
            gate=self.gate,
            branch_norm=self.branch_norm,
            ops=self.ops,
            dtype=self.dtype,
        )
        stages: dict[str, jax.Array] = {}

        first = Conv(3, self.width, 3, 2, self.ops, self.dtype, name="dilated_1")
        second = DepthwiseNormReLU(self.width, 3, self.ops, self.dtype, name="depthwise_2")
        x = first(images, train=train)
        stages["dilated_1"] = x
        x = second(x, images, first, train=train)
        stages["depthwise_2"] = x
        for layer, multiple, stride in SEPARABLE:
            name = f"separable_{layer}"
            x = separable(self.width * multiple, stride, name=name)(x, train=train)
            stages[name] = x
            if layer + 1 in self.positions:
                name = f"dkse_{layer + 1}"
                x = block(name=name)(x, train=train)
                stages[name] = x

        x = nn.Dropout(self.dropout_before_pool, deterministic=not train)(x)
        with jax.named_scope("pool_15"):
            x = global_average_pool(x, self.ops)  # (B, C)
        stages["pool_15"] = x
        x = nn.Dropout(self.dropout_after_pool, deterministic=not train)(x)
        wide = wide_dtype(self.dtype)
        logits = nn.Dense(
            self.num_classes, kernel_init=lecun_normal, dtype=wide, param_dtype=wide, name="logits"
        )(x)
        stages["logits"] = logits
        return logits, stages
