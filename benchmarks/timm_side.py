"""Inference of timm, as its own script does it by default: a folder to a table.

Runs in the interpreter of --torch-python:

    python -m benchmarks.timm_side nearest SIZE MACS        prints the nearest network, its MACs
    python -m benchmarks.timm_side predict MODEL SIZE FOLDER TABLE

Its defaults are batches of 256 images, two processes that read, float32, no compilation; here one
more choice of its flags is made: the input size.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import timm
import torch
from timm import data
from torch.utils.flop_counter import FlopCounterMode

CLASSES, BATCH, READERS = 5, 256, 2
CANDIDATES = (
    *("convnext_atto", "efficientnet_b2", "ese_vovnet19b_dw", "mobilenetv2_140", "regnetx_008"),
    *("regnety_008", "resnet10t", "resnet18"),
)


def make(name: str) -> torch.nn.Module:
    """Returns a network with random weights."""
    torch.manual_seed(0)
    return timm.create_model(name, pretrained=False, num_classes=CLASSES).eval()


def macs(name: str, size: int) -> int:
    """Counts the multiply-accumulates of a network for one image."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        make(name)(torch.zeros(1, 3, size, size))
    return counter.get_total_flops() // 2


def nearest(size: int, wanted: int) -> dict:
    """Returns the candidate whose number of MACs has the ratio nearest to 1."""
    counts = {name: macs(name, size) for name in CANDIDATES}
    name = min(counts, key=lambda name: abs(np.log(counts[name] / wanted)))
    versions = {"timm": timm.__version__, "torch": torch.__version__}
    return {"model": name, "macs": counts[name], "versions": versions}


def predict(name: str, size: int, folder: str, table: Path) -> None:
    """Writes the file name, the class and its probability of every image of a folder."""
    model, device = make(name), torch.device("cpu")
    settings = data.resolve_data_config({"input_size": (3, size, size)}, model=model)
    dataset = data.create_dataset(name="", root=folder)
    loader = data.create_loader(
        dataset, batch_size=BATCH, num_workers=READERS, device=device, **settings
    )
    values, indices = [], []
    with torch.inference_mode():
        for images, _ in loader:
            best = model(images).softmax(-1).topk(1)
            values.append(best.values.numpy())
            indices.append(best.indices.numpy())
    names = loader.dataset.filenames(basename=True)
    cells = zip(names, np.concatenate(indices)[:, 0], np.concatenate(values)[:, 0], strict=True)
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("filename", "label", "prob"), *cells])


if __name__ == "__main__":
    do, *rest = sys.argv[1:]
    if do == "nearest":
        print(json.dumps(nearest(int(rest[0]), int(rest[1]))))
    else:
        predict(rest[0], int(rest[1]), rest[2], Path(rest[3]))
