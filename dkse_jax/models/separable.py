"""Depthwise and separable convolutions: the paper's own layers (section 4.2)."""

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from dkse_jax.models.layers import (
    BatchNorm,
    Conv,
    conv_norm,
    lecun_normal,
    prepared,
    scaled,
    wide_dtype,
)
from dkse_jax.ops.depthwise import depthwise_conv
from dkse_jax.ops.stem import conv_then_depthwise, merge_depthwise, merged_conv


class DepthwiseConv(nn.Module):
    """One k×k filter for every channel: (B, H, W, features) -> (B, H', W', features)."""

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: Literal["SAME", "VALID"] = "SAME"
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Declares the kernel (k, k, 1, features)."""
        shape = (self.kernel_size, self.kernel_size, 1, self.features)
        self.kernel = self.param("kernel", lecun_normal, shape, wide_dtype(self.dtype))

    def __call__(
        self, x: jax.Array, *, train: bool = False, slope: jax.Array | None = None
    ) -> jax.Array:
        """Convolves every channel of x and weighs the result by slope (features,)."""

        def kernel() -> jax.Array:
            return scaled(self.kernel, slope).astype(self.dtype)

        return depthwise_conv(
            x.astype(self.dtype),
            kernel() if train else prepared(self, "kernel", kernel),
            stride=self.stride,
            padding=self.padding,
            form=self.ops,
        )

    def after(
        self,
        first: Conv,
        images: jax.Array,
        *,
        train: bool = False,
        slope: jax.Array | None = None,
    ) -> jax.Array:
        """What this layer makes of first(images), in one convolution of the images: VALID ones."""
        images, depthwise = images.astype(self.dtype), scaled(self.kernel, slope)
        if train:
            kernels = first.kernel.astype(self.dtype), depthwise.astype(self.dtype)
            options: dict[str, Any] = {"dilation": first.dilation, "stride": self.stride}
            return conv_then_depthwise(images, *kernels, form=self.ops, **options)

        def kernel() -> jax.Array:
            return merge_depthwise(first.kernel, depthwise, first.dilation).astype(self.dtype)

        reach = (first.kernel.shape[0] - 1) * first.dilation // 2
        both = prepared(self, "kernel", kernel)
        return merged_conv(images, both, reach=reach, stride=self.stride)


class DepthwiseNormReLU(nn.Module):
    """Depthwise 3×3, VALID -> norm -> ReLU: the network's second layer, on top of its first."""

    features: int
    stride: int = 1
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, images: jax.Array, first: Conv, *, train: bool = False
    ) -> jax.Array:
        """x (B, H, W, features), which is first(images), -> (B, H', W', features).

        Only the plain form reads x: the others make both layers' result from the images at once.
        train: normalise by the batch, update the statistics.
        """
        shared: dict[str, Any] = {"ops": self.ops, "dtype": self.dtype}
        depthwise = DepthwiseConv(
            self.features, stride=self.stride, padding="VALID", name="depthwise", **shared
        )
        norm = BatchNorm(self.features, name="norm", **shared)
        if self.ops == "plain":
            return conv_norm(depthwise, norm, x, train=train)
        return conv_norm(partial(depthwise.after, first), norm, images, train=train)


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
        shared: dict[str, Any] = {"ops": self.ops, "dtype": self.dtype}
        channels = x.shape[-1]
        x = DepthwiseConv(channels, stride=self.stride, name="depthwise", **shared)(x, train=train)
        pointwise = Conv(channels, self.features, 1, name="pointwise", **shared)
        if not self.norm:
            return nn.relu(pointwise(x, train=train))
        norm = BatchNorm(self.features, name="norm", **shared)
        return conv_norm(pointwise, norm, x, train=train)


def is_pointwise_kernel(path: tuple[Any, ...]) -> bool:
    """Whether `path` into a network's parameters leads to a separable convolution's 1×1 kernel.

    The paper puts its L2 penalty on these alone. path: a key path of `jax.tree_util`, or the names.
    """
    names = tuple(getattr(key, "key", key) for key in path)
    return names[-2:] == ("pointwise", "kernel")
