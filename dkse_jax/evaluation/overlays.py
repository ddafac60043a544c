"""Grad-CAM overlays for an evaluated split: one PNG for each class."""

import pathlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import matplotlib as mpl
import numpy as np
from jax.sharding import Mesh
from PIL import Image

from dkse_jax.data.pipeline import evaluation_batches
from dkse_jax.data.sources import Source, subset
from dkse_jax.data.transform import Transform, centre_view, normalise
from dkse_jax.evaluation import pictures
from dkse_jax.evaluation.gradcam import grad_cam
from dkse_jax.sharding import batch_sharding, replicated, round_up_to_devices

MAX_EXAMPLES = 100  # of a class; more would make a figure too tall to view

_BATCH = 8  # Grad-CAM at an early stage needs as much memory for an image as training
_GAP = 6  # pixels between an image and its overlay

Explain = Callable[..., jax.Array]


def make_explain(
    model: nn.Module, variables: dict[str, Any], transform: Transform, stage: str, mesh: Mesh
) -> Explain:
    """Returns the jitted function of images and classes that computes their maps: see `grad_cam`.

    Args:
        model: of the run.
        variables: of the model, replicated on all processes.
        transform: of the images, uint8 (B, S, S, 3), for classes (B,); maps are (B, H, W).
        stage: one of `map_stages`.
        mesh: the devices, all of this process; their number divides B.
    """
    whole, split = replicated(mesh), batch_sharding(mesh)

    @partial(
        jax.jit,
        in_shardings=(whole, split, split),
        out_shardings=whole,
        compiler_options=model.target.compiler_options,
    )
    def explain(variables: dict[str, Any], images: jax.Array, classes: jax.Array) -> jax.Array:
        return grad_cam(model, variables, normalise(images, transform), classes, stage=stage)

    own = jax.device_put(jax.device_get(variables), whole)
    # With several processes, jit accepts no NumPy arrays for sharded arguments.
    return lambda images, classes: explain(own, *jax.device_put((images, classes), split))


def write_overlays(
    folder: pathlib.Path,
    *,
    explain: Explain,
    stage: str,
    source: Source,
    log_probabilities: np.ndarray,
    transform: Transform,
    count: int,
    threads: int,
    mesh: Mesh,
) -> list[pathlib.Path]:
    """Writes folder/<class>.png for every class with examples; returns the paths.

    A figure shows each of the `choose_examples`: the square that the network sees, beside it the
    overlay for the predicted class, and below both classes. Each map is scaled by its maximum. The
    square is the centred one, also where the prediction rests on several views.

    Args:
        folder: a new one, or one that `remove_overlays` has cleared.
        explain: of `make_explain`.
        stage: its stage.
        source: the evaluated split.
        log_probabilities: (N, K) of the split.
        transform: of the network's input.
        count: number of examples of each class.
        threads: number of threads that read images.
        mesh: of `make_explain`.
    """
    folder.mkdir(exist_ok=True)
    predictions = log_probabilities.argmax(axis=1)
    paths = [folder / name for name in file_names(source.class_names)]
    written = []
    for label, path in enumerate(paths):
        of_class = source.labels == label
        chosen = choose_examples(log_probabilities[:, label], of_class, count)
        if not chosen:
            continue
        maps = _maps(explain, source, chosen, predictions, transform, threads, mesh)
        examples = [
            pictures.Example(
                image=_pair(centre_view(source.read(i, pictures.TILE), pictures.TILE), heat),
                label=source.class_names[label],
                prediction=source.class_names[predictions[i]],
                probability=float(np.exp(log_probabilities[i, predictions[i]])),
                file=source.ids[i],
                note="" if heat.any() else ", but nothing here speaks for it",
            )
            for i, heat in zip(chosen, maps, strict=True)
        ]
        height, width = maps[0].shape
        titles = (
            f"{source.class_names[label]}: {len(chosen)} of {of_class.sum():,} examples",
            "spread evenly from the most to the least probable as that class",
            f"Grad-CAM at {stage} ({height}\u00d7{width}): the redder, the more it speaks for the"
            " class predicted",
        )
        pictures.examples_png(path, examples, titles=titles, columns=3)
        written.append(path)
    return written


def remove_overlays(folder: pathlib.Path, class_names: Sequence[str]) -> None:
    """Removes the figures of an older `write_overlays`, and the folder if it has nothing else."""
    if not folder.is_dir():
        return
    for name in file_names(class_names):
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def choose_examples(scores: np.ndarray, of_class: np.ndarray, count: int) -> list[int]:
    """Chooses examples evenly spread over a class, ordered by its log-probability, stably.

    The first is the most confident one, the last the most confident mistake, if any, and the share
    of mistakes is about that of the class. All are chosen if there are at most `count`.

    Args:
        scores: (N,) log-probabilities of the class.
        of_class: (N,) bool, the examples of the class.
        count: at least 1.
    """
    members = np.flatnonzero(of_class)
    ordered = members[np.argsort(-scores[members], kind="stable")]
    indices = np.linspace(0, len(ordered) - 1, min(count, len(ordered))).round().astype(int)
    return ordered[indices].tolist()


def file_names(class_names: Sequence[str]) -> list[str]:
    """Returns a PNG's name for each class: its own if every file system accepts it.

    Otherwise the index of the class comes first, and unsafe characters become "_". No two names
    differ only by case.
    """
    times = Counter(map(str.casefold, class_names))
    safe = re.compile(r"\w([\w -]{0,48}\w)?")  # no dot; at most 4 bytes for a character
    return [
        f"{name}.png"
        if safe.fullmatch(name) and times[name.casefold()] == 1
        else f"{number}.{re.sub(r'[^\w -]', '_', name)[:50]}.png"
        for number, name in enumerate(class_names)
    ]


def overlay(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Draws an image (S, S, 3) uint8 in pale grey, tinted by its map (H, W), red at the maximum.

    A map of zeros leaves it grey.
    """
    side = picture.shape[0]
    share = np.asarray(heat, np.float32) / max(float(heat.max()), np.finfo(np.float32).tiny)
    resized = Image.fromarray(share).resize((side, side), Image.Resampling.BILINEAR)
    tint = np.asarray(resized)[:, :, None]
    colour = mpl.colormaps["YlOrRd"](0.9 * tint[:, :, 0])[:, :, :3]  # its end is nearly black
    grey = 0.35 + 0.65 / 255 * np.asarray(Image.fromarray(picture).convert("L"))[:, :, None]
    return np.round(255 * grey * (1 - tint + tint * colour)).astype(np.uint8)


def _pair(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Draws an image (S, S, 3) and its overlay side by side on white."""
    gap = np.full((picture.shape[0], _GAP, 3), 255, np.uint8)
    return np.concatenate([picture, gap, overlay(picture, heat)], axis=1)


def _maps(
    explain: Explain,
    source: Source,
    chosen: list[int],
    predictions: np.ndarray,
    transform: Transform,
    threads: int,
    mesh: Mesh,
) -> np.ndarray:
    """Computes (n, H, W): the maps of the chosen examples for their predicted classes."""
    part = subset(source, np.array(chosen))
    batch_size = round_up_to_devices(_BATCH, mesh)
    maps, done = [], 0
    for batch in evaluation_batches(part, transform, batch_size=batch_size, threads=threads):
        size = int(batch["real"].sum())
        classes = np.zeros(batch_size, np.int32)
        classes[:size] = predictions[chosen[done : done + size]]
        maps.append(np.asarray(explain(batch["image"], classes))[:size])
        done += size
    return np.concatenate(maps)
