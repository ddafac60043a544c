"""Training, top to bottom."""

import contextlib
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dkse_jax import arithmetic, interrupts, provenance, runtime, sharding
from dkse_jax.console import log
from dkse_jax.data.pipeline import Batch, training_batches
from dkse_jax.data.sources import load_splits
from dkse_jax.distributed import processes, signals, watch
from dkse_jax.evaluation.calibrate import calibrate
from dkse_jax.evaluation.card import write_card
from dkse_jax.files import expanded, locked
from dkse_jax.inference import Forward, make_forward
from dkse_jax.training.estimate import announce, eval_command
from dkse_jax.training.initial import initial_variables, started_from
from dkse_jax.training.measure import evaluate, training_line, with_waits
from dkse_jax.training.profile import Steps, check_steps, traced
from dkse_jax.training.setup import Setup, describe_inputs, make_setup, readable_splits
from dkse_jax.training.state import TrainState, initialise, restored_state, training_part
from dkse_jax.training.steps import Metrics, TrainStep, compiled, make_train_step
from dkse_jax.workdir import checkpoint, description
from dkse_jax.workdir.journal import Journal, Progress


def train(
    config: ConfigDict,
    workdir: str | os.PathLike[str],
    mesh: Mesh | None = None,
    profile: Steps | None = None,
) -> dict[str, float]:
    """Trains by the config, or resumes the training of an earlier start in workdir.

    Args:
        config: of the run.
        workdir: of the run.
        mesh: to train on; by default all devices, with config.devices.fsdp along the second axis.
        profile: the first and last step of a profiler trace in workdir/profile.

    Returns:
        Accuracy and loss on val after the last step.

    Raises:
        UserError: a mistake in the config, the data or the workdir, before anything is written
            or compiled; or a loss that is not finite, a full disk, too little memory.
        Interrupted: by a signal; the last step is saved.
    """
    workdir = Path(expanded(workdir))
    config = description.as_begun(workdir, config)
    if processes.is_first():
        description.check_workdir(workdir, config)
    mesh = runtime.default_mesh(config.devices.fsdp) if mesh is None else mesh
    sharding.check_batch_size(config.train.batch_size, config.train.accumulate, mesh)
    chosen = arithmetic.choose(config, mesh, description.begun_arithmetic(workdir))
    plan = make_setup(config, load_splits(config.data, config.seed), mesh, chosen)
    inputs = describe_inputs(plan.splits, plan.transform, chosen)
    processes.check_agreed(description.facts(config, inputs))
    target = plan.abstract_state()
    provenance.check(workdir, plan.splits)
    initial = None
    if config.init_from and checkpoint.latest_step(workdir) is None:
        class_names = plan.splits["train"].class_names
        initial = initial_variables(config, target.variables(), class_names, mesh)
    before = provenance.history(workdir, config, fresh=initial is not None)
    record_data = provenance.recorder(workdir, plan.splits, before)
    processes.barrier("the run begins")
    with locked(workdir) if processes.is_first() else contextlib.nullcontext():
        if processes.is_first():
            description.begin(workdir, config, inputs)
        if config.data.on_bad_image == "skip":
            plan = make_setup(config, readable_splits(plan, workdir), mesh, chosen)
        state, step = restored_state(workdir, target)
        # A run that was interrupted in an evaluation has saved its weights unevaluated.
        unevaluated = step > 0 and plan.is_due(step) and not checkpoint.read_metrics(workdir, step)
        announce(
            config, plan.model, plan.splits, workdir, mesh, step=step, last_step=plan.last_step
        )
        if step == plan.last_step and not unevaluated:
            calibrate(workdir, plan.splits["train"], plan.splits["val"], mesh)
            return checkpoint.read_metrics(workdir, step)

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
                on_val = train_loop(
                    plan,
                    workdir,
                    journal,
                    train_step,
                    forward,
                    state,
                    record_data,
                    unevaluated=unevaluated,
                    profile=profile,
                )
        calibrate(workdir, plan.splits["train"], plan.splits["val"], mesh)
    log(f"done: {eval_command(workdir, plan.splits)}")
    if processes.is_first():
        write_card(workdir)
    return on_val


def train_loop(
    plan: Setup,
    workdir: Path,
    journal: Journal,
    train_step: TrainStep,
    forward: Forward,
    state: TrainState,
    record_data: Callable[[], None],
    *,
    unevaluated: bool,
    profile: Steps | None,
) -> dict[str, float]:
    """Trains from the state's step to the plan's last; writes the journal and checkpoints.

    Args:
        plan: the run's setup.
        workdir: its folder, locked.
        journal: open.
        train_step: compiled.
        forward: see `make_forward`.
        state: the newest one in workdir, or the initial one.
        record_data: writes what is known of the data (see `provenance.recorder`).
        unevaluated: whether that state's metrics on val are missing.
        profile: see `train`.

    Returns:
        Accuracy and loss on val of the last evaluation.

    Raises:
        UserError: a loss that is not finite, on val after the step is saved, or a full disk.
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
        checkpoint.write_metrics(workdir, step, on_val)
        return on_val

    def save() -> None:
        with progress.paused():
            record_data()  # first: no step without its data
            checkpoint.save(workdir, step, state.variables(), training_part(state), {})

    on_val: dict[str, float] = {}
    try:
        if unevaluated:
            on_val = evaluated()
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
                save()
                saved = step
                if plan.is_due(step):
                    on_val = evaluated()
            check_signals()
    except interrupts.Interrupted:
        record()
        if step > saved:
            save()
        if step:
            log(f"step {step} is saved; the same command goes on from there")
        raise
    return on_val
