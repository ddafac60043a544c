import mmap
import sys
import time

import numpy as np
import pytest

from benchmarks.serving import Task, memory, product_rate, reset_peak, task_handlers, timed

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def test_calls_go_on_for_the_seconds_and_the_least_number():
    calls = []
    assert len(timed(lambda: calls.append(1), 0, 3)) == 3
    assert len(calls) == 3
    assert sum(timed(lambda: None, 0.005, 1)) >= 5
    assert 1 < len(timed(lambda: time.sleep(0.002), 0.01, 1)) <= 5


def test_the_rate_counts_both_operations_of_the_fastest(monkeypatch):
    monkeypatch.setattr("benchmarks.serving.timed", lambda call, seconds, least: [4.0, 2.0, 8.0])
    assert product_rate(lambda n: n, lambda matrix: None) == pytest.approx(2 * 3072**3 / 0.002)


def take(size: int) -> None:
    """Memory, for a moment, from the system, whatever malloc keeps."""
    with mmap.mmap(-1, size) as block:
        np.frombuffer(block, np.uint8)[:] = 1


@linux
def test_the_peak_is_that_of_the_steps_that_are_asked_for():
    sizes = iter([2**28, 2**26])
    handlers = task_handlers(lambda: Task(lambda: take(next(sizes)), lambda: np.zeros(1)))
    handlers["prepare"]()
    handlers["run"](seconds=0)
    before = memory("VmRSS")
    assert 0.9 * 2**26 < handlers["peak"](steps=1)["peak"] - before < 1.5 * 2**26


@linux
def test_the_peak_begins_again():
    take(2**27)
    reset_peak()
    before = memory("VmHWM")
    with mmap.mmap(-1, 2**26) as block:
        np.frombuffer(block, np.uint8)[:] = 1
        assert 0.9 * 2**26 < memory("VmHWM") - before < 1.5 * 2**26
        assert memory("VmRSS") > 2**26


def test_a_field_that_is_not_there_is_0():
    assert memory("VmNothing") == memory("VmRS") == 0
