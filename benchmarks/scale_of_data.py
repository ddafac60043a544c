"""Start-up against the number of images: python -m benchmarks.scale_of_data [COUNT ...]

Generates folders of records of 10,000 to 1,000,000 images (or the given counts), starts a training
on each in its own process, and reports time and memory until the first batch as a table and in
runs/scale_of_data.png. The images are tiny, since a start reads only 32 of them; the number of
shards is that of images of 60 kB.
"""

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.workers import ROOT
from dkse_jax import markdown
from dkse_jax.data.identity import HASHES, text_hashes
from dkse_jax.data.sources import record_files, records
from dkse_jax.data.sources.listing import Example
from dkse_jax.data.splits import SPLITS
from dkse_jax.data.tools import pack
from dkse_jax.files import digest_of

COUNTS = (10_000, 100_000, 1_000_000)
IN_SHARD = 4096
CLASSES = ("ink", "oil")
PLOT = ROOT / "runs" / "scale_of_data.png"


def main(counts: list[int]) -> None:
    """Measures each count, prints the table and draws the plot."""
    rows = []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            generate(Path(folder), count)
            rows.append({"images": count} | measure(Path(folder)))
            print(rows[-1], file=sys.stderr)
    header = ["images", "splits s", "fingerprints s", "first batch s", "process s", "peak MB"]
    timed = ("splits", "fingerprints", "batch", "process")
    cells = [
        [f"{row['images']:,}", *(f"{row[key]:.2f}" for key in timed), f"{row['peak']:.0f}"]
        for row in rows
    ]
    print(markdown.table(header, cells, numbers=range(6)))
    draw(rows)


def generate(folder: Path, count: int) -> None:
    """Writes a folder of records of `count` images, 98 % in train; all shards are one file."""
    images = folder / "images"
    images.mkdir()
    Image.new("RGB", (32, 32), "teal").save(images / "image.jpg")
    path = str(images / "image.jpg")
    shard_ids = [f"{CLASSES[i % 2]}/a_series_of_pictures/{i:08}.jpg" for i in range(IN_SHARD)]
    examples = [Example(name, path, name[:3], name, "") for name in shard_ids]
    shard = record_files.Shard("shard", examples, [os.path.getsize(path)] * IN_SHARD)
    with (folder / "journal").open("w") as journal:
        digests: dict[str, list[bytes]] = {}
        entry = pack._pack_all([shard], folder, CLASSES, journal, digests)["shard"]
    shards: dict[str, dict[str, int]] = {}
    files = {}
    for split in SPLITS:
        length = count * 98 // 100 if split == "train" else count // 100
        whole = -(-length // IN_SHARD)
        names = [f"{split}-{number:05}-of-{whole:05}" for number in range(whole)]
        shards[split] = {
            name: min(IN_SHARD, length - number * IN_SHARD) for number, name in enumerate(names)
        }
        for name in names:
            os.link(folder / "shard", folder / name)
            files[name] = entry
        repeated = np.resize(np.array([name.encode() for name in shard_ids]), length)
        labels = np.resize(np.array([0, 1], np.int32), length)
        hashes = np.zeros(length, HASHES)
        hashes["id"] = np.resize(text_hashes(shard_ids, 16), length)
        hashes["group"] = np.resize(text_hashes(shard_ids, 8), length)
        hashes["content"] = digests["shard"][0]
        arrays = {"labels": labels, "ids": repeated, "groups": repeated, "hashes": hashes}
        for array, values in arrays.items():
            name = record_files.array_name(split, array)
            np.save(folder / name, values)
            file = folder / name
            files[name] = (file.stat().st_size, digest_of(file))
    manifest = record_files.Manifest(list(CLASSES), shards, files, hashlib.sha256().hexdigest())
    (folder / record_files.MANIFEST).write_text(json.dumps(dataclasses.asdict(manifest)))


def measure(folder: Path) -> dict[str, float]:
    """Measures seconds and peak memory of a process until its first batch."""
    start = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.scale_of_data", "--start", str(folder)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    seconds: dict[str, float] = json.loads(done.stdout)
    peak = seconds.pop("peak")
    return seconds | {"process": time.monotonic() - start, "peak": peak}


def start_training(folder: str) -> dict[str, float]:
    """Runs a training up to its first batch, without a network."""
    from configs import base
    from dkse_jax.data.pipeline import batch_hash, fingerprint, training_batches
    from dkse_jax.data.sources import load_splits

    records.CHECKED_BYTES = 0  # as for shards of the real size
    config = base.get_config()
    config.data.source, config.data.root, config.data.image_size = "records", folder, 32
    begun = time.monotonic()
    splits = load_splits(config.data, config.seed)
    loaded = time.monotonic()
    for split in splits.values():
        fingerprint(split)
    described = time.monotonic()
    batch = next(training_batches(splits["train"], config, first_step=1, last_step=1))
    batch_hash(splits["train"], batch["index"])
    return {
        "splits": loaded - begun,
        "fingerprints": described - loaded,
        "batch": time.monotonic() - described,
        "peak": peak_megabytes(),
    }


def peak_megabytes() -> float:
    """Returns the peak resident memory, mapped files included, in 10^6 bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024 / 1e6


def draw(rows: list[dict[str, Any]]) -> None:
    """Plots seconds and memory over the number of images, with the required bounds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    images = [row["images"] for row in rows]
    for key, label in (("process", "process to first batch"), ("fingerprints", "fingerprints")):
        axes[0].plot(images, [row[key] for row in rows], "o-", label=label)
    axes[1].plot(images, [row["peak"] for row in rows], "o-", label="peak resident memory")
    for axis, bound, unit in ((axes[0], 10, "seconds"), (axes[1], 300, "MB")):
        axis.axhline(bound, color="grey", linestyle=":", label=f"{bound} {unit}, at 1,000,000")
        axis.set(xscale="log", xlabel="images", ylabel=unit, ylim=(0, 1.1 * axis.get_ylim()[1]))
        axis.legend(fontsize="small")
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, dpi=120)
    print(f"plot: {PLOT.relative_to(ROOT)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--start"]:
        print(json.dumps(start_training(sys.argv[2])))
    else:
        main([int(count) for count in sys.argv[1:]] or list(COUNTS))
