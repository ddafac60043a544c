"""Converts a PyTorch file of weights: python scripts/pth_to_safetensors.py IN.pth OUT.safetensors

Needs torch and safetensors. Reads only tensors (weights_only), so that no code of the file runs.
Refuses weights that are no plain floats, such as 8-bit ones, which need scales of their own.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

READABLE = ("float16", "bfloat16", "float32", "float64")


def main() -> None:
    """Converts the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    weights = torch.load(arguments.source, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):  # of a saved training state
        weights = weights.get(key, weights)
    for name, value in weights.items():
        dtype = str(value.dtype).removeprefix("torch.")
        if dtype not in READABLE and not name.endswith("num_batches_tracked"):
            parser.error(
                f"{arguments.source} has weights of the dtype {dtype}, such as {name}; only"
                f" {', '.join(READABLE)} can be read: convert them to one of these"
            )
    tensors = {
        name: value.detach().clone(memory_format=torch.contiguous_format)
        for name, value in weights.items()
    }
    save_file(tensors, arguments.target)
    print(f"{len(tensors)} tensors in {arguments.target}")


if __name__ == "__main__":
    main()
