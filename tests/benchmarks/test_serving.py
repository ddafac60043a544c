import mmap
import sys

import numpy as np
import pytest

from benchmarks.serving import memory, product_rate, reset_peak, timed

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def test_calls_go_on_for_the_seconds_and_the_least_number():
    calls = []
    assert len(timed(lambda: calls.append(1), 0, 3)) == 3
    assert len(calls) == 3
    assert sum(timed(lambda: None, 0.005, 1)) >= 5


def test_the_rate_counts_both_operations_of_the_fastest(monkeypatch):
    monkeypatch.setattr("benchmarks.serving.timed", lambda call, seconds, least: [4.0, 2.0, 8.0])
    assert product_rate(lambda n: n, lambda matrix: None) == pytest.approx(2 * 3072**3 / 0.002)


@linux
def test_the_peak_begins_again():
    def take(block: mmap.mmap) -> None:  # from the system, whatever malloc keeps
        np.frombuffer(block, np.uint8)[:] = 1

    with mmap.mmap(-1, 2**27) as larger:
        take(larger)
    reset_peak()
    before = memory("VmHWM")
    with mmap.mmap(-1, 2**26) as block:
        take(block)
        assert 0.9 * 2**26 < memory("VmHWM") - before < 1.5 * 2**26
        assert memory("VmRSS") > 2**26


def test_a_field_that_is_not_there_is_0():
    assert memory("VmNothing") == 0
