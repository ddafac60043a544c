"""Channel attention: squeeze-and-excitation (SE) and the paper's DKSE block (section 4.1).

SE: Hu et al. 2018, "Squeeze-and-Excitation Networks". The softmax gate: Li et al. 2019, "Selective
Kernel Networks".
"""

from functools import partial
from typing import Any

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
    prepared,
    wide_dtype,
)
from dkse_jax.ops.conv import add_kernels, conv, transform

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

    branch_norm "none" leaves out the norm and the ReLU.
    """

    features: int
    kernel_size: int
    dilation: int = 1
    branch_norm: str = "bn_relu"
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Declares the convolution and the norm."""
        shared = (self.ops, self.dtype)
        self.conv = Conv(self.features, self.features, self.kernel_size, self.dilation, *shared)
        if self.branch_norm == "bn_relu":
            self.norm = BatchNormReLU(self.features, *shared)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(B, H, W, features) -> the same shape."""
        if self.branch_norm == "none":
            return self.conv(x, train=train)
        return conv_norm_relu(self.conv, self.norm, x, train=train)


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
        shared: dict[str, Any] = {
            "branch_norm": self.branch_norm,
            "ops": self.ops,
            "dtype": self.dtype,
        }
        branches = [
            Branch(x.shape[-1], k, d, name=f"branch_{i}", **shared)
            for i, (k, d) in enumerate(zip(self.kernel_sizes, dilations, strict=True), start=1)
        ]
        gate = Gate(self.gate, len(branches), self.reduction, self.dtype, name="gate")
        if not train and self._is_one_convolution(dilations):
            fused = self._merged(branches, x)
            return fused * gate(fused)[:, 0]
        maps = [branch(x, train=train) for branch in branches]
        fused = sum(maps[1:], start=maps[0])
        gates = gate(fused)
        if self.gate == "shared_sigmoid":
            return fused * gates[:, 0]
        weighted = [u * gates[:, i] for i, u in enumerate(maps)]
        return sum(weighted[1:], start=weighted[0])

    def _is_one_convolution(self, dilations: tuple[int, ...]) -> bool:
        """Whether the sum of the branches is one convolution of a size that costs no more."""
        linear = self.branch_norm == "none" and self.gate == "shared_sigmoid"
        spans = [(k - 1) * d + 1 for k, d in zip(self.kernel_sizes, dilations, strict=True)]
        odd = all(k % 2 for k in self.kernel_sizes)
        return linear and odd and max(spans) <= 5 and self.ops != "plain"

    def _merged(self, branches: list[Branch], x: jax.Array) -> jax.Array:
        """The sum of linear branches: the convolution of x with the sum of their kernels."""

        def kernel() -> jax.Array:
            total = add_kernels([(branch.conv.kernel, branch.dilation) for branch in branches])
            return total.astype(self.dtype)

        ready = partial(transform, form=self.ops)
        weights = prepared(self, "kernel", kernel, ready)
        return conv(x.astype(self.dtype), weights, form=self.ops)


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
