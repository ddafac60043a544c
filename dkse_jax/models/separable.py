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
    inherit,
    lecun_normal,
    precomputed,
    scaled,
)
from dkse_jax.ops.depthwise import depthwise_conv
from dkse_jax.ops.forms import ANY, Target, form_on
from dkse_jax.ops.plain import wide_dtype
from dkse_jax.ops.stem import conv_then_depthwise, merge_depthwise, merged_conv


class DepthwiseConv(nn.Module):
    """One k×k filter for every channel: (B, H, W, features) -> (B, H', W', features)."""

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: Literal["SAME", "VALID"] = "SAME"
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32
    target: Target = ANY

    def setup(self) -> None:
        """Declares the kernel (k, k, 1, features)."""
        shape = (self.kernel_size, self.kernel_size, 1, self.features)
        self.kernel = self.param("kernel", lecun_normal, shape, wide_dtype(self.dtype))

    def __call__(
        self, x: jax.Array, *, train: bool = False, slope: jax.Array | None = None
    ) -> jax.Array:
        """Convolves every channel of x and scales the result by slope (features,)."""

        def kernel() -> jax.Array:
            return scaled(self.kernel, slope).astype(self.dtype)

        return depthwise_conv(
            x.astype(self.dtype),
            kernel() if train else precomputed(self, "kernel", kernel),
            stride=self.stride,
            padding=self.padding,
            form=self.ops,
            target=self.target,
        )

    def after(
        self,
        first: Conv,
        form: str,
        images: jax.Array,
        *,
        train: bool = False,
        slope: jax.Array | None = None,
    ) -> jax.Array:
        """Computes this layer, which must be VALID, of first(images) in one convolution.

        form: that of `conv_then_depthwise` in training.
        """
        images, depthwise = images.astype(self.dtype), scaled(self.kernel, slope)
        if train:
            kernels = first.kernel.astype(self.dtype), depthwise.astype(self.dtype)
            return conv_then_depthwise(
                images,
                *kernels,
                dilation=first.dilation,
                stride=self.stride,
                form=form,
                target=self.target,
            )

        def kernel() -> jax.Array:
            return merge_depthwise(first.kernel, depthwise, first.dilation).astype(self.dtype)

        reach = (first.kernel.shape[0] - 1) * first.dilation // 2
        both = precomputed(self, "merged_kernel", kernel)
        return merged_conv(
            images, both, reach=reach, stride=self.stride, form=self.ops, target=self.target
        )


class DepthwiseNormReLU(nn.Module):
    """Depthwise 3×3, VALID -> norm -> ReLU: the network's second layer, on top of its first.

    merge: see merge_stem of `DKSENet`.
    """

    features: int
    stride: int = 1
    merge: bool | None = None
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32
    target: Target = ANY

    @nn.compact
    def __call__(
        self, x: jax.Array, images: jax.Array, first: Conv, *, train: bool = False
    ) -> jax.Array:
        """Computes x (B, H, W, features), which is first(images), -> (B, H', W', features).

        If merged, computes both layers from the images at once, without x. train: normalises by the
        batch and updates the running averages.
        """
        form = self.ops if self.merge is None else "fast" if self.merge else "plain"
        form = form_on(self.target, form) if train else form
        depthwise = inherit(self, DepthwiseConv)(
            self.features, stride=self.stride, padding="VALID", name="depthwise"
        )
        norm = inherit(self, BatchNorm)(self.features, name="norm")
        if form == "plain":
            return conv_norm(depthwise, norm, x, train=train)
        return conv_norm(partial(depthwise.after, first, form), norm, images, train=train)


class SeparableConv(nn.Module):
    """Depthwise 3×3 (with the stride) -> pointwise 1×1 -> norm -> ReLU (Eqs. 11-12)."""

    features: int
    stride: int = 1
    norm: bool = True
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32
    target: Target = ANY

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Computes (B, H, W, C) -> (B, H', W', features), H' = ceil(H / stride)."""
        channels = x.shape[-1]
        depthwise = inherit(self, DepthwiseConv)(channels, stride=self.stride, name="depthwise")
        x = depthwise(x, train=train)
        pointwise = inherit(self, Conv)(channels, self.features, 1, name="pointwise")
        if not self.norm:
            return nn.relu(pointwise(x, train=train))
        norm = inherit(self, BatchNorm)(self.features, name="norm")
        return conv_norm(pointwise, norm, x, train=train)


def is_pointwise_kernel(path: tuple[Any, ...]) -> bool:
    """Returns whether `path` is that of a separable convolution's 1×1 kernel in the parameters.

    Only these have the paper's L2 penalty. path: a key path of `jax.tree_util`, or the names.
    """
    names = tuple(getattr(key, "key", key) for key in path)
    return names[-2:] == ("pointwise", "kernel")
