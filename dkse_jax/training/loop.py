"""Training, told top to bottom."""

import dataclasses
import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from dkse_jax import devices
from dkse_jax.config import steps
from dkse_jax.data.pipeline import Batch, batch_hash, fingerprint, training_batches
from dkse_jax.data.sources import Source, load_splits
from dkse_jax.data.transform import Transform
from dkse_jax.errors import UserError
from dkse_jax.evaluation.evaluate import make_forward, predict
from dkse_jax.evaluation.metrics import accuracy_and_loss
from dkse_jax.models import create_model
from dkse_jax.progress import say
from dkse_jax.training.estimate import announce
from dkse_jax.training.initial import check_frozen, initial_variables, started_from
from dkse_jax.training.optimizer import make_optimizer, make_schedule
from dkse_jax.training.state import TrainState, create_state, initialise
from dkse_jax.training.steps import Metrics, make_train_step
from dkse_jax.workdir import checkpoint, description
from dkse_jax.workdir.journal import Journal, Progress


def train(config: ConfigDict, workdir: Path) -> None:
    """Trains what the config describes, or goes on where an earlier start in workdir ended.

    Raises:
        UserError: a mistake in the config, the data or the workdir, before anything is written
            or compiled; or a loss that is not finite.
    """
    devices.reuse_memory()
    devices.check_batch_size(config.train.batch_size)
    description.check_workdir(workdir, config)
    splits = load_splits(config.data, config.seed)
    examples = splits["train"]
    transform = Transform.of(config.data)
    last_step = steps(config, len(examples))

    mesh = devices.make_mesh()
    model = create_model(config.model, len(examples.class_names))
    schedule = make_schedule(config.optimizer, last_step)
    frozen = tuple(filter(None, config.frozen.split(",")))
    optimizer = make_optimizer(config.optimizer, schedule, frozen)

    def fresh_state() -> TrainState:
        return create_state(model, optimizer, transform.size, config.seed)

    target = devices.abstract(jax.eval_shape(fresh_state), mesh)
    check_frozen(frozen, target.params)
    initial = None
    if config.init_from and checkpoint.latest_step(workdir) is None:
        initial = initial_variables(config, target.variables(), examples.class_names)
    description.begin(workdir, config, describe_inputs(splits, transform))
    state, step = restored_state(workdir, target)
    announce(config, model, splits, workdir, step=step, last_step=last_step)
    if step == last_step:
        return

    devices.use_compilation_cache()
    if state is None:
        state = initialise(fresh_state, mesh)
        if initial:
            state = dataclasses.replace(state, **started_from(state.variables(), initial))
    train_step = compiled(make_train_step(model, optimizer, config, transform, mesh), state, config)
    forward = make_forward(model, transform, mesh)
    batches = training_batches(examples, config, first_step=step + 1, last_step=last_step)
    evaluate_every = evaluation_interval(config, len(examples))
    progress = Progress(
        last_step,
        len(examples) / config.train.batch_size,
        config.train.batch_size,
        config.log.progress_seconds,
    )

    with Journal(workdir, step, config.log.tensorboard) as journal:

        def record(step: int, metrics: Metrics, batch: Batch, waited: float) -> None:
            line = training_line(metrics, step, schedule) | {
                "batch": batch_hash(examples, batch["index"])
            }
            journal.write(step, "train", line)
            progress.update(step, line["loss"], line["accuracy"], waited)

        unrecorded: tuple[int, Metrics, Batch, float] | None = None
        for batch, waited in with_waits(batches):
            state, metrics = train_step(state, batch["image"], batch["label"])
            step += 1
            # One step late: to read this step's metrics now would leave the devices idle.
            if unrecorded:
                record(*unrecorded)
            unrecorded = step, metrics, batch, waited

            evaluating = step % evaluate_every == 0 or step == last_step
            if not evaluating and step % config.train.checkpoint_every_steps:
                continue
            record(*unrecorded)
            unrecorded = None
            with progress.paused():
                on_val = {}
                if evaluating:
                    on_val = evaluate(forward, state, splits["val"], transform, config)
                    journal.write(step, "val", on_val)
                checkpoint.save(workdir, step, state.variables(), training_part(state), on_val)
    say(f"done: python eval.py --workdir={workdir}")


def describe_inputs(splits: dict[str, Source], transform: Transform) -> dict[str, Any]:
    """What the weights belong to, as a JSON tree: class names, transform, and which examples."""
    return {
        "class_names": list(splits["train"].class_names),
        "transform": dataclasses.asdict(transform)
        | {"mean": list(transform.mean), "std": list(transform.std)},
        "splits": {
            name: {"examples": len(split), "fingerprint": fingerprint(split)}
            for name, split in splits.items()
        },
    }


def training_part(state: TrainState) -> dict[str, Any]:
    """What only training needs of the state; the rest is state.variables()."""
    return {"step": state.step, "opt_state": state.opt_state}


def restored_state(workdir: Path, target: TrainState) -> tuple[TrainState | None, int]:
    """The newest undamaged state in a workdir and its step; (None, 0) without one."""
    found = checkpoint.restore_newest(workdir, target.variables(), training_part(target))
    if found is None:
        return None, 0
    step, variables, training = found
    return TrainState(**{"batch_stats": {}} | variables, **training), step


def compiled(train_step: Any, state: TrainState, config: ConfigDict) -> Any:
    """The train step, compiled for batches of the config's shape; says so, and how long it took."""
    size, batch_size = config.data.image_size, config.train.batch_size
    images = jax.ShapeDtypeStruct((batch_size, size, size, 3), np.uint8)
    labels = jax.ShapeDtypeStruct((batch_size,), np.int32)
    print("compiling the training step ...", flush=True)
    start = time.monotonic()
    program = train_step.lower(state, images, labels).compile()
    devices.return_free_memory()
    print(f"compiled in {time.monotonic() - start:.0f} s", flush=True)
    return program


def evaluation_interval(config: ConfigDict, examples: int) -> int:
    """Steps between two evaluations on val."""
    return max(1, round(config.train.evaluate_every_epochs * examples / config.train.batch_size))


def with_waits(batches: Iterable[Batch]) -> Iterator[tuple[Batch, float]]:
    """Each batch with the seconds that it was waited for."""
    iterator = iter(batches)
    while True:
        start = time.monotonic()
        batch = next(iterator, None)
        if batch is None:
            return
        yield batch, time.monotonic() - start


def training_line(metrics: Metrics, step: int, schedule: optax.Schedule) -> dict[str, Any]:
    """One step's numbers for the journal.

    Raises:
        UserError: the loss is not finite; what is on disk is older than that.
    """
    loss, learning_rate = float(metrics["loss"]), float(schedule(step - 1))
    if not math.isfinite(loss):
        raise UserError(
            f"the loss is {loss} at step {step}, at learning rate {learning_rate:.3g}; start again"
            " in a new workdir with a smaller config.optimizer.learning_rate"
        )
    return {"loss": loss, "accuracy": float(metrics["accuracy"]), "learning_rate": learning_rate}


def evaluate(
    forward: Any, state: TrainState, split: Source, transform: Transform, config: ConfigDict
) -> dict[str, float]:
    """Accuracy and loss over a whole split; prints them."""
    log_probabilities = predict(
        forward,
        state.variables(),
        split,
        transform,
        batch_size=config.eval.batch_size,
        threads=config.data.threads,
    )
    metrics = accuracy_and_loss(log_probabilities, split.labels)
    print(
        f"step {int(state.step)}  val accuracy {metrics['accuracy']:.4f}"
        f"  val loss {metrics['loss']:.4f}",
        flush=True,
    )
    return metrics
