"""Converts a PyTorch file of weights: python scripts/pth_to_safetensors.py IN.pth OUT.safetensors

Needs torch and safetensors. Reads only tensors (weights_only), so that no code of the file runs.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file


def main() -> None:
    """Converts the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    weights = torch.load(arguments.source, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):  # of a saved training state
        weights = weights.get(key, weights)
    tensors = {
        name: value.detach().clone(memory_format=torch.contiguous_format)
        for name, value in weights.items()
    }
    save_file(tensors, arguments.target)
    print(f"{len(tensors)} tensors in {arguments.target}")


if __name__ == "__main__":
    main()
