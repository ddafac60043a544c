"""The backends that serve a network of PyTorch: its frozen form, ONNX Runtime, OpenVINO.

Runs in the interpreter of --torch-python: python -m benchmarks.serving_side RUNTIME
"""

import io
import json
import sys
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from benchmarks.serving import Task, serve
from benchmarks.torch_net import fold, make_net


def build(kind: str, config: str, weights: str, runtime: str) -> Task:
    """Builds the task of inference on a batch of the config's size, BatchNorm folded."""
    assert kind == "inference"
    settings = json.loads(config)
    with np.load(weights) as file:
        arrays = dict(file)
    images = arrays.pop("images")[: settings["train"]["batch_size"]]
    arrays.pop("labels")
    net = make_net(settings, arrays)
    fold(net)
    forward = RUNTIMES[runtime](net, images)
    return Task(lambda: forward(images), lambda: np.asarray(forward(images), np.float32))


def frozen(net: nn.Module, images: np.ndarray) -> Callable:
    """Traces, freezes and optimises the network by TorchScript."""
    example = torch.from_numpy(images)
    with torch.inference_mode():
        net = net.to(memory_format=torch.channels_last)
        script = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(net, example)))

    def forward(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return script(torch.from_numpy(images)).numpy()

    return forward


def onnx_model(net: nn.Module, images: np.ndarray) -> bytes:
    """Exports the network for batches of this size."""
    file = io.BytesIO()
    torch.onnx.export(net, (torch.from_numpy(images),), file, dynamo=False, opset_version=17)
    return file.getvalue()


def onnxruntime(net: nn.Module, images: np.ndarray) -> Callable:
    """Loads the network into ONNX Runtime with its defaults."""
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_model(net, images))
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def openvino(net: nn.Module, images: np.ndarray, precision: str | None = None) -> Callable:
    """Loads the network into OpenVINO: in the precision that it chooses, or a given one."""
    import openvino

    core = openvino.Core()
    hints = {"INFERENCE_PRECISION_HINT": precision} if precision else {}
    model = core.read_model(onnx_model(net, images))
    compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY", **hints})
    return lambda images: compiled(images)[0]


RUNTIMES: dict[str, Callable] = {
    "torch frozen": frozen,
    "onnxruntime": onnxruntime,
    "openvino float32": lambda net, images: openvino(net, images, "f32"),
    "openvino": openvino,
}

if __name__ == "__main__":
    chosen = sys.argv[1]
    serve(lambda **arguments: build(**arguments, runtime=chosen))
