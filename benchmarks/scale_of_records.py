"""Cost and gain of packing a folder: python -m benchmarks.scale_of_records

Packs a folder of 300-pixel JPEGs with dkse-pack, and reads images from the folder and from the
records in interleaved rounds.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from benchmarks.machine import usable_cores
from benchmarks.workers import ROOT
from configs import base
from dkse_jax import cli
from dkse_jax.data.sources import Source, load_splits
from dkse_jax.data.sources.painting import paint

KIND = "stippled_landscape"
IMAGES, PAINTED, SIZE, ROUNDS = 6000, 60, 300, 5


def main() -> None:
    """Prints the rates."""
    with tempfile.TemporaryDirectory() as name:
        images, packed = Path(name) / "images", Path(name) / "records"
        generate(images)
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "dkse_jax.cli.pack", images, packed],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        rate = IMAGES / (time.perf_counter() - start)
        folder, records = split("folder", images), split("records", packed)
        rounds = [(read_all(folder), read_all(records)) for _ in range(ROUNDS + 1)][1:]
    files, shards = zip(*rounds, strict=True)
    print(
        f"{usable_cores()} cores, load {os.getloadavg()[0]:.1f}; {IMAGES} JPEGs of {SIZE} px:"
        f" packed and verified at {rate:,.0f} images/s, the start of Python in it;\n"
        f"read and decoded by one thread, medians of {ROUNDS} in turn: {median(files):,.0f}"
        f" images/s from files, {median(shards):,.0f} from records,"
        f" {median(s / f for f, s in rounds):.2f}×"
    )


def generate(folder: Path) -> None:
    """Writes IMAGES images of two classes, of which PAINTED are different."""
    for label in ("ink", "oil"):
        (folder / label).mkdir(parents=True)
    for i in range(PAINTED):
        image = Image.fromarray(paint(KIND, SIZE, np.random.default_rng(i)))
        for j in range(i, IMAGES, PAINTED):
            image.save(folder / ("ink", "oil")[j % 2] / f"{j:06}.jpg", quality=90)


def split(source: str, root: Path) -> Source:
    """Loads the training split."""
    config = base.get_config()
    config.data.source, config.data.root = source, str(root)
    return load_splits(config.data, config.seed)["train"]


def read_all(source: Source) -> float:
    """Measures images a second of reading up to 1,000 images."""
    start = time.perf_counter()
    count = min(len(source), 1000)
    for index in range(count):
        source.read(index, None)
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    cli.run(main)
