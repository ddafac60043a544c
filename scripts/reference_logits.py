"""Logits of torchvision and timm with drawn weights, as reference for the tests of the networks.

    python -m scripts.reference_logits tests/models/reference.json

needs torch, torchvision and timm (Python 3.11 or newer; pip install torch==2.14.1
torchvision==0.29.1 timm==1.0.31). The tests draw the same weights, so that logits, counts and
digests of names suffice; they use only what does not need torch.
"""

import hashlib
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = 5
# Our name, the library, its name. A network's first library gives the reference.
NETWORKS = (
    ("alexnet", "torchvision", "alexnet"),
    ("vgg16", "torchvision", "vgg16"),
    ("vgg16", "timm", "vgg16"),
    ("vgg19", "torchvision", "vgg19"),
    ("vgg19", "timm", "vgg19"),
    ("resnet18", "torchvision", "resnet18"),
    ("resnet34", "torchvision", "resnet34"),
    ("resnet50", "torchvision", "resnet50"),
    ("resnet50", "timm", "resnet50"),
    ("resnet101", "torchvision", "resnet101"),
    ("resnet152", "torchvision", "resnet152"),
    ("se_resnet50", "timm", "seresnet50"),
    ("inception_v4", "timm", "inception_v4"),
)
# Rows and columns of the two images whose logits are stored. At a stride of 2, PyTorch's padding
# and XLA's SAME differ for even sides.
IMAGES = {
    "alexnet": (64, 299),
    "vgg16": (64, 97),
    "resnet50": (97, 88),
    "se_resnet50": (64, 75),
    "inception_v4": (75, 107),
}
COUNTED_AT = {"inception_v4": 299}  # pixels; the others at 224


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draws the float32 values of a tensor as a function of its published name and shape.

    Kernels have He et al.'s variance, running variances are in (0.5, 1.5), "images" has variance
    1. The last norm of a bottleneck has a quarter of the scale: otherwise the sums of sixteen
    blocks grow until later biases are lost by rounding.
    """
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    values = np.random.Generator(np.random.Philox(key=key)).random(shape, np.float32)
    values *= 2
    values -= 1
    leaf = name.rpartition(".")[2]
    if name == "images":
        scale, middle = 3**0.5, 0.0
    elif leaf == "running_var":
        scale, middle = 0.5, 1.0
    elif leaf in ("running_mean", "bias"):
        scale, middle = 0.2, 0.0
    elif len(shape) == 1:
        middle = 0.25 if name.endswith("bn3.weight") else 1.0
        scale = 0.2 * middle
    else:
        scale, middle = (6 / math.prod(shape[1:])) ** 0.5, 0.0
    values *= scale
    values += middle
    return values


def digest(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Returns the SHA-256 of names and shapes."""
    lines = [f"{name} {'×'.join(map(str, shape))}\n" for name, shape in sorted(shapes.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def make(library: str, name: str) -> Any:
    """Builds the library's network for CLASSES classes, in evaluation mode, untrained."""
    import timm
    import torchvision

    if library == "timm":
        return timm.create_model(name, num_classes=CLASSES).eval()
    return torchvision.models.get_model(name, num_classes=CLASSES).eval()


def describe(library: str, name: str, side: int) -> dict[str, Any]:
    """Returns trainable parameters, MACs of one square image, and a digest of tensor names."""
    import torch

    with torch.device("meta"):
        net = make(library, name)
        macs = 0

        def add(layer, inputs, output) -> None:
            nonlocal macs
            macs += output.numel() * layer.weight.numel() // layer.weight.shape[0]

        for layer in net.modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                layer.register_forward_hook(add)
        net(torch.empty(1, 3, side, side))
    return {
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "pixels": side,
        "macs": macs,
        "tensors": digest({name: tuple(t.shape) for name, t in floats(net).items()}),
    }


def floats(net: Any) -> dict[str, Any]:
    """Returns the floating-point tensors of a network, thus without the counters of batches."""
    return {name: t for name, t in net.state_dict().items() if t.is_floating_point()}


def logits(library: str, name: str, size: tuple[int, int]) -> list[list[float]]:
    """Computes the logits of two drawn images in float64 with drawn weights."""
    import torch

    net = make(library, name)
    for tensor_name, tensor in floats(net).items():
        tensor.copy_(torch.from_numpy(draw(tensor_name, tuple(tensor.shape))))
    images = torch.from_numpy(draw("images", (2, *size, 3))).permute(0, 3, 1, 2)
    with torch.inference_mode():
        return net.double()(images.double()).tolist()


def main(path: Path) -> None:
    """Writes the references of all networks to a JSON file."""
    import timm
    import torch
    import torchvision

    libraries: dict[str, Any] = {"timm": timm, "torch": torch, "torchvision": torchvision}
    result: dict[str, Any] = {
        "made_with": {name: library.__version__ for name, library in libraries.items()},
        "networks": {},
        "logits": {},
    }
    for ours, library, name in NETWORKS:
        description = describe(library, name, COUNTED_AT.get(ours, 224))
        result["networks"].setdefault(ours, {})[library] = description
        if ours in IMAGES and ours not in result["logits"]:
            result["logits"][ours] = logits(library, name, IMAGES[ours])
        print(ours, library, description, flush=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
