"""Log-probabilities of all examples of a split."""

from typing import Any

import numpy as np
from jax.sharding import Mesh

from dkse_jax.console import with_progress
from dkse_jax.data.sources import Source
from dkse_jax.data.transform import Transform
from dkse_jax.distributed import watch
from dkse_jax.errors import UserError
from dkse_jax.inference import Forward, mean_log_probabilities, stream


def predict(
    forward: Forward,
    variables: dict[str, Any],
    source: Source,
    transform: Transform,
    mesh: Mesh,
    *,
    batch_size: int,
    threads: int,
) -> np.ndarray:
    """Computes the log-probabilities (N, K) of all N examples of a split, in its order.

    The padding of the last batch is dropped, so that every example counts once; where the transform
    has several views of an image, their log-probabilities are averaged. Batches are
    enlarged to a multiple of the number of devices; progress is logged. Every process reads the
    examples of its own devices, and gets the results of all.
    """
    with watch.pause():
        classify = forward(variables)
    parts = stream(
        classify,
        source,
        transform,
        mesh,
        batch_size=batch_size,
        threads=threads,
        mean=mean_log_probabilities,
    )
    return np.concatenate(list(with_progress(parts, len(source), "evaluating", len)))


def check_finite(log_probabilities: np.ndarray, split: str, dtype: str) -> None:
    """Raises UserError if log-probabilities (N, K) are not all finite.

    split: what they are of, for the sentence. dtype: of the activations; the remedy depends on it.
    """
    bad = int((~np.isfinite(log_probabilities).all(axis=1)).sum())
    if bad:
        remedy = "config.model.dtype=float32"
        if dtype == "float32":
            remedy = "a smaller config.optimizer.learning_rate"
        raise UserError(
            f"{bad} of the {len(log_probabilities)} images of {split} have logits that are not"
            f" finite; train in a new workdir with {remedy}"
        )
