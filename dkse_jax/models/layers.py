"""Layers of the networks: dense convolutions, norms, fully connected layers."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike

from dkse_jax.errors import UserError
from dkse_jax.ops.conv import Padding, conv, takes_winograd
from dkse_jax.ops.forms import ANY, Target
from dkse_jax.ops.norm import batch_norm
from dkse_jax.ops.plain import wide_dtype
from dkse_jax.ops.winograd import transform_kernel, winograd_conv

# The papers' initialisations differ, and the paper of DKSE gives neither its own nor the constants
# of its norms: these are ours. Kernels before a ReLU get twice the variance. A depthwise kernel
# (k, k, 1, C) has a fan-in of k·k.
he_normal = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")
lecun_normal = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
NORM_MOMENTUM = 0.9
NORM_EPSILON = 1e-5


def check_image_size(images: jax.Array, least: int, network: str) -> None:
    """Raises UserError if images (B, H, W, 3) have fewer than `least` pixels a side."""
    height, width = images.shape[1:3]
    if min(height, width) < least:
        raise UserError(
            f"images of {height}×{width} pixels are too small for {network}; the least is "
            f"{least}×{least}"
        )


def precomputed(module: nn.Module, name: str, make: Callable[[], Any]) -> Any:
    """Returns make(), which depends on weights alone, or its value stored by `fold`."""
    if module.has_variable("precomputed", name):
        return module.get_variable("precomputed", name)
    value = make()
    if is_folding(module):
        module.put_variable("precomputed", name, value)
    return value


def is_folding(module: nn.Module) -> bool:
    """Returns whether `fold` is running the network."""
    return module.is_mutable_collection("precomputed") and not module.is_initializing()


def conv_in_evaluation(
    module: nn.Module, x: jax.Array, make: Callable[[], jax.Array], **options: Any
) -> jax.Array:
    """Convolves x with the kernel make(), or with its value stored by `fold`.

    `fold` stores a transformed kernel if `conv` is certain to use Winograd's algorithm. options: of
    `ops.conv`.
    """
    if module.has_variable("precomputed", "winograd_kernel"):
        transformed: jax.Array = module.get_variable("precomputed", "winograd_kernel")
        return winograd_conv(x, transformed, options["target"].devices)
    if is_folding(module) and takes_winograd(kernel := make(), **options):
        module.put_variable("precomputed", "winograd_kernel", transform_kernel(kernel))
        return conv(x, kernel, **options)
    return conv(x, precomputed(module, "kernel", make), **options)


def inherit[**P, M](parent: Any, layer: Callable[P, M]) -> Callable[P, M]:
    """Binds the fields ops, dtype and target of a layer to those of its parent."""
    fields = {name: getattr(parent, name) for name in ("ops", "dtype", "target")}
    return cast("Callable[P, M]", partial(layer, **fields))


def plain_form(model: nn.Module) -> nn.Module:
    """Returns the network with each of its layers computed separately by lax."""
    fields: dict[str, Any] = {"ops": "plain", "merge_stem": None}
    return model.clone(**{name: fields[name] for name in fields if hasattr(model, name)})


def scaled(kernel: jax.Array, slope: jax.Array | None) -> jax.Array:
    """Multiplies a kernel (h, w, C, C') by slope (C',) per output channel, if given."""
    return kernel if slope is None else kernel * slope[None, None, None, :]


def recomputed(layer: nn.Module, x: jax.Array, *, train: bool, remat: bool) -> jax.Array:
    """Returns layer(x); with remat, the backward pass keeps x and computes the inside again."""
    if not (train and remat):
        return layer(x, train=train)

    def inside(layer: nn.Module, x: jax.Array) -> jax.Array:
        return layer(x, train=True)

    return nn.remat(inside)(layer, x)


class Conv(nn.Module):
    """Dense convolution: (B, H, W, in_features) -> (B, H', W', features).

    kernel_size: k for k×k taps, or (rows, columns). A dilation d spreads the k taps of a side over
    (k - 1)·d + 1 pixels. padding: as of `ops.conv`, or the number of pixels on every side.
    """

    in_features: int
    features: int
    kernel_size: int | tuple[int, int] = 3
    dilation: int = 1
    stride: int = 1
    padding: Padding | int = "SAME"
    use_bias: bool = False
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32
    target: Target = ANY

    def setup(self) -> None:
        """Declares the kernel (rows, columns, in_features, features) and the bias (features,)."""
        k, wide = self.kernel_size, wide_dtype(self.dtype)
        shape = (*((k, k) if isinstance(k, int) else k), self.in_features, self.features)
        self.kernel = self.param("kernel", he_normal, shape, wide)
        if self.use_bias:
            self.bias = self.param("bias", nn.initializers.zeros, (self.features,), wide)

    def __call__(
        self, x: jax.Array, *, train: bool = False, slope: jax.Array | None = None
    ) -> jax.Array:
        """Convolves x, scales each channel of the result by slope (features,), adds the bias."""
        pad = self.padding
        options: dict[str, Any] = {
            "stride": self.stride,
            "dilation": self.dilation,
            "padding": ((pad, pad), (pad, pad)) if isinstance(pad, int) else pad,
            "form": self.ops,
            "target": self.target,
        }

        def kernel() -> jax.Array:
            return scaled(self.kernel, slope).astype(self.dtype)

        x = x.astype(self.dtype)
        y = (
            conv(x, kernel(), **options)
            if train
            else conv_in_evaluation(self, x, kernel, **options)
        )
        return y + self.bias.astype(y.dtype)[None, None, None, :] if self.use_bias else y


class BatchNorm(nn.Module):
    """Batch normalisation -> ReLU, if relu; statistics are kept in at least float32."""

    features: int
    relu: bool = True
    epsilon: float = NORM_EPSILON
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32
    target: Target = ANY

    def setup(self) -> None:
        """Declares scale, bias and the running mean and variance, each (features,)."""
        wide, shape = wide_dtype(self.dtype), (self.features,)
        self.scale = self.param("scale", nn.initializers.ones, shape, wide)
        self.bias = self.param("bias", nn.initializers.zeros, shape, wide)
        self.mean = self.variable("batch_stats", "mean", jnp.zeros, shape, wide)
        self.var = self.variable("batch_stats", "var", jnp.ones, shape, wide)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalises x (B, H, W, features) by its own statistics; updates the running averages."""
        y, *batch = batch_norm(
            x,
            self.scale,
            self.bias,
            epsilon=self.epsilon,
            centre=self.mean.value,
            relu=self.relu,
            form=self.ops,
            target=self.target,
        )
        if not self.is_initializing():
            for running, value in zip((self.mean, self.var), batch, strict=True):
                running.value = NORM_MOMENTUM * running.value + (1 - NORM_MOMENTUM) * value
        return y

    def by_running_statistics(self, x: jax.Array) -> jax.Array:
        """Normalises x (B, H, W, features) as in evaluation; changes no running average."""
        slope, shift = (vector[None, None, None, :] for vector in self.scale_and_bias())
        y = x.astype(slope.dtype) * slope + shift
        return (nn.relu(y) if self.relu else y).astype(x.dtype)

    def scale_and_bias(self) -> tuple[jax.Array, jax.Array]:
        """Returns scale and bias (features,) of the normalisation by the running statistics."""

        def both() -> tuple[jax.Array, jax.Array]:
            slope = self.scale * lax.rsqrt(self.var.value + self.epsilon)
            return slope, self.bias - self.mean.value * slope

        return precomputed(self, "scale_and_bias", both)


