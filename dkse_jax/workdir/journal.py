"""The journal of a run: metrics.jsonl, TensorBoard event files and the progress line."""

import contextlib
import importlib.util
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dkse_jax.console import log, time_left
from dkse_jax.distributed import processes
from dkse_jax.errors import UserError
from dkse_jax.files import explain_disk_errors, write_atomically

PROGRESS_SECONDS = 10.0  # between two progress lines
_KEYS = ("loss", "accuracy", "learning_rate", "gradient_norm", "batch")


class Journal:
    """Writes `metrics.jsonl`, and TensorBoard event files if tensorboardX is installed.

    The file has one JSON object a line, without times, so that the file of a resumed run equals
    that of an uninterrupted one. Of several processes, only process 0 writes.

    Args:
        workdir: an existing folder.
        start_step: the step of the checkpoint from which the run resumes: later lines are
            dropped; 0 for a new run, which starts an empty file.
        tensorboard: whether to write event files to `<workdir>/tensorboard`.
        unevaluated: whether start_step will be evaluated again on val; its line is dropped too.

    Raises:
        UserError: a line other than the last one is damaged, or the disk is full.
    """

    def __init__(
        self,
        workdir: str | os.PathLike[str],
        start_step: int,
        tensorboard: bool,
        *,
        unevaluated: bool = False,
    ):
        writes = processes.is_first()
        self._path = path = Path(workdir) / "metrics.jsonl" if writes else Path(os.devnull)
        with explain_disk_errors("cannot write", path):
            if writes:
                _drop_after(path, start_step, unevaluated)
            self._file = path.open("ab", buffering=0)
        self._events: Any = None
        if writes and tensorboard and importlib.util.find_spec("tensorboardX"):
            from tensorboardX import SummaryWriter

            self._events = SummaryWriter(
                str(Path(workdir) / "tensorboard"),
                purge_step=start_step + 1,
                filename_suffix=f".{start_step}",  # two starts in one second would share a name
            )

    def write(self, step: int, split: str, values: Mapping[str, float | int | str]) -> None:
        """Writes one line, unbuffered, so that a crash of the program does not lose it.

        Args:
            step: the number of steps done.
            split: "train", "val" or "test".
            values: finite numbers and texts, with names of _KEYS.

        Raises:
            UserError: the disk is full.
        """
        if unknown := sorted(set(values) - set(_KEYS)):
            raise ValueError(f"metrics.jsonl has no key {unknown[0]}")
        values = {key: values[key] for key in _KEYS if key in values}
        line = json.dumps({"step": step, "split": split, **values}, allow_nan=False)
        rest = (line + "\n").encode()
        with explain_disk_errors("cannot write", self._path):
            while rest:  # a nearly full disk accepts a part, and refuses the next one
                rest = rest[self._file.write(rest) :]
        if self._events is not None:
            for key, value in values.items():
                if not isinstance(value, str):
                    self._events.add_scalar(f"{split}/{key}", value, step)

    def close(self) -> None:
        """Closes the files."""
        self._file.close()
        if self._events is not None:
            self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _drop_after(path: Path, step: int, unevaluated: bool) -> None:
    """Keeps only the lines of steps 1 to `step`, atomically."""

    def is_kept(line: dict[str, Any]) -> bool:
        again = unevaluated and line["step"] == step and line["split"] != "train"
        return line["step"] <= step and not again

    lines = path.read_bytes().splitlines() if step > 0 and path.exists() else []
    kept = []
    for number, line in enumerate(lines, start=1):
        try:
            if is_kept(json.loads(line)):
                kept.append(line)
        except (ValueError, KeyError, TypeError) as error:
            if number < len(lines):  # only the last line of a killed run may be incomplete
                raise UserError(f"line {number} of {path} is damaged") from error
    write_atomically(path, "".join(line.decode() + "\n" for line in kept))


class Progress:
    """Logs a line about the training every PROGRESS_SECONDS, and one at the last step.

    Rates are since the previous line, without the time spent `paused` and without the first step,
    which compiles.

    Args:
        total_steps: number of steps of the whole run.
        steps_per_epoch: may be fractional.
        batch_size: images a step.
    """

    def __init__(self, total_steps: int, steps_per_epoch: float, batch_size: int):
        self._total_steps = total_steps
        self._steps_per_epoch = steps_per_epoch
        self._batch_size = batch_size
        self._paused = 0.0
        self._window_start: float | None = None  # None before the first step
        self._steps = 0  # in the window, like the time waited
        self._waited = 0.0
        self._losses: list[float] = []
        self._accuracies: list[float] = []

    def update(self, step: int, loss: float, accuracy: float, waited_seconds: float) -> None:
        """Adds one finished step.

        Args:
            step: the number of steps done.
            loss: mean over the batch.
            accuracy: mean over the batch, from 0 to 1.
            waited_seconds: time that this step waited for its batch.
        """
        now = time.monotonic() - self._paused
        self._losses.append(loss)
        self._accuracies.append(accuracy)
        if self._window_start is None:
            self._window_start = now
        else:
            self._steps += 1
            self._waited += waited_seconds
        elapsed = now - self._window_start
        if step == self._total_steps or (self._steps and elapsed >= PROGRESS_SECONDS):
            log(self._line(step, elapsed))
            self._window_start = now
            self._steps, self._waited = 0, 0.0
            self._losses, self._accuracies = [], []

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Excludes the time spent inside, such as an evaluation, from the rates."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._paused += time.monotonic() - start

    def _line(self, step: int, elapsed: float) -> str:
        parts = [
            f"step {step}/{self._total_steps}",
            f"epoch {step / self._steps_per_epoch:.1f}",
            f"loss {sum(self._losses) / len(self._losses):.4f}",
            f"accuracy {sum(self._accuracies) / len(self._accuracies):.3f}",
        ]
        if self._steps and elapsed > 0:
            parts += [
                f"{self._steps * self._batch_size / elapsed:.1f} images/s",
                f"waiting for data {100 * self._waited / elapsed:.0f} %",
                f"left {time_left(elapsed, self._steps, self._total_steps - step)}",
            ]
        return "  ".join(parts)
