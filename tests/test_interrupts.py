"""Signals to this very process; what ends a process at once is in tests/faults/test_signals.py."""

import os
import signal
import time

import pytest

from dkse_jax import interrupts
from dkse_jax.interrupts import Interrupted


@pytest.fixture(autouse=True)
def installed():
    before = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    with interrupts.installed():
        yield
    assert {number: signal.getsignal(number) for number in interrupts.SIGNALS} == before


def send(number):
    os.kill(os.getpid(), number)
    time.sleep(0)  # a bytecode at which the handler runs


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_work_goes_on_until_it_asks(number, code):
    done = []

    def work():
        with interrupts.deferred():
            send(number)
            done.append("the step")
            interrupts.check()
            done.append("the next step")

    with pytest.raises(Interrupted, match=signal.Signals(number).name) as caught:
        work()
    assert done == ["the step"]
    assert caught.value.exit_code == code


def test_a_wait_is_broken_off():
    def wait():
        with interrupts.deferred(), interrupts.interruptible():
            send(signal.SIGTERM)
            time.sleep(60)

    start = time.monotonic()
    with pytest.raises(Interrupted):
        wait()
    assert time.monotonic() - start < 30


def test_a_wait_after_the_signal_does_not_begin():
    begun = []

    def wait():
        with interrupts.deferred():
            send(signal.SIGTERM)
            with interrupts.interruptible():
                begun.append("the wait")

    with pytest.raises(Interrupted):
        wait()
    assert not begun


def test_what_is_not_breakable_is_finished_and_the_signal_raised_at_the_end():
    done = []

    def save():
        with interrupts.deferred():
            with interrupts.interruptible():
                done.append("the wait")
            send(signal.SIGTERM)
            done.append("the save")

    with pytest.raises(Interrupted):
        save()
    assert done == ["the wait", "the save"]
