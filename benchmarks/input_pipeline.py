"""The input pipeline: how many JPEGs a core decodes and augments in a second."""

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

PIXELS = 320  # a side of the pictures
PICTURES = 40
SECONDS = 6.0


def measure(folder: Path) -> list[dict[str, Any]]:
    """One row, by a process that has one core only."""
    command = [sys.executable, "-m", "benchmarks.input_pipeline", str(folder)]
    # Before NumPy is imported there: its threads would stay on the other cores.
    done = subprocess.run(
        command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, preexec_fn=keep_one_core
    )
    name = f"input: decode and augment a JPEG of {PIXELS} px, one core"
    return [{"work": name, "unit": "images/s", "ours": json.loads(done.stdout)}]


def keep_one_core() -> None:
    """Leaves this process the first of its cores, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def images_per_second(folder: Path) -> float:
    """Decodes and augments painted pictures as training at the paper's size does."""
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
    """Pictures of the embedded data set's kinds, as files in a folder."""
    rng = np.random.default_rng(0)
    kinds = list(KINDS)
    files = [folder / f"{index}.jpg" for index in range(PICTURES)]
    for index, file in enumerate(files):
        picture = paint(kinds[index % len(kinds)], PIXELS, rng)
        Image.fromarray(picture).save(file, quality=90)
    return files


if __name__ == "__main__":
    print(images_per_second(Path(sys.argv[1])))
