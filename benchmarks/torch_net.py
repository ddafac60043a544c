"""The networks in PyTorch, for Python 3.11 or newer: torchvision's, and DKSENet.

Layers and parameters of DKSENet have the names of the Flax network.
"""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

MEAN, STD = 0.5, 0.25  # as in dkse_jax.data.transform; checked by comparing logits
# Number, channels in widths, stride: as in dkse_jax.models.dkse_net.
SEPARABLE = [(3, 2, 1), (4, 4, 2), (5, 4, 1), (7, 8, 2), (8, 8, 1)]
SEPARABLE += [(10, 16, 2), (11, 16, 1), (13, 32, 2), (14, 32, 1)]
LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}  # Flax's names to PyTorch's
LEAVES |= {"mean": "running_mean", "var": "running_var"}


class NormReLU(nn.Module):
    """Convolutions, the last of which is followed by BatchNorm and ReLU."""

    last = "conv"

    def forward(self, x):
        """Computes (B, C, H, W) -> (B, C', H', W')."""
        return functional.relu(self.norm(getattr(self, self.last)(x)), inplace=True)


class Depthwise(NormReLU):
    """The second layer: depthwise 3×3, stride 3, without padding."""

    last = "depthwise"

    def __init__(self, channels: int):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, 3, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)


class Separable(NormReLU):
    """Depthwise 3×3, padded as XLA's SAME, then pointwise."""

    last = "pointwise"

    def __init__(self, channels: int, features: int, stride: int, size: int):
        super().__init__()
        total = (-(-size // stride) - 1) * stride + 3 - size
        self.pads = (0, 1, 0, 1) if total % 2 else None  # the odd pixel goes below and right
        self.depthwise = nn.Conv2d(
            channels, channels, 3, stride, total // 2, groups=channels, bias=False
        )
        self.pointwise = nn.Conv2d(channels, features, 1, bias=False)
        self.norm = nn.BatchNorm2d(features)

    def forward(self, x):
        """Computes (B, C, H, W) -> (B, features, H / stride, W / stride)."""
        x = functional.pad(x, self.pads) if self.pads else x
        return super().forward(self.depthwise(x))


class Branch(NormReLU):
    """A branch of the DKSE block: a dense k×k convolution that keeps the channels."""

    def __init__(self, channels: int, kernel: int, dilation: int):
        super().__init__()
        padding = (kernel - 1) * dilation // 2
        self.conv = nn.Conv2d(
            channels, channels, kernel, padding=padding, dilation=dilation, bias=False
        )
        self.norm = nn.BatchNorm2d(channels)


class DKSE(nn.Module):
    """The DKSE block with the shared gate."""

    def __init__(self, channels: int, settings: dict[str, Any]):
        super().__init__()
        self.branches = len(settings["kernel_sizes"])
        sizes = zip(settings["kernel_sizes"], settings["dilations"], strict=True)
        for i, (kernel, dilation) in enumerate(sizes, start=1):
            self.add_module(f"branch_{i}", Branch(channels, kernel, dilation))
        hidden = channels // settings["reduction"]
        self.gate = nn.ModuleDict(
            {
                "reduce": nn.Linear(channels, hidden, bias=False),
                "expand": nn.Linear(hidden, channels, bias=False),
            }
        )

    def forward(self, x):
        """Computes (B, C, H, W) -> (B, C, H, W)."""
        fused = self.branch_1(x)
        for i in range(2, self.branches + 1):
            fused = fused + getattr(self, f"branch_{i}")(x)
        hidden = functional.relu(self.gate["reduce"](fused.mean((2, 3))))
        gate = torch.sigmoid(self.gate["expand"](hidden))
        return fused * gate[:, :, None, None]


class DKSENet(nn.Module):
    """dkse_jax.models.dkse_net.DKSENet of a config, with the same names."""

    def __init__(self, config: dict[str, Any]):
        super().__init__()
        model, channels = config["model"], config["model"]["width"]
        size = (config["data"]["image_size"] - 3) // 3 + 1
        self.dropouts = model["dropout_before_pool"], model["dropout_after_pool"]
        self.dilated_1 = nn.Conv2d(3, channels, 3, padding=2, dilation=2, bias=False)
        self.depthwise_2 = Depthwise(channels)
        self.order = ["dilated_1", "depthwise_2"]
        for layer, multiple, stride in SEPARABLE:
            features = model["width"] * multiple
            self._append(f"separable_{layer}", Separable(channels, features, stride, size))
            channels, size = features, -(-size // stride)
            if layer + 1 in model["positions"]:
                self._append(f"dkse_{layer + 1}", DKSE(channels, model))
        self.logits = nn.Linear(channels, config["data"]["synthetic"]["kinds"])

    def _append(self, name: str, layer: nn.Module) -> None:
        self.add_module(name, layer)
        self.order.append(name)

    def forward(self, images):
        """Computes the logits (B, K) of images (B, S, S, 3) uint8."""
        x = normalised(images)
        for name in self.order:
            x = getattr(self, name)(x)
        x = functional.dropout(x, self.dropouts[0], self.training).mean((2, 3))
        return self.logits(functional.dropout(x, self.dropouts[1], self.training))


class Published(nn.Module):
    """A network of torchvision, with its dropout, for uint8 images."""

    def __init__(self, name: str, classes: int):
        super().__init__()
        from torchvision import models  # here, since DKSENet does not need it

        self.net = models.get_model(name, num_classes=classes)

    def forward(self, images):
        """Computes the logits (B, K) of images (B, S, S, 3) uint8."""
        return self.net(normalised(images))


def normalised(images):
    """Normalises (B, S, S, 3) uint8 -> (B, 3, S, S), channels_last in memory."""
    return (images.permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


def make_net(config: dict[str, Any], arrays: dict[str, np.ndarray]) -> nn.Module:
    """Builds the config's network with the weights of `benchmarks.jax_side.save_weights`."""
    name = config["model"]["name"]
    if name == "dkse_net":
        net = DKSENet(config)
        load(net, arrays)
        return net
    published = Published(name, config["data"]["synthetic"]["kinds"])
    published.net.load_state_dict({key: torch.from_numpy(array) for key, array in arrays.items()})
    return published


def load(net: DKSENet, arrays: dict[str, np.ndarray]) -> None:
    """Loads all of Flax's variables, such as params/separable_3/norm/scale."""
    state = {}
    for key, array in arrays.items():
        _, *names, leaf = key.split("/")
        if leaf == "kernel":  # HWIO -> OIHW, (in, out) -> (out, in)
            array = array.transpose((3, 2, 0, 1) if array.ndim == 4 else (1, 0))
        state[".".join([*names, LEAVES[leaf]])] = torch.tensor(array)
    net.load_state_dict(state)


def fold(net: nn.Module) -> None:
    """Folds every BatchNorm of a DKSENet into the convolution before it; sets eval mode."""
    for module in net.eval().modules():
        if isinstance(module, NormReLU):
            fused = fuse_conv_bn_eval(getattr(module, module.last), module.norm)
            setattr(module, module.last, fused)
            module.norm = nn.Identity()
