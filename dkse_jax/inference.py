"""Inference on many images: weights folded once, batches of one shape, streamed results."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dkse_jax.data.pipeline import Batch, Images, evaluation_batches, tile_batches
from dkse_jax.data.transform import Transform, normalise
from dkse_jax.distributed import watch
from dkse_jax.models.fold import fold
from dkse_jax.sharding import (
    batch_sharding,
    local_indices,
    replicated,
    round_up_to_devices,
    to_global_array,
)
from dkse_jax.tiles import over_images, packed

Classify = Callable[..., Any]
Forward = Callable[[Any], Classify]


def make_forward(
    model: nn.Module, transform: Transform, mesh: Mesh, *, features: bool = False
) -> Forward:
    """Returns forward(variables) -> classify(images).

    `forward` replicates the weights on the mesh and folds them once. `classify` is jitted: uint8
    (B, S, S, 3) to log-probabilities (B, K), or with `features` to a tuple of these and of
    `early_features` (B, C), both float32; B is a multiple of the number of devices.
    """
    whole = replicated(mesh)

    @partial(
        jax.jit,
        in_shardings=(whole, batch_sharding(mesh)),
        out_shardings=whole,
        compiler_options=model.target.compiler_options,
    )
    def classify(folded: dict[str, Any], images: jax.Array) -> Any:
        logits, stages = model.apply(folded, normalise(images, transform), train=False)
        if not features:
            return jax.nn.log_softmax(logits)
        described = early_features(stages, images.shape[1])
        return jax.nn.log_softmax(logits.astype(jnp.float32)), described

    def forward(variables: dict[str, Any]) -> Classify:
        variables = jax.device_put(variables, whole)
        return partial(classify, fold(model, variables, transform.size))

    return forward


def early_features(stages: Any, image_size: int) -> jax.Array:
    """Returns float32 (B, C) features that differ where images are of another kind than art.

    They are the mean and the standard deviation of each channel of the last map that has a fifth of
    the image's resolution. Deeper ones, and pre_logits most of all, keep what distinguishes the
    classes alone: blank or printed pages are not far from these in them.

    Args:
        stages: the named stages of a network, in order.
        image_size: pixels along the image.
    """
    maps = [x for x in stages.values() if x.ndim == 4]
    fine = [x for x in maps if 5 * x.shape[1] >= image_size]
    x = (fine or maps[:1])[-1].astype(jnp.float32)
    mean, square = x.mean(axis=(1, 2)), (x * x).mean(axis=(1, 2))
    return jnp.concatenate([mean, jnp.sqrt(jnp.maximum(square - mean * mean, 0))], axis=1)


def mean_of_views(results: np.ndarray) -> np.ndarray:
    """Averages the results (V, ...) of an image's views in float32."""
    return results.mean(axis=0, dtype=np.float32).astype(results.dtype)


def mean_log_probabilities(results: np.ndarray) -> np.ndarray:
    """Averages the log-probabilities (V, K) of an image's views; the probabilities sum to 1."""
    mean = mean_of_views(results)
    shifted = mean - mean.max()
    return shifted - np.log(np.exp(shifted).sum())


def stream(
    function: Classify,
    images: Images,
    transform: Transform,
    mesh: Mesh,
    *,
    batch_size: int,
    threads: int,
    mean: Callable[[np.ndarray], np.ndarray] = mean_of_views,
) -> Iterator[Any]:
    """Yields the function's results for each batch of images, in order, without padding.

    A batch's results are fetched after the next batch is sent, so that devices do not wait for the
    host; memory is bounded. Every process reads the images of its own devices and gets the results
    of all.

    Args:
        function: jitted, uint8 (B, S, S, 3) -> a replicated array (B, ...), or a tuple or dict of
            such; NumPy arrays (n, ...) of the same structure are yielded.
        images: the images, to which the transform is applied.
        transform: of the network's input.
        mesh: the devices of the function.
        batch_size: B, rounded up to a multiple of the number of devices.
        threads: number of threads that read images.
        mean: the average (...) of results (V, ...) over an image's views, where it has several.

    Raises:
        BadImage: an image that cannot be read.
    """
    batch_size = round_up_to_devices(batch_size, mesh)
    rows = local_indices(mesh, batch_size)
    done = 0
    if transform.views == "tiles":
        tiled = tile_batches(images, transform, batch_size=batch_size, threads=threads, rows=rows)
        calls = _calls(function, packed(tiled, batch_size, mesh), batch_size, mesh)
        parts = over_images(calls, mean)
    else:
        batches = evaluation_batches(
            images, transform, batch_size=batch_size, threads=threads, rows=rows
        )
        parts = (results for results, _ in _calls(function, batches, batch_size, mesh))
    for part in parts:
        done += len(jax.tree.leaves(part)[0])
        yield part
    if done != len(images):
        raise AssertionError(f"{done} results for {len(images)} examples")


def _calls(
    function: Classify, batches: Iterable[Batch], batch_size: int, mesh: Mesh
) -> Iterator[tuple[Any, Batch]]:
    """Yields the function's results for each batch, without padding, and the batch."""
    sent: tuple[Any, Batch] | None = None
    for batch in batches:
        pixels = to_global_array(batch["image"], batch_size, mesh)
        with contextlib.nullcontext() if sent else watch.pause():  # the first call may compile
            results = function(pixels)
        watch.heartbeat()
        if sent:
            yield _fetched(*sent)
        sent = results, batch
    if sent:
        yield _fetched(*sent)


def _fetched(results: Any, batch: Batch) -> tuple[Any, Batch]:
    real = batch["real"]
    return jax.tree.map(lambda array: array[real], jax.device_get(results)), batch
