"""Training, top to bottom."""

import contextlib
import dataclasses
import math
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dkse_jax import interrupts, runtime, sharding
from dkse_jax.console import log
from dkse_jax.data.pipeline import Batch, batch_hash, training_batches
from dkse_jax.data.sources import load_splits
from dkse_jax.distributed import processes, signals, watch
from dkse_jax.errors import UserError
from dkse_jax.evaluation.evaluate import predict
from dkse_jax.evaluation.metrics import accuracy_and_loss
from dkse_jax.files import locked
from dkse_jax.inference import Forward, make_forward
from dkse_jax.training.estimate import announce
from dkse_jax.training.initial import initial_variables, started_from
from dkse_jax.training.profile import Steps, check_steps, traced
from dkse_jax.training.setup import Setup, describe_inputs, make_setup, readable_splits
from dkse_jax.training.state import TrainState, initialise
from dkse_jax.training.steps import Metrics, TrainStep, make_train_step
from dkse_jax.workdir import checkpoint, description
from dkse_jax.workdir.journal import Journal, Progress


def train(
    config: ConfigDict,
    workdir: str | os.PathLike[str],
    mesh: Mesh | None = None,
    profile: Steps | None = None,
) -> None:
    """Trains by the config, or resumes the training of an earlier start in workdir.

    Args:
        config: of the run.
        workdir: of the run.
        mesh: to train on; by default all devices, with config.devices.fsdp along the second axis.
        profile: the first and last step of a profiler trace in workdir/profile.

    Raises:
        UserError: a mistake in the config, the data or the workdir, before anything is written
            or compiled; or a loss that is not finite, a full disk, too little memory.
        Interrupted: by a signal; the last step is saved.
    """
    workdir = Path(workdir)
    if processes.is_first():
        description.check_workdir(workdir, config)
    mesh = runtime.default_mesh(config.devices.fsdp) if mesh is None else mesh
    sharding.check_batch_size(config.train.batch_size, config.train.accumulate, mesh)
    plan = make_setup(config, load_splits(config.data, config.seed), mesh)
    inputs = describe_inputs(plan.splits, plan.transform)
    processes.check_agreed(description.facts(config, inputs))
    target = plan.abstract_state()
    initial = None
    if config.init_from and checkpoint.latest_step(workdir) is None:
        class_names = plan.splits["train"].class_names
        initial = initial_variables(config, target.variables(), class_names, mesh)
    processes.barrier("the run begins")
    with locked(workdir) if processes.is_first() else contextlib.nullcontext():
        if processes.is_first():
            description.begin(workdir, config, inputs)
        if config.data.on_bad_image == "skip":
            plan = make_setup(config, readable_splits(plan, workdir), mesh)
        state, step = restored_state(workdir, target)
        # A run that was interrupted in an evaluation has saved its weights unevaluated.
        unevaluated = step > 0 and plan.is_due(step) and not checkpoint.read_metrics(workdir, step)
        announce(
            config, plan.model, plan.splits, workdir, mesh, step=step, last_step=plan.last_step
        )
        if step == plan.last_step and not unevaluated:
            return

        if profile:
            check_steps(profile, step + 1, plan.last_step)
        with runtime.explain_out_of_memory(config):
            if state is None:
                state = initialise(plan.fresh_state, plan.mesh)
                if initial:
                    state = dataclasses.replace(state, **started_from(state.variables(), initial))
            program = make_train_step(
                plan.model, plan.optimizer, plan.schedule, config, plan.transform, plan.mesh
            )
            train_step = compiled(program, state, config, mesh)
            forward = make_forward(plan.model, plan.transform, plan.mesh)
            journal = Journal(workdir, step, config.log.tensorboard, unevaluated=unevaluated)
            with journal, interrupts.deferred(), watch.working():
                train_loop(
                    plan,
                    workdir,
                    journal,
                    train_step,
                    forward,
                    state,
                    unevaluated=unevaluated,
                    profile=profile,
                )
    log(f"done: dkse-eval --workdir={workdir}")


