"""Inference on many images: weights folded once, batches of one shape, streamed results."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh

from dkse_jax.data.pipeline import Images, evaluation_batches
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

Classify = Callable[..., jax.Array]
Forward = Callable[[Any], Classify]


def make_forward(model: nn.Module, transform: Transform, mesh: Mesh) -> Forward:
    """Returns forward(variables) -> classify(images).

    `forward` replicates the weights on the mesh and folds them once. `classify` is jitted: uint8
    (B, S, S, 3) to log-probabilities (B, K); B is a multiple of the number of devices.
    """
    whole = replicated(mesh)

    @partial(jax.jit, in_shardings=(whole, batch_sharding(mesh)), out_shardings=whole)
    def classify(folded: dict[str, Any], images: jax.Array) -> jax.Array:
        logits, _ = model.apply(folded, normalise(images, transform), train=False)
        return jax.nn.log_softmax(logits)

    def forward(variables: dict[str, Any]) -> Classify:
        variables = jax.device_put(variables, whole)
        return partial(classify, fold(model, variables, transform.size))

    return forward


def stream(
    function: Classify,
    images: Images,
    transform: Transform,
    mesh: Mesh,
    *,
    batch_size: int,
    threads: int,
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

    Raises:
        BadImage: an image that cannot be read.
    """
    batch_size = round_up_to_devices(batch_size, mesh)
    sent: tuple[Any, np.ndarray] | None = None
    done = 0
    batches = evaluation_batches(
        images,
        transform,
        batch_size=batch_size,
        threads=threads,
        rows=local_indices(mesh, batch_size),
    )
    for batch in batches:
        pixels = to_global_array(batch["image"], batch_size, mesh)
        with contextlib.nullcontext() if sent else watch.pause():  # the first call may compile
            results = function(pixels)
        watch.heartbeat()
        if sent:
            yield _fetched(*sent)
        sent = results, batch["real"]
        done += int(batch["real"].sum())
    if sent:
        yield _fetched(*sent)
    if done != len(images):
        raise AssertionError(f"{done} results for {len(images)} examples")


def _fetched(results: Any, real: np.ndarray) -> Any:
    return jax.tree.map(lambda array: array[real], jax.device_get(results))
