"""The PyTorch backend: the same network and train step, channels_last, eager or compiled.

Runs in the interpreter of --torch-python: python -m benchmarks.torch_side
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
    """Builds the task of a kind, train or inference, on a batch of the config's size."""
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
    """Builds the task of computing a batch's logits with the folded network."""
    forward = compiled(net, dynamic=False)

    def call() -> None:
        with torch.inference_mode(), precision(settings):
            forward(images)
        wait()

    checked = forward if settings["model"]["dtype"] == "float32" else net
    return Task(call, lambda: logits(checked, images), device_peak())


def train_task(net: nn.Module, settings: dict, images, labels, compiled: Callable) -> Task:
    """Builds the task of one update, as in dkse_jax.training.steps."""
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
    """Returns the context of the config's dtype: autocast, but for float32."""
    if settings["model"]["dtype"] == "float32":
        return contextlib.nullcontext()
    return torch.autocast(DEVICE.type, getattr(torch, settings["model"]["dtype"]))


def logits(forward: Callable, images) -> np.ndarray:
    """Computes (B, K) float32, without TF32."""
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        return forward(images).cpu().numpy()


def wait() -> None:
    """Waits until the accelerator is idle."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def device_peak() -> Callable[[], int] | None:
    """Returns the function of `Task.device_peak`."""
    return torch.cuda.max_memory_allocated if DEVICE.type == "cuda" else None


def roofline(dtype: str) -> dict[str, Any]:
    """Measures operations a second of a matrix product."""

    def multiply(matrix) -> None:
        matrix @ matrix
        wait()

    kind = getattr(torch, dtype)
    return {
        "flops_per_s": product_rate(lambda n: torch.ones(n, n, dtype=kind, device=DEVICE), multiply)
    }


if __name__ == "__main__":
    serve(build, roofline=roofline)
