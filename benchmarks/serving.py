"""The process of one backend: prepares a task and times it on request.

This code times both frameworks, each in its own interpreter, which needs NumPy and Python 3.11 or
newer. A request is one JSON object a line on stdin, its answer one on stdout.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Handler = Callable[..., dict[str, Any]]


class Task(NamedTuple):
    """A task to be timed.

    call: runs it once, synchronously. logits: computes (B, K) float32 in float32 and eval mode,
    with the task's initial weights. device_peak: peak bytes of the accelerator's memory; None on a
    CPU, where the process's resident memory is read.
    """

    call: Callable[[], None]
    logits: Callable[[], np.ndarray]
    device_peak: Callable[[], int] | None = None


def serve(build: Callable[..., Task], **more: Handler) -> None:
    """Answers requests {"do": NAME, **arguments} until stdin ends.

    "prepare" makes the task, build(**arguments), which "logits", "run" and "peak" use; `more` are
    handlers by name. An exception in a handler is answered as {"error": ...}.
    """
    # Output of a framework or a compiler must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # none is lost at a kill
    handlers = task_handlers(build) | more
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = handlers[request.pop("do")](**request)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def task_handlers(build: Callable[..., Task]) -> dict[str, Handler]:
    """Returns the handlers that are common to all frameworks."""
    tasks: list[Task] = []

    def prepare(**arguments: Any) -> dict[str, Any]:
        tasks[:] = [build(**arguments)]
        return {}

    def logits(path: str) -> dict[str, Any]:
        np.save(path, tasks[0].logits())
        return {}

    def run(seconds: float, least: int = 1) -> dict[str, Any]:
        return {"ms": timed(tasks[0].call, seconds, least)}

    def peak(steps: int) -> dict[str, Any]:
        call, _, device_peak = tasks[0]
        reset_peak()
        timed(call, 0, steps)
        return {"peak": device_peak() if device_peak else memory("VmHWM")}

    return {"prepare": prepare, "logits": logits, "run": run, "peak": peak}


def timed(call: Callable[[], None], seconds: float, least: int) -> list[float]:
    """Times calls for `seconds`, and `least` calls at least; returns milliseconds."""
    times: list[float] = []
    total = 0.0
    while len(times) < least or total < 1000 * seconds:
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
        total += times[-1]
    return times


def product_rate(make: Callable[[int], Any], multiply: Callable[[Any], Any]) -> float:
    """Measures operations a second of a large matrix product, the best of some sizes and calls.

    make: n -> a matrix (n, n). multiply: multiplies it by itself, synchronously.
    """
    rates = []
    for n in (1024, 2048, 3072):
        matrix = make(n)
        times = timed(lambda matrix=matrix: multiply(matrix), 0, 6)  # type: ignore[misc]
        rates.append(2 * n**3 / (min(times) / 1000))
    return max(rates)


def memory(field: str) -> int:
    """Returns bytes of this process's memory: VmRSS now, VmHWM the peak since `reset_peak`.

    0 without /proc, which only Linux has.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def reset_peak() -> None:
    """Resets VmHWM to the current memory."""
    Path("/proc/self/clear_refs").write_text("5")
