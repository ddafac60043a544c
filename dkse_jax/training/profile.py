"""Profiler traces of chosen training steps, for TensorBoard, XProf and Perfetto."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import jax

from dkse_jax.errors import UserError

Steps = tuple[int, int]  # the first and the last step


def check_steps(steps: Steps, first_step: int, last_step: int) -> None:
    """Raises UserError unless the steps are among those to be trained."""
    if steps[0] < first_step or steps[1] > last_step:
        raise UserError(
            f"--profile is {steps[0]}-{steps[1]}, but the steps to train are {first_step} to"
            f" {last_step}"
        )


def traced[Item](
    items: Iterable[Item], first_step: int, steps: Steps | None, folder: Path
) -> Iterator[Item]:
    """Yields the items, one a step, and writes a trace of the steps to the folder."""
    tracing = False
    try:
        for step, item in enumerate(items, start=first_step):
            if steps and step == steps[0]:
                jax.profiler.start_trace(str(folder))
                tracing = True
            # A step has ended when its metrics are read, during the next one.
            if tracing and steps and step == steps[1] + 2:
                jax.profiler.stop_trace()
                tracing = False
            yield item
    finally:
        if tracing:
            jax.profiler.stop_trace()
