"""The layers of the paper's network: dilated, depthwise and separable convolutions (section 4.2).

No convolution has a bias: a norm, or the next layer, follows each of them.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike

from dkse_jax.ops.depthwise import depthwise_conv
from dkse_jax.ops.pointwise import pointwise_conv

# The paper gives neither the initialisation nor the norm's constants: these are ours. Kernels that
# feed a ReLU get twice the variance. A depthwise kernel (k, k, 1, C) has a fan-in of k·k.
he_normal = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")
lecun_normal = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
NORM_MOMENTUM = 0.9
NORM_EPSILON = 1e-5


def wide_dtype(dtype: DTypeLike) -> jnp.dtype:
    """The dtype of parameters and of sums where activations are of `dtype`: at least float32."""
    return jnp.promote_types(dtype, jnp.float32)


def batch_norm(x: jax.Array, *, train: bool, name: str = "norm") -> jax.Array:
    """Batch normalisation inside a compact method; statistics are kept in at least float32."""
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=NORM_MOMENTUM,
        epsilon=NORM_EPSILON,
        dtype=x.dtype,
        param_dtype=wide_dtype(x.dtype),
        name=name,
    )(x)


def global_average_pool(x: jax.Array) -> jax.Array:
    """(B, H, W, C) -> (B, C), the mean over the pixels, in at least float32 (Eq. 8)."""
    return jnp.mean(x, axis=(1, 2), dtype=wide_dtype(x.dtype))


class Conv(nn.Module):
    """Dense k×k convolution, stride 1, SAME: (B, H, W, C) -> (B, H, W, features).

    A dilation d spreads the k taps of a side over (k - 1)·d + 1 pixels.
    """

    features: int
    kernel_size: int = 3
    dilation: int = 1
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolves x."""
        k = self.kernel_size
        shape = (k, k, x.shape[-1], self.features)
        kernel = self.param("kernel", he_normal, shape, wide_dtype(self.dtype)).astype(self.dtype)
        if k == 1:
            return pointwise_conv(x.astype(self.dtype), kernel, form=self.ops)
        return lax.conv_general_dilated(
            x.astype(self.dtype),
            kernel,
            window_strides=(1, 1),
            padding="SAME",
            rhs_dilation=(self.dilation, self.dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )


class DepthwiseConv(nn.Module):
    """One k×k filter for every channel: (B, H, W, C) -> (B, H', W', C)."""

    kernel_size: int = 3
    stride: int = 1
    padding: Literal["SAME", "VALID"] = "SAME"
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolves every channel of x."""
        k = self.kernel_size
        shape = (k, k, 1, x.shape[-1])
        kernel = self.param("kernel", lecun_normal, shape, wide_dtype(self.dtype))
        return depthwise_conv(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            stride=self.stride,
            padding=self.padding,
            form=self.ops,
        )


class DepthwiseNormReLU(nn.Module):
    """Depthwise 3×3, VALID -> norm -> ReLU: the network's second layer."""

    stride: int = 1
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(B, H, W, C) -> (B, H', W', C); train: normalise by the batch, update the statistics."""
        x = DepthwiseConv(
            stride=self.stride, padding="VALID", ops=self.ops, dtype=self.dtype, name="depthwise"
        )(x)
        return nn.relu(batch_norm(x, train=train))


class SeparableConv(nn.Module):
    """Depthwise 3×3 (with the stride) -> pointwise 1×1 -> norm -> ReLU (Eqs. 11-12)."""

    features: int
    stride: int = 1
    norm: bool = True
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(B, H, W, C) -> (B, H', W', features), H' = ceil(H / stride)."""
        x = DepthwiseConv(stride=self.stride, ops=self.ops, dtype=self.dtype, name="depthwise")(x)
        x = Conv(self.features, 1, ops=self.ops, dtype=self.dtype, name="pointwise")(x)
        if self.norm:
            x = batch_norm(x, train=train)
        return nn.relu(x)


def is_pointwise_kernel(path: tuple[Any, ...]) -> bool:
    """Whether `path` into a network's parameters leads to a separable convolution's 1×1 kernel.

    The paper puts its L2 penalty on these alone. path: a key path of `jax.tree_util`, or the names.
    """
    names = tuple(getattr(key, "key", key) for key in path)
    return names[-2:] == ("pointwise", "kernel")
