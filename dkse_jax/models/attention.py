"""Channel attention: squeeze-and-excitation (SE), selective kernels (SK), and DKSE (section 4.1).

SE: Hu et al. 2018, "Squeeze-and-Excitation Networks". SK: Li et al. 2019, "Selective Kernel
Networks". DKSE is the paper's block.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from dkse_jax.errors import UserError, nearest
from dkse_jax.models.layers import (
    BatchNorm,
    Conv,
    ConvNorm,
    conv_in_evaluation,
    conv_norm,
    he_normal,
    inherit,
    lecun_normal,
)
from dkse_jax.models.pooling import global_average_pool
from dkse_jax.ops.conv import add_kernels
from dkse_jax.ops.forms import ANY, Target
from dkse_jax.ops.plain import wide_dtype

GATES = ("shared_sigmoid", "branch_sigmoid", "selective_softmax")
BRANCH_NORMS = ("bn_relu", "none")
SK_LEAST_HIDDEN = 32  # L of Eq. 4 of Li et al. 2019


class Gate(nn.Module):
    """Squeeze and excitation, F_ex(F_sq(u)): pool -> FC C/r -> ReLU -> FC -> a gate per channel.

    kind: shared_sigmoid is one gate for all branches; branch_sigmoid is one gate for each branch;
    selective_softmax is the same with weights that sum to 1 over the branches.
    """

    kind: str = "shared_sigmoid"
    branches: int = 1
    reduction: int = 4
    use_bias: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, u: jax.Array) -> jax.Array:
        """Computes (B, H, W, C) -> (B, n, 1, 1, C); n is 1 for a shared gate, else `branches`."""
        batch, channels = u.shape[0], u.shape[-1]
        gates = 1 if self.kind == "shared_sigmoid" else self.branches
        dense = partial(
            nn.Dense,
            use_bias=self.use_bias,
            dtype=self.dtype,
            param_dtype=wide_dtype(self.dtype),
        )
        z = global_average_pool(u)
        hidden = max(1, channels // self.reduction)
        z = nn.relu(dense(hidden, kernel_init=he_normal, name="reduce")(z))
        z = dense(gates * channels, kernel_init=lecun_normal, name="expand")(z)
        z = z.reshape(batch, gates, 1, 1, channels)
        return nn.softmax(z, axis=1) if self.kind == "selective_softmax" else nn.sigmoid(z)


class SE(nn.Module):
    """Squeeze-and-excitation: scales each channel of x by a sigmoid gate computed from x.

    The paper's fully connected layers have biases (use_bias); in place of a DKSE block they have
    none, like that block's gate.
    """

    reduction: int = 4
    use_bias: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Computes (B, H, W, C) -> (B, H, W, C), in training as in evaluation."""
        gate = Gate(reduction=self.reduction, use_bias=self.use_bias, dtype=self.dtype, name="gate")
        return x * gate(x)[:, 0]


