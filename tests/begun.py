"""Folders of small images, and workdirs as a training on them leaves them, without a network."""

import numpy as np
from PIL import Image

from dkse_jax import provenance
from dkse_jax.data.sources import load_splits
from dkse_jax.data.splits import SPLITS
from dkse_jax.data.transform import Transform
from dkse_jax.training.setup import describe_inputs
from dkse_jax.workdir import description

CLASSES = ("dark", "light")


def make_folder(root, seed, each=9, classes=CLASSES):
    """Classes of noise, uncompressed and thus of equal sizes; groups and splits are given."""
    rng = np.random.default_rng(seed)
    lines = ["file_name,label,group,split"]
    for label in classes:
        (root / label).mkdir(parents=True)
        for i in range(each):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / f"{i}.bmp")
            split = SPLITS[i * 3 // each]
            lines.append(f"{label}/{i}.bmp,{label},{label}{i},{split}")
    (root / "metadata.csv").write_text("\n".join(lines))
    return root


def trained_on(config, root, workdir, source="folder", init_from=""):
    """Does what a training does to a workdir, network apart; returns the splits."""
    config.data.source, config.data.root, config.init_from = source, str(root), str(init_from)
    splits = load_splits(config.data, config.seed)
    provenance.check(workdir, splits)
    before = provenance.history(workdir, config, fresh=bool(init_from))
    record = provenance.recorder(workdir, splits, before)
    description.begin(workdir, config, describe_inputs(splits, Transform.of(config.data)))
    for name in ("train", "val"):
        for i in range(len(splits[name])):
            splits[name].read(i, 8)
    record()
    return splits


def loaded(config, root):
    config.data.root = str(root)
    return load_splits(config.data, config.seed)


def rewrite(root, old, new):
    text = (root / "metadata.csv").read_text()
    assert old in text
    (root / "metadata.csv").write_text(text.replace(old, new))


def exchange(root, *names):
    contents = [(root / name).read_bytes() for name in names]
    for name, content in zip(names, reversed(contents), strict=True):
        (root / name).write_bytes(content)