def conv_norm(
    layer: Callable[..., jax.Array], norm: BatchNorm, x: jax.Array, *, train: bool
) -> jax.Array:
    """Applies a layer without bias, then norm: in evaluation as a scaled kernel and a bias."""
    if train:
        return norm(layer(x, train=True))
    slope, shift = norm.scale_and_bias()
    y = layer(x, slope=slope)
    y = y + shift.astype(y.dtype)[None, None, None, :]
    return nn.relu(y) if norm.relu else y


class ConvNorm(nn.Module):
    """Dense convolution without a bias -> norm -> ReLU, if relu."""

    features: int
    kernel_size: int | tuple[int, int] = 3
    stride: int = 1
    padding: Padding | int = "SAME"
    relu: bool = True
    epsilon: float = NORM_EPSILON
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32
    target: Target = ANY

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Computes (B, H, W, C) -> (B, H', W', features)."""
        conv = inherit(self, Conv)(
            x.shape[-1],
            self.features,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            name="conv",
        )
        norm = inherit(self, BatchNorm)(self.features, self.relu, self.epsilon, name="norm")
        return conv_norm(conv, norm, x, train=train)


class ConvReLU(nn.Module):
    """Dense convolution with a bias -> ReLU."""

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: Padding | int = "SAME"
    ops: str = "auto"
    dtype: DTypeLike = jnp.float32
    target: Target = ANY

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Computes (B, H, W, C) -> (B, H', W', features)."""
        conv = inherit(self, Conv)(
            x.shape[-1],
            self.features,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            use_bias=True,
            name="conv",
        )
        return nn.relu(conv(x, train=train))


class DenseReLU(nn.Module):
    """Fully connected -> ReLU: (B, C) -> (B, features)."""

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Computes (B, C) -> (B, features)."""
        wide = wide_dtype(self.dtype)
        dense = nn.Dense(
            self.features, kernel_init=he_normal, dtype=self.dtype, param_dtype=wide, name="dense"
        )
        return nn.relu(dense(x))


def classifier(num_classes: int, dtype: DTypeLike) -> nn.Dense:
    """Returns the last layer of every network, in at least float32: (B, C) -> (B, num_classes)."""
    wide = wide_dtype(dtype)
    return nn.Dense(
        num_classes, kernel_init=lecun_normal, dtype=wide, param_dtype=wide, name="logits"
    )
