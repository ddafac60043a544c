"""Signals to this very process; what ends a process at once is in tests/faults/test_signals.py."""

import contextlib
import os
import signal
import time
import types

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


def test_a_signal_is_raised_once_however_often_it_comes():
    """A repeated signal must not interrupt the save that the first one led to."""
    done = []

    def work():
        with interrupts.deferred():
            try:
                with interrupts.interruptible():
                    try:
                        send(signal.SIGTERM)
                    finally:
                        for _ in range(5):
                            send(signal.SIGTERM)
                        done.append("the wait is over")
            except Interrupted:
                send(signal.SIGINT)
                done.append("the save")
                raise

    with pytest.raises(Interrupted, match="SIGTERM"):
        work()
    assert done == ["the wait is over", "the save"]


class Ended(BaseException):
    pass


def watched(monkeypatch, moments, *, deferred=True):
    """Signals at these times by a clock of our own: the time of the one that ended the program."""
    reader, writer = os.pipe()
    times, seen, codes, written = iter(moments), [], [], []

    def monotonic():
        seen.append(next(times))
        return seen[-1]

    def end(code):
        codes.append(code)
        raise Ended

    def write(_, text):
        written.append(text)

    monkeypatch.setattr(interrupts, "time", types.SimpleNamespace(monotonic=monotonic))
    fake = types.SimpleNamespace(read=os.read, _exit=end, write=write)
    monkeypatch.setattr(interrupts, "os", fake)
    monkeypatch.setattr(interrupts._state, "deferred", deferred)
    os.write(writer, bytes([signal.SIGTERM, signal.SIGCHLD] * len(moments)))
    os.close(writer)
    with contextlib.suppress(Ended):
        interrupts._watch(reader)
    os.close(reader)
    assert (codes, written) in (([], []), ([143], [b"stopped by SIGTERM\n"]))
    return seen[-1] if codes else None


@pytest.mark.parametrize(
    ("moments", "ends_at"),
    [
        ([7.0] * 99, None),
        ([7.0, 8.0, 9.0, 9.001], 9.001),
        ([7.0], None),
        ([7.0, 7.0], None),  # GNU timeout: to the program, and to its process group
        ([7.0, 7.4, 8.2, 9.0], None),  # a batch system that repeats itself
        ([7.0, 9.1], 9.1),
        ([7.0, 7.1, 8.0, 9.5], 9.5),  # two seconds after the first, not after the last
    ],
)
def test_signals_of_one_moment_are_one(monkeypatch, moments, ends_at):
    assert watched(monkeypatch, moments) == ends_at


def test_without_work_to_save_the_first_signal_ends_the_program(monkeypatch):
    assert watched(monkeypatch, [7.0, 7.0], deferred=False) == 7.0


def test_a_closed_terminal_does_not_keep_the_program(monkeypatch):
    def closed(*_):
        raise BrokenPipeError

    def end(code):
        raise Ended(code)

    fake = types.SimpleNamespace(read=os.read, _exit=end, write=closed)
    monkeypatch.setattr(interrupts, "os", fake)
    reader, writer = os.pipe()
    os.write(writer, bytes([signal.SIGINT]))
    os.close(writer)
    with pytest.raises(Ended, match="130"):
        interrupts._watch(reader)
    os.close(reader)
