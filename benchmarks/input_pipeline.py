"""Throughput of the input pipeline: JPEGs decoded and augmented a second by one core."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.workers import ROOT
from configs import base
from dkse_jax.data.augment import augment
from dkse_jax.data.decode import decode_image
from dkse_jax.data.sources.painting import KINDS, paint
from dkse_jax.data.transform import min_side_for_crops

PIXELS = 320  # along a side of the images
IMAGES = 40
SECONDS = 6.0


def measure(folder: Path) -> list[dict[str, Any]]:
    """Returns one row, measured in a process with one core."""
    command = [sys.executable, "-m", "benchmarks.input_pipeline", str(folder)]
    # Before that process imports NumPy, whose threads would keep the other cores.
    done = subprocess.run(
        command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, preexec_fn=keep_one_core
    )
    name = f"input: decode and augment a JPEG of {PIXELS} px, one core"
    return [{"case": name, "unit": "images/s", "ours": json.loads(done.stdout)}]


def keep_one_core() -> None:
    """Restricts this process to the first of its cores, where the system supports it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def images_per_second(folder: Path) -> float:
    """Measures decoding and augmentation of synthetic images for training at the paper's size."""
    config = base.get_config()
    size = config.data.image_size
    min_side = min_side_for_crops(size, config.augment.crop_area_min)
    files = painted_jpegs(folder)
    rng = np.random.default_rng(0)

    def epoch() -> float:
        start = time.perf_counter()
        for file in files:
            augment(decode_image(file, min_side), size, config.augment, rng)
        return time.perf_counter() - start

    epoch()  # warms up
    seconds = [epoch()]
    while sum(seconds) < SECONDS:
        seconds.append(epoch())
    return len(files) * len(seconds) / sum(seconds)


def painted_jpegs(folder: Path) -> list[Path]:
    """Writes images of the embedded data set's classes as files into a folder."""
    rng = np.random.default_rng(0)
    kinds = list(KINDS)
    files = [folder / f"{index}.jpg" for index in range(IMAGES)]
    for index, file in enumerate(files):
        image = paint(kinds[index % len(kinds)], PIXELS, rng)
        Image.fromarray(image).save(file, quality=90)
    return files


if __name__ == "__main__":
    print(images_per_second(Path(sys.argv[1])))
