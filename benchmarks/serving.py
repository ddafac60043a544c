"""One side of a comparison: a process that prepares a task and times it whenever it is asked to.

Both frameworks are timed by this very code, each in an interpreter of its own, which needs NumPy
and Python 3.11 or newer. A request is one JSON object a line on stdin, its answer one on stdout.
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
    """Work to be timed.

    call: does it once and returns when it is done. logits: computes (B, K) float32 in float32 and
    eval mode, with the weights that the task began with. device_peak: bytes of the accelerator's
    memory used at most so far; None on a CPU, where the process's own memory is read.
    """

    call: Callable[[], None]
    logits: Callable[[], np.ndarray]
    device_peak: Callable[[], int] | None = None


def serve(build: Callable[..., Task], **more: Handler) -> None:
    """Answers requests {"do": NAME, **arguments} until stdin ends.

    prepare makes the task, build(**arguments); logits, run and memory are about it; `more` are
    handlers by name. What a handler raises is answered as {"error": ...}.
    """
    # What a framework or a compiler prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
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
    """The handlers that know nothing of the framework."""
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
    """Milliseconds of each call, for so many seconds, and so many calls at least."""
    times: list[float] = []
    total = 0.0
    while len(times) < least or total < 1000 * seconds:
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
        total += times[-1]
    return times


def product_rate(make: Callable[[int], Any], multiply: Callable[[Any], Any]) -> float:
    """Operations a second of a large matrix product, the best of a few sizes and times.

    make: n -> a matrix (n, n). multiply: multiplies it by itself and returns when that is done.
    """
    rates = []
    for n in (1024, 2048, 3072):
        matrix = make(n)
        times = timed(lambda matrix=matrix: multiply(matrix), 0, 6)  # type: ignore[misc]
        rates.append(2 * n**3 / (min(times) / 1000))
    return max(rates)


def memory(field: str) -> int:
    """Bytes of this process's memory: VmRSS now, VmHWM at most since `reset_peak`.

    0 where there is no /proc, which Linux alone has.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def reset_peak() -> None:
    """Lets VmHWM begin again at the memory held now."""
    Path("/proc/self/clear_refs").write_text("5")