class Branch(nn.Module):
    """One branch of a block: a dense k×k convolution -> norm -> ReLU, with unchanged channels.

    branch_norm "none" leaves out the norm and the ReLU.
    """

    features: int
    kernel_size: int
    dilation: int = 1
    branch_norm: str = "bn_relu"
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32
    target: Target = ANY

    def setup(self) -> None:
        """Declares the convolution and the norm."""
        conv = inherit(self, Conv)
        self.conv = conv(self.features, self.features, self.kernel_size, self.dilation)
        if self.branch_norm == "bn_relu":
            self.norm = inherit(self, BatchNorm)(self.features)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Computes (B, H, W, features) -> the same shape."""
        if self.branch_norm == "none":
            return self.conv(x, train=train)
        return conv_norm(self.conv, self.norm, x, train=train)


class DKSE(nn.Module):
    """The dual-kernel squeeze-and-excitation block: V = Σ_i U_i · F_ex(F_sq(Σ_j U_j)) (Eq. 9).

    U_i is branch i's map, one for each of kernel_sizes; dilations defaults to 1 for each. There is
    no residual, and nothing after the sum. With a shared gate this is SE of the sum of the
    branches, which are not one larger convolution because of their ReLUs (branch_norm "bn_relu").
    Raises UserError for inconsistent fields.
    """

    kernel_sizes: tuple[int, ...] = (1, 5)
    dilations: tuple[int, ...] | None = None
    reduction: int = 4
    gate: str = "shared_sigmoid"
    branch_norm: str = "bn_relu"
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32
    target: Target = ANY

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
        """Computes (B, H, W, C) -> (B, H, W, C)."""
        dilations = self.dilations or (1,) * len(self.kernel_sizes)
        branch = inherit(self, Branch)
        branches = [
            branch(x.shape[-1], k, d, self.branch_norm, name=f"branch_{i}")
            for i, (k, d) in enumerate(zip(self.kernel_sizes, dilations, strict=True), start=1)
        ]
        gate = Gate(self.gate, len(branches), self.reduction, dtype=self.dtype, name="gate")
        if not train and self._is_one_convolution(dilations):
            fused = self._merged(branches, x)
            return fused * gate(fused)[:, 0]
        maps = [branch(x, train=train) for branch in branches]
        fused = _sum(maps)
        gates = gate(fused)
        if self.gate == "shared_sigmoid":
            return fused * gates[:, 0]
        return _sum([u * gates[:, i] for i, u in enumerate(maps)])

    def _is_one_convolution(self, dilations: tuple[int, ...]) -> bool:
        """Returns whether the sum of the branches is one convolution that costs no more."""
        linear = self.branch_norm == "none" and self.gate == "shared_sigmoid"
        spans = [(k - 1) * d + 1 for k, d in zip(self.kernel_sizes, dilations, strict=True)]
        odd = all(k % 2 for k in self.kernel_sizes)
        return linear and odd and max(spans) <= 5 and self.ops != "plain"

    def _merged(self, branches: list[Branch], x: jax.Array) -> jax.Array:
        """Convolves x with the sum of the kernels of linear branches."""

        def kernel() -> jax.Array:
            total = add_kernels([(branch.conv.kernel, branch.dilation) for branch in branches])
            return total.astype(self.dtype)

        x = x.astype(self.dtype)
        return conv_in_evaluation(self, x, kernel, form=self.ops, target=self.target)


class SK(nn.Module):
    """The selective kernel block: V = Σ_i U_i · a_i, where Σ_i a_i = 1 in every channel.

    U_i is branch i's map, convolution -> norm -> ReLU; a is the softmax over the branches of
    FC(ReLU(norm(FC(pool(Σ_j U_j))))), without biases and with max(C / reduction, 32) hidden units:
    Eqs. 1-6 of Li et al. 2019. The branches, one for each of kernel_sizes, are dense, like DKSE's;
    SKNet-50 has 32 groups. Raises UserError for inconsistent fields.
    """

    kernel_sizes: tuple[int, ...] = (3, 3)
    dilations: tuple[int, ...] = (1, 2)
    reduction: int = 16
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32
    target: Target = ANY

    def __post_init__(self) -> None:
        check_branches(self.kernel_sizes, self.dilations, self.reduction)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Computes (B, H, W, C) -> (B, H, W, C)."""
        batch, channels = x.shape[0], x.shape[-1]
        maps = [
            inherit(self, Branch)(channels, k, d, name=f"branch_{i}")(x, train=train)
            for i, (k, d) in enumerate(zip(self.kernel_sizes, self.dilations, strict=True), start=1)
        ]
        z = global_average_pool(_sum(maps))[:, None, None, :]
        hidden = max(channels // self.reduction, SK_LEAST_HIDDEN)
        z = inherit(self, ConvNorm)(hidden, 1, name="reduce")(z, train=train)  # (B, 1, 1, hidden)
        expand = nn.Dense(
            len(maps) * channels,
            use_bias=False,
            kernel_init=lecun_normal,
            dtype=self.dtype,
            param_dtype=wide_dtype(self.dtype),
            name="expand",
        )
        weights = nn.softmax(expand(z).reshape(batch, len(maps), 1, 1, channels), axis=1)
        return _sum([u * weights[:, i] for i, u in enumerate(maps)])


def _sum(maps: list[jax.Array]) -> jax.Array:
    return sum(maps[1:], start=maps[0])


def check_branches(
    kernel_sizes: tuple[int, ...], dilations: tuple[int, ...], reduction: int
) -> None:
    """Raises UserError for invalid or inconsistent branches of a block."""
    if not kernel_sizes or min(kernel_sizes) < 1:
        raise UserError(f"kernel_sizes is {kernel_sizes}: give one positive size for each branch")
    if len(dilations) != len(kernel_sizes) or min(dilations) < 1:
        raise UserError(
            f"dilations is {dilations}: give one positive dilation for each of the kernel_sizes "
            f"{kernel_sizes}"
        )
    if reduction < 1:
        raise UserError(f"reduction is {reduction}: give 1 or more")


def check_block(
    kernel_sizes: tuple[int, ...],
    dilations: tuple[int, ...],
    reduction: int,
    gate: str,
    branch_norm: str,
) -> None:
    """Raises UserError for invalid or inconsistent fields of a DKSE block."""
    check_branches(kernel_sizes, dilations, reduction)
    if gate not in GATES:
        raise UserError(f'no gate "{gate}"{nearest(gate, GATES)}')
    if branch_norm not in BRANCH_NORMS:
        raise UserError(f'no branch_norm "{branch_norm}"{nearest(branch_norm, BRANCH_NORMS)}')