def train_loop(
    plan: Setup,
    workdir: Path,
    journal: Journal,
    train_step: TrainStep,
    forward: Forward,
    state: TrainState,
    *,
    unevaluated: bool,
    profile: Steps | None,
) -> None:
    """Trains from the state's step to the plan's last; writes the journal and checkpoints.

    Args:
        plan: the run's setup.
        workdir: its folder, locked.
        journal: open.
        train_step: compiled.
        forward: see `make_forward`.
        state: the newest one in workdir, or the initial one.
        unevaluated: whether that state's metrics on val are missing.

    Raises:
        UserError: a loss that is not finite, or a full disk.
        Interrupted: by a signal; the last step is saved.
    """
    config, examples = plan.config, plan.splits["train"]
    batch_size = config.train.batch_size
    check_signals = signals.make_check(plan.mesh)
    step = saved = int(state.step)
    batches = training_batches(
        examples,
        config,
        first_step=step + 1,
        last_step=plan.last_step,
        rows=sharding.local_indices(plan.mesh, batch_size),
    )
    progress = Progress(plan.last_step, len(examples) / batch_size, batch_size)
    unrecorded: tuple[int, Metrics, Batch, float] | None = None

    def record() -> None:
        nonlocal unrecorded
        if unrecorded:
            number, metrics, batch, waited = unrecorded
            line = training_line(plan, number, metrics, batch)
            journal.write(number, "train", line)
            progress.update(number, line["loss"], line["accuracy"], waited)
            unrecorded = None

    def evaluated() -> dict[str, float]:
        with progress.paused(), interrupts.interruptible():
            on_val = evaluate(plan, forward, state)
        journal.write(step, "val", on_val)
        return on_val

    def save(on_val: dict[str, float]) -> None:
        with progress.paused():
            checkpoint.save(workdir, step, state.variables(), training_part(state), on_val)

    try:
        if unevaluated:
            checkpoint.write_metrics(workdir, step, evaluated())
        items = traced(with_waits(batches), step + 1, profile, workdir / "profile")
        for batch, waited in items:
            watch.heartbeat()
            images = sharding.to_global_array(batch["image"], batch_size, plan.mesh)
            labels = sharding.to_global_array(batch["label"], batch_size, plan.mesh)
            with jax.profiler.StepTraceAnnotation("train", step_num=step + 1):
                state, metrics = train_step(state, images, labels)
            step += 1
            # One step late, since reading this step's metrics now would leave the devices idle.
            record()
            unrecorded = step, metrics, batch, waited
            if plan.is_due(step) or step % config.train.checkpoint_every_steps == 0:
                record()
                save(evaluated() if plan.is_due(step) else {})
                saved = step
            check_signals()
    except interrupts.Interrupted:
        record()
        if step > saved:
            save({})
        if step:
            log(f"step {step} is saved; the same command goes on from there")
        raise


def training_part(state: TrainState) -> dict[str, Any]:
    """Returns the part of the state beside its variables, which only training needs."""
    return {"step": state.step, "opt_state": state.opt_state}


def restored_state(workdir: Path, target: TrainState) -> tuple[TrainState | None, int]:
    """Restores the newest undamaged state in a workdir and its step; (None, 0) without one."""
    found = checkpoint.restore_newest(workdir, target.variables(), training_part(target))
    if found is None:
        return None, 0
    step, variables, training = found
    return TrainState(**{"batch_stats": {}} | variables, **training), step


def compiled(train_step: Any, state: TrainState, config: ConfigDict, mesh: Mesh) -> TrainStep:
    """Compiles the train step for batches of the config's shape; logs the time."""
    size, batch_size = config.data.image_size, config.train.batch_size
    images = jax.ShapeDtypeStruct((batch_size, size, size, 3), np.uint8)
    labels = jax.ShapeDtypeStruct((batch_size,), np.int32)
    log("compiling the training step ...")
    start = time.monotonic()
    program = train_step.lower(state, images, labels).compile()
    runtime.return_free_memory()
    log(f"compiled in {time.monotonic() - start:.0f} s")
    return runtime.trimmed(program, mesh)


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
    """Computes and logs accuracy and loss over the whole of val."""
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
    metrics = accuracy_and_loss(log_probabilities, split.labels)
    log(
        f"step {int(state.step)}  val accuracy {metrics['accuracy']:.4f}"
        f"  val loss {metrics['loss']:.4f}"
    )
    return metrics
