"""The timed processes, and their interleaved rounds."""

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from dkse_jax.errors import UserError

ROOT = Path(__file__).parents[1]
TOLERANCE = 1e-4  # relative to the largest logit
NARROW_TOLERANCE = 0.05  # of a backend that may compute in bfloat16


class Worker:
    """A process that answers requests (benchmarks.serving); a context manager.

    Args:
        name: its name in errors.
        command: the program and its arguments, run in the repository's root.
        log: receives the process's output other than answers.
        environment: additional variables.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: IO[str], environment: Mapping[str, str]
    ):
        self.name = name
        self._log = log
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def send(self, do: str, **arguments: Any) -> None:
        """Sends a request; call `answer` next."""
        assert self._process.stdin is not None
        try:
            print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._failure("it ended") from None

    def answer(self) -> dict[str, Any]:
        """Waits for the answer to the last request; raises UserError if the process failed."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failure("it ended: out of memory?")
        answer = json.loads(line)
        if "error" in answer:
            raise self._failure(answer["error"].splitlines()[0])
        return answer

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Sends a request and returns its answer."""
        self.send(do, **arguments)
        return self.answer()

    def _failure(self, reason: str) -> UserError:
        return UserError(f"{self.name} failed: {reason}; {self._log.name} has more")


def ask_all(
    workers: Sequence[Worker], do: str, arguments: Callable[[Worker], Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Sends a request to all workers concurrently and returns their answers; not for timing."""
    for worker in workers:
        worker.send(do, **arguments(worker))
    return [worker.answer() for worker in workers]


def interleave(
    workers: Sequence[Worker], rounds: int, seconds: float, most_seconds: float
) -> list[list[float]]:
    """Times the workers in rounds A B C A B C ..., one at a time.

    In each round a worker runs for `seconds`, at least one call. No round begins after
    most_seconds, but there are three. Returns each worker's median milliseconds of each round.
    """
    medians: list[list[float]] = [[] for _ in workers]
    spent = 0.0
    for number in range(rounds):
        if number >= 3 and spent > most_seconds:
            break
        for worker, of_worker in zip(workers, medians, strict=True):
            times = worker.ask("run", seconds=seconds)["ms"]
            of_worker.append(median(times))
            spent += sum(times) / 1000
    return medians


def ratios(ours: Sequence[float], other: Sequence[float]) -> list[float]:
    """Returns other / ours for each round."""
    return [b / a for a, b in zip(ours, other, strict=True)]


def check_logits(
    ours: np.ndarray, other: np.ndarray, name: str, tolerance: float = TOLERANCE
) -> float:
    """Returns the largest difference relative to the largest logit.

    Raises:
        UserError: it is above the tolerance or not a number.
    """
    difference = float(np.abs(ours - other).max() / np.abs(ours).max())
    if not difference <= tolerance:
        raise UserError(
            f"the logits of {name} differ from ours by {difference:.1e} of the largest one, which"
            f" is more than {tolerance:.0e}: nothing was timed"
        )
    return difference
