"""Measurements of a training: waiting times, the numbers of a step, the metrics on val."""

import math
import time
from collections.abc import Iterable, Iterator
from typing import Any

import jax

from dkse_jax import interrupts
from dkse_jax.console import log
from dkse_jax.data.pipeline import Batch, batch_hash
from dkse_jax.errors import UserError
from dkse_jax.evaluation.evaluate import check_finite, predict
from dkse_jax.evaluation.metrics import accuracy_and_loss
from dkse_jax.inference import Forward
from dkse_jax.training.setup import Setup
from dkse_jax.training.state import TrainState
from dkse_jax.training.steps import Metrics


def with_waits(batches: Iterable[Batch]) -> Iterator[tuple[Batch, float]]:
    """Yields each batch with the seconds of waiting for it."""
    iterator = iter(batches)
    while True:
        start = time.monotonic()
        with interrupts.interruptible():
            batch = next(iterator, None)
        if batch is None:
            return
        yield batch, time.monotonic() - start


def training_line(plan: Setup, step: int, metrics: Metrics, batch: Batch) -> dict[str, Any]:
    """Returns one step's numbers for the journal.

    Raises:
        UserError: the loss or the gradient is not finite.
    """
    numbers = {name: float(value) for name, value in jax.device_get(metrics).items()}
    examples = batch_hash(plan.splits["train"], batch["index"])
    for name in ("loss", "gradient_norm"):
        if not math.isfinite(numbers[name]):
            raise UserError(
                f"the {name.replace('_', ' ')} is {numbers[name]} at step {step}, at learning rate"
                f" {numbers['learning_rate']:.3g}, on batch {examples}; start again in a new"
                " workdir with a smaller config.optimizer.learning_rate"
            )
    return numbers | {"batch": examples}


def evaluate(plan: Setup, forward: Forward, state: TrainState) -> dict[str, float]:
    """Computes and logs accuracy and loss over the whole of val.

    Raises:
        UserError: a logit is not finite; the step must be saved.
    """
    split = plan.splits["val"]
    log_probabilities = predict(
        forward,
        state.variables(),
        split,
        plan.transform,
        plan.mesh,
        batch_size=plan.config.eval.batch_size,
        threads=plan.config.data.threads,
    )
    at = f"val at step {int(state.step)}, which is saved,"
    check_finite(log_probabilities, at, plan.config.model.dtype)
    metrics = accuracy_and_loss(log_probabilities, split.labels)
    log(
        f"step {int(state.step)}  val accuracy {metrics['accuracy']:.4f}"
        f"  val loss {metrics['loss']:.4f}"
    )
    return metrics
