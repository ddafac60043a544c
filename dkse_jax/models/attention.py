"""Channel attention: squeeze-and-excitation (SE) and the paper's DKSE block (section 4.1).

SE: Hu et al. 2018, "Squeeze-and-Excitation Networks". The softmax gate: Li et al. 2019, "Selective
Kernel Networks".
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from dkse_jax.errors import UserError, nearest
from dkse_jax.models.layers import (
    BatchNormReLU,
    Conv,
    conv_norm_relu,
    global_average_pool,
    he_normal,
    lecun_normal,
    wide_dtype,
)

GATES = ("shared_sigmoid", "branch_sigmoid", "selective_softmax")
BRANCH_NORMS = ("bn_relu", "none")


class Gate(nn.Module):
    """Squeeze and excitation, F_ex(F_sq(u)): pool -> FC C/r -> ReLU -> FC -> a weight per channel.

    kind: shared_sigmoid is one gate for all branches; branch_sigmoid is one gate for each branch;
    selective_softmax is the same with weights that sum to 1 over the branches.
    """

    kind: str = "shared_sigmoid"
    branches: int = 1
    reduction: int = 4
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, u: jax.Array) -> jax.Array:
        """(B, H, W, C) -> (B, n, 1, 1, C): n is 1 for the shared gate, else `branches`."""
        batch, channels = u.shape[0], u.shape[-1]
        gates = 1 if self.kind == "shared_sigmoid" else self.branches
        z = global_average_pool(u)
        z = self._dense(max(1, channels // self.reduction), he_normal, "reduce")(z)
        z = self._dense(gates * channels, lecun_normal, "expand")(nn.relu(z))
        z = z.reshape(batch, gates, 1, 1, channels)
        return nn.softmax(z, axis=1) if self.kind == "selective_softmax" else nn.sigmoid(z)

    def _dense(self, features: int, init: nn.initializers.Initializer, name: str) -> nn.Dense:
        return nn.Dense(
            features,
            use_bias=False,
            kernel_init=init,
            dtype=self.dtype,
            param_dtype=wide_dtype(self.dtype),
            name=name,
        )


class SE(nn.Module):
    """Squeeze-and-excitation: weighs each channel of x by a sigmoid gate computed from x."""

    reduction: int = 4
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, H, W, C) -> (B, H, W, C)."""
        gate = Gate(reduction=self.reduction, dtype=self.dtype, name="gate")(x)
        return x * gate[:, 0]


class Branch(nn.Module):
    """One branch of the block: a dense k×k convolution that keeps the channels, -> norm -> ReLU.

    norm "none" leaves out the norm and the ReLU.
    """

    kernel_size: int
    dilation: int = 1
    norm: str = "bn_relu"
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(B, H, W, C) -> (B, H, W, C)."""
        channels, shared = x.shape[-1], (self.ops, self.dtype)
        conv = Conv(channels, channels, self.kernel_size, self.dilation, *shared, name="conv")
        if self.norm == "none":
            return conv(x, train=train)
        return conv_norm_relu(conv, BatchNormReLU(channels, *shared, name="norm"), x, train=train)


class DKSE(nn.Module):
    """The dual-kernel squeeze-and-excitation block: V = Σ_i U_i · F_ex(F_sq(Σ_j U_j)) (Eq. 9).

    U_i is branch i's map. There is no residual, and nothing after the sum. As many branches as
    kernel_sizes; dilations defaults to 1 for each. Raises UserError for fields that do not fit.
    With a shared gate this is SE of the sum of the branches; it is the ReLU of each branch
    (branch_norm "bn_relu") that keeps them from being one larger convolution.
    """

    kernel_sizes: tuple[int, ...] = (1, 5)
    dilations: tuple[int, ...] | None = None
    reduction: int = 4
    gate: str = "shared_sigmoid"
    branch_norm: str = "bn_relu"
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        check_block(
            self.kernel_sizes,
            self.dilations or (1,) * len(self.kernel_sizes),
            self.reduction,
            self.gate,
            self.branch_norm,
        )
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(B, H, W, C) -> (B, H, W, C)."""
        dilations = self.dilations or (1,) * len(self.kernel_sizes)
        maps = [
            Branch(k, d, self.branch_norm, self.ops, self.dtype, name=f"branch_{i}")(x, train=train)
            for i, (k, d) in enumerate(zip(self.kernel_sizes, dilations, strict=True), start=1)
        ]
        fused = sum(maps[1:], start=maps[0])
        gates = Gate(self.gate, len(maps), self.reduction, self.dtype, name="gate")(fused)
        if self.gate == "shared_sigmoid":
            return fused * gates[:, 0]
        weighted = [u * gates[:, i] for i, u in enumerate(maps)]
        return sum(weighted[1:], start=weighted[0])


def check_block(
    kernel_sizes: tuple[int, ...],
    dilations: tuple[int, ...],
    reduction: int,
    gate: str,
    branch_norm: str,
) -> None:
    """Raises UserError where the fields of a DKSE block are wrong or do not fit each other."""
    if not kernel_sizes or min(kernel_sizes) < 1:
        raise UserError(f"kernel_sizes is {kernel_sizes}: give one positive size for each branch")
    if len(dilations) != len(kernel_sizes) or min(dilations) < 1:
        raise UserError(
            f"dilations is {dilations}: give one positive dilation for each of the kernel_sizes "
            f"{kernel_sizes}"
        )
    if reduction < 1:
        raise UserError(f"reduction is {reduction}: give 1 or more")
    if gate not in GATES:
        raise UserError(f'no gate "{gate}"{nearest(gate, GATES)}')
    if branch_norm not in BRANCH_NORMS:
        raise UserError(f'no branch_norm "{branch_norm}"{nearest(branch_norm, BRANCH_NORMS)}')
