"""PyTorch's side: the same network and the same train step, channels_last, eager or compiled.

Run by the interpreter that --torch-python names: python -m benchmarks.torch_side
"""

import contextlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.serving import Task, product_rate, serve
from benchmarks.torch_net import Separable, fold, make_net

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def build(kind: str, config: str, weights: str, compile: bool) -> Task:
    """The task of a kind, train or inference, on a batch of the config's size."""
    settings = json.loads(config)
    with np.load(weights) as file:
        arrays = dict(file)
    batch = settings["train"]["batch_size"]
    images = torch.tensor(arrays.pop("images")[:batch], device=DEVICE)
    labels = torch.tensor(arrays.pop("labels")[:batch], dtype=torch.int64, device=DEVICE)
    net = make_net(settings, arrays)
    if kind == "inference":
        fold(net)
    net = net.to(DEVICE, memory_format=torch.channels_last)
    compiled = torch.compile if compile else lambda function, **_: function
    if kind == "inference":
        return inference_task(net, settings, images, compiled)
    return train_task(net, settings, images, labels, compiled)


def inference_task(net: nn.Module, settings: dict, images, compiled: Callable) -> Task:
    """The logits of a batch, by the folded network."""
    forward = compiled(net, dynamic=False)

    def call() -> None:
        with torch.inference_mode(), precision(settings):
            forward(images)
        wait()

    checked = forward if settings["model"]["dtype"] == "float32" else net
    return Task(call, lambda: logits(checked, images), device_peak())


def train_task(net: nn.Module, settings: dict, images, labels, compiled: Callable) -> Task:
    """One update, as dkse_jax.training.steps does it."""
    optimizing = settings["optimizer"]
    pointwise = [m.pointwise.weight for m in net.modules() if isinstance(m, Separable)]

    def objective(images, labels):
        with precision(settings):
            scores = net(images)
        smoothing = settings["train"]["label_smoothing"]
        loss = functional.cross_entropy(scores.float(), labels, label_smoothing=smoothing)
        return loss + optimizing["pointwise_l2"] * sum(w.square().sum() for w in pointwise)

    objective = compiled(objective, dynamic=False)
    update = torch.optim.SGD(
        net.parameters(), lr=1e-3, momentum=optimizing["momentum"], nesterov=True, fused=True
    )

    def call() -> None:
        net.train()
        update.zero_grad()
        objective(images, labels).backward()
        nn.utils.clip_grad_norm_(net.parameters(), optimizing["clip_norm"])
        update.step()
        wait()

    return Task(call, lambda: logits(net.eval(), images), device_peak())


def precision(settings: dict):
    """Autocast to the config's dtype; nothing for float32."""
    if settings["model"]["dtype"] == "float32":
        return contextlib.nullcontext()
    return torch.autocast(DEVICE.type, getattr(torch, settings["model"]["dtype"]))


def logits(forward: Callable, images) -> np.ndarray:
    """(B, K) float32, in full float32."""
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        return forward(images).cpu().numpy()


def wait() -> None:
    """Returns when the accelerator has done what it was given."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def device_peak() -> Callable[[], int] | None:
    """See Task."""
    return torch.cuda.max_memory_allocated if DEVICE.type == "cuda" else None


def roofline(dtype: str) -> dict[str, Any]:
    """Operations a second of a matrix product."""

    def multiply(matrix) -> None:
        matrix @ matrix
        wait()

    kind = getattr(torch, dtype)
    return {
        "flops_per_s": product_rate(lambda n: torch.ones(n, n, dtype=kind, device=DEVICE), multiply)
    }


if __name__ == "__main__":
    serve(build, roofline=roofline)
