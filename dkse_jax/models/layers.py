"""The layers of the paper's network: dilated, depthwise and separable convolutions (section 4.2).

No convolution has a bias: a norm, or the next layer, follows each of them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike

from dkse_jax.ops.conv import conv, transform
from dkse_jax.ops.depthwise import depthwise_conv
from dkse_jax.ops.forms import in_form
from dkse_jax.ops.norm import batch_norm_relu
from dkse_jax.ops.stem import conv_then_depthwise, merge_depthwise, merged_conv

# The paper gives neither the initialisation nor the norm's constants: these are ours. Kernels that
# feed a ReLU get twice the variance. A depthwise kernel (k, k, 1, C) has a fan-in of k·k.
he_normal = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")
lecun_normal = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
NORM_MOMENTUM = 0.9
NORM_EPSILON = 1e-5


def wide_dtype(dtype: DTypeLike) -> jnp.dtype:
    """The dtype of parameters and of sums where activations are of `dtype`: at least float32."""
    return jnp.promote_types(dtype, jnp.float32)


def prepared(
    module: nn.Module,
    name: str,
    make: Callable[[], Any],
    finish: Callable[[Any], Any] = lambda value: value,
) -> Any:
    """What `make` computes from the weights alone, or what `prepare` has kept of it.

    `prepare` runs the network with the collection "prepared" open to be written, for which `finish`
    makes the value ready; later runs that have the collection take the values from it.
    """
    if module.has_variable("prepared", name):
        return module.get_variable("prepared", name)
    value = make()
    if module.is_mutable_collection("prepared") and not module.is_initializing():
        value = finish(value)
        module.put_variable("prepared", name, value)
    return value


def global_average_pool(x: jax.Array, form: str = "plain") -> jax.Array:
    """(B, H, W, C) -> (B, C), the mean over the pixels, in at least float32 (Eq. 8).

    form: fast, which is auto on CPU, keeps the mean apart from what came before. XLA:CPU would make
    one operation of it and a matrix product, which leaves cores idle where there are few images.
    """

    def mean(x: jax.Array) -> jax.Array:
        return jnp.mean(x, axis=(1, 2), dtype=wide_dtype(x.dtype))

    return in_form(form, mean, lambda x: mean(lax.optimization_barrier(x)), x)


class Conv(nn.Module):
    """Dense k×k convolution, stride 1, SAME: (B, H, W, in_features) -> (B, H, W, features).

    A dilation d spreads the k taps of a side over (k - 1)·d + 1 pixels.
    """

    in_features: int
    features: int
    kernel_size: int = 3
    dilation: int = 1
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Declares the kernel (k, k, in_features, features)."""
        k = self.kernel_size
        shape = (k, k, self.in_features, self.features)
        self.kernel = self.param("kernel", he_normal, shape, wide_dtype(self.dtype))

    def __call__(
        self, x: jax.Array, *, train: bool = False, slope: jax.Array | None = None
    ) -> jax.Array:
        """Convolves x and weighs each channel of the result by slope (features,)."""
        options: dict[str, Any] = {"dilation": self.dilation, "form": self.ops}

        def kernel() -> jax.Array:
            return _weighed(self.kernel, slope).astype(self.dtype)

        ready = partial(transform, **options)
        weights = kernel() if train else prepared(self, "kernel", kernel, ready)
        return conv(x.astype(self.dtype), weights, **options)


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
            return _weighed(self.kernel, slope).astype(self.dtype)

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
        images, depthwise = images.astype(self.dtype), _weighed(self.kernel, slope)
        if train:
            kernels = first.kernel.astype(self.dtype), depthwise.astype(self.dtype)
            options: dict[str, Any] = {"dilation": first.dilation, "stride": self.stride}
            return conv_then_depthwise(images, *kernels, form=self.ops, **options)

        def kernel() -> jax.Array:
            return merge_depthwise(first.kernel, depthwise, first.dilation).astype(self.dtype)

        reach = (first.kernel_size - 1) * first.dilation // 2
        both = prepared(self, "kernel", kernel)
        return merged_conv(images, both, reach=reach, stride=self.stride)


def _weighed(kernel: jax.Array, slope: jax.Array | None) -> jax.Array:
    return kernel if slope is None else kernel * slope[None, None, None, :]


class BatchNormReLU(nn.Module):
    """Batch normalisation -> ReLU; statistics are kept in at least float32."""

    features: int
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Declares scale, bias and the running mean and variance, each (features,)."""
        wide, shape = wide_dtype(self.dtype), (self.features,)
        self.scale = self.param("scale", nn.initializers.ones, shape, wide)
        self.bias = self.param("bias", nn.initializers.zeros, shape, wide)
        self.mean = self.variable("batch_stats", "mean", jnp.zeros, shape, wide)
        self.var = self.variable("batch_stats", "var", jnp.ones, shape, wide)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalises x (B, H, W, features) by its own statistics and moves the running ones."""
        y, *batch = batch_norm_relu(x, self.scale, self.bias, epsilon=NORM_EPSILON, form=self.ops)
        if not self.is_initializing():
            for running, value in zip((self.mean, self.var), batch, strict=True):
                running.value = NORM_MOMENTUM * running.value + (1 - NORM_MOMENTUM) * value
        return y

    def slope_and_shift(self) -> tuple[jax.Array, jax.Array]:
        """What normalising by the running statistics multiplies by, and then adds: (features,)."""

        def both() -> tuple[jax.Array, jax.Array]:
            slope = self.scale * lax.rsqrt(self.var.value + NORM_EPSILON)
            return slope, self.bias - self.mean.value * slope

        return prepared(self, "slope_and_shift", both)


def conv_norm_relu(
    layer: Callable[..., jax.Array], norm: BatchNormReLU, x: jax.Array, *, train: bool
) -> jax.Array:
    """layer -> norm -> ReLU; in evaluation the norm is folded into the kernel and a bias."""
    if train:
        return norm(layer(x, train=True))
    slope, shift = norm.slope_and_shift()
    y = layer(x, slope=slope)
    return nn.relu(y + shift.astype(y.dtype)[None, None, None, :])


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
        norm = BatchNormReLU(self.features, name="norm", **shared)
        if self.ops == "plain":
            return conv_norm_relu(depthwise, norm, x, train=train)
        return conv_norm_relu(partial(depthwise.after, first), norm, images, train=train)


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
        norm = BatchNormReLU(self.features, name="norm", **shared)
        return conv_norm_relu(pointwise, norm, x, train=train)


def is_pointwise_kernel(path: tuple[Any, ...]) -> bool:
    """Whether `path` into a network's parameters leads to a separable convolution's 1×1 kernel.

    The paper puts its L2 penalty on these alone. path: a key path of `jax.tree_util`, or the names.
    """
    names = tuple(getattr(key, "key", key) for key in path)
    return names[-2:] == ("pointwise", "kernel")
