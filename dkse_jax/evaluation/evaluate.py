"""The network's log-probabilities for every example of a split."""

import contextlib
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh

from dkse_jax.data.bad_images import BadImages
from dkse_jax.data.pipeline import evaluation_batches
from dkse_jax.data.sources import Source
from dkse_jax.data.transform import Transform, normalise
from dkse_jax.distributed import watch
from dkse_jax.models.prepare import prepare
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
    """variables -> the function of images, uint8 (B, S, S, 3), that gives log-probabilities (B, K).

    The first call prepares the variables, once for all images, on every device, wherever training
    has them; the second is jitted.
    """
    whole = replicated(mesh)

    @partial(jax.jit, in_shardings=(whole, batch_sharding(mesh)), out_shardings=whole)
    def classify(prepared: dict[str, Any], images: jax.Array) -> jax.Array:
        logits, _ = model.apply(prepared, normalise(images, transform), train=False)
        return jax.nn.log_softmax(logits)

    def forward(variables: dict[str, Any]) -> Classify:
        variables = jax.device_put(variables, whole)
        return partial(classify, prepare(model, variables, transform.size))

    return forward


def predict(
    forward: Forward,
    variables,
    source: Source,
    transform: Transform,
    mesh: Mesh,
    *,
    batch_size: int,
    threads: int,
    bad: BadImages | None = None,
) -> np.ndarray:
    """Log-probabilities (N, K) of all N examples of a split, in its order.

    The last batch is padded and its padding dropped, so that every example counts once. A
    batch is enlarged to a multiple of the number of devices. Long splits show their progress.
    Every process reads the examples of its own devices, and has the results of all.
    Unreadable images go into `bad` and are left out: the rows are those of bad.readable().
    """
    batch_size = round_up_to_devices(batch_size)
    with watch.pause():
        classify = forward(variables)
    batches = evaluation_batches(
        source,
        transform,
        batch_size=batch_size,
        threads=threads,
        rows=local_indices(mesh, batch_size),
        bad=bad,
    )
    started = told = time.monotonic()
    parts: list[np.ndarray] = []
    done = 0
    for batch in batches:
        images = to_global_array(batch["image"], batch_size, mesh)
        with contextlib.nullcontext() if parts else watch.pause():  # the first may compile
            parts.append(np.asarray(classify(images))[batch["real"]])
        watch.heartbeat()
        done = min(done + batch_size, len(source))
        now = time.monotonic()
        if now - told > 5:
            left = (now - started) / done * (len(source) - done)
            print(f"evaluated {done}/{len(source)}  left {left:.0f} s", file=sys.stderr)
            told = now
    log_probabilities = np.concatenate(parts)
    examples = len(source) - (bad.count if bad else 0)
    if len(log_probabilities) != examples:
        raise AssertionError(f"{len(log_probabilities)} results for {examples} examples")
    return log_probabilities
