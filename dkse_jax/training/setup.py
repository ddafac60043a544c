"""The setup of a run from its config and data: everything that no step changes."""

import dataclasses
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dkse_jax import arithmetic, sharding
from dkse_jax.config import steps
from dkse_jax.data.pipeline import fingerprint
from dkse_jax.data.sources import Source
from dkse_jax.data.transform import Transform
from dkse_jax.distributed import processes
from dkse_jax.readable import check_classes, list_skipped, readable
from dkse_jax.training.frozen import check_frozen, frozen_prefixes
from dkse_jax.training.limits import check_norms, check_warmup
from dkse_jax.training.optimizer import make_optimizer, make_schedule
from dkse_jax.training.state import TrainState, create_state


@dataclasses.dataclass(frozen=True)
class Setup:
    """The constant parts of a run.

    Attributes:
        config: the run's.
        splits: "train", "val" and "test".
        transform: of val and test; training normalises with it too.
        mesh: of devices.
        model: its classes are those of the splits.
        schedule: number of earlier updates -> learning rate.
        optimizer: uses the schedule.
        last_step: number of steps of the whole run.
        evaluate_every: steps between two evaluations on val.
    """

    config: ConfigDict
    splits: dict[str, Source]
    transform: Transform
    mesh: Mesh
    model: nn.Module
    schedule: optax.Schedule
    optimizer: optax.GradientTransformation
    last_step: int
    evaluate_every: int

    @cached_property
    def fresh_state(self) -> Callable[[], TrainState]:
        """Builds the state before the first step; to be traced, which happens once."""
        size, seed = self.transform.size, self.config.seed
        return jax.jit(lambda: create_state(self.model, self.optimizer, size, seed))

    def abstract_state(self) -> TrainState:
        """Returns the shapes, dtypes and shardings of every state."""
        return sharding.abstract(jax.eval_shape(self.fresh_state), self.mesh)

    def is_due(self, step: int) -> bool:
        """Returns whether the weights are evaluated on val after this step."""
        return step % self.evaluate_every == 0 or step == self.last_step


def make_setup(
    config: ConfigDict,
    splits: dict[str, Source],
    mesh: Mesh,
    chosen: arithmetic.Arithmetic | None = None,
) -> Setup:
    """Builds the setup of a training on the splits; compiles nothing.

    Args:
        config: of the run.
        splits: "train", "val" and "test".
        mesh: one that passes `sharding.check_batch_size`.
        chosen: the arithmetic of the network: see `arithmetic.choose`.

    Raises:
        UserError: a mistake in the config, or a config that does not match the splits.
    """
    examples = len(splits["train"])
    last_step = steps(config, examples)
    check_warmup(config, last_step)
    schedule = make_schedule(config.optimizer, last_step)
    frozen = frozen_prefixes(config)
    setup = Setup(
        config=config,
        splits=splits,
        transform=Transform.of(config.data),
        mesh=mesh,
        model=arithmetic.network(config, len(splits["train"].class_names), mesh, chosen),
        schedule=schedule,
        optimizer=make_optimizer(config.optimizer, schedule, frozen),
        last_step=last_step,
        evaluate_every=evaluation_interval(config, examples),
    )
    if frozen:
        check_frozen(frozen, setup.abstract_state().params)
    check_norms(config, setup.model)
    return setup


def readable_splits(setup: Setup, workdir: Path) -> dict[str, Source]:
    """Returns the splits without unreadable images of train and val; writes their list."""
    splits, skipped = dict(setup.splits), []
    for name in ("train", "val"):
        splits[name], of_split = readable(
            workdir, splits[name], setup.config.data, setup.transform.size
        )
        skipped += of_split
        check_classes(setup.splits[name], splits[name])
    if processes.is_first():
        list_skipped(workdir, skipped)
    return splits


def evaluation_interval(config: ConfigDict, examples: int) -> int:
    """Returns the steps between two evaluations on val."""
    epochs = config.train.evaluate_every_epochs
    return max(1, round(epochs * examples / config.train.batch_size))


def describe_inputs(
    splits: dict[str, Source],
    transform: Transform,
    chosen: arithmetic.Arithmetic | None = None,
) -> dict[str, Any]:
    """Returns the inputs of a run as a JSON tree: class names, transform, splits, arithmetic."""
    return ({"arithmetic": chosen} if chosen else {}) | {
        "class_names": list(splits["train"].class_names),
        "transform": dataclasses.asdict(transform)
        | {"mean": list(transform.mean), "std": list(transform.std)},
        "splits": {
            name: {"examples": len(split), "fingerprint": fingerprint(split)}
            for name, split in splits.items()
        },
    }
