"""The script's refusals, with a PyTorch that answers what it needs."""

import importlib
import sys
import types

import pytest


class Tensor:
    def __init__(self, dtype):
        self.dtype = f"torch.{dtype}"

    def detach(self):
        return self

    def clone(self, memory_format):
        return self


@pytest.fixture
def convert(monkeypatch):
    """`convert(weights)`: the tensors that the script writes."""
    written = []
    torch = types.ModuleType("torch")
    torch.contiguous_format = None
    library = types.ModuleType("safetensors.torch")
    library.save_file = lambda tensors, target: written.append(tensors)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "safetensors.torch", library)
    monkeypatch.delitem(sys.modules, "scripts.pth_to_safetensors", raising=False)
    script = importlib.import_module("scripts.pth_to_safetensors")
    monkeypatch.setattr(sys, "argv", ["pth_to_safetensors.py", "r18-f8.pth", "out.safetensors"])

    def run(weights):
        torch.load = lambda source, map_location, weights_only: {"state_dict": weights}
        script.main()
        return written

    yield run
    sys.modules.pop("scripts.pth_to_safetensors", None)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "int8", "complex64", "qint8"])
def test_weights_that_are_no_plain_floats_are_refused(convert, capsys, dtype):
    with pytest.raises(SystemExit, match="2"):
        convert({"fc.bias": Tensor("float32"), "fc.weight": Tensor(dtype)})
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"r18-f8.pth has weights of the dtype {dtype}, such as fc.weight; only" in line


def test_floats_and_counters_are_written(convert):
    weights = {"a": Tensor("bfloat16"), "bn.num_batches_tracked": Tensor("int64")}
    assert convert(weights) == [weights]
