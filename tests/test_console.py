import types

import pytest

from dkse_jax import console
from dkse_jax.console import duration, log, time_left, with_progress


def test_a_line_is_plain_text(capsys):
    log("report: runs/\x1b[2J a\nb")
    assert capsys.readouterr().out == "report: runs/\ufffd[2J a\ufffdb\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min"), (61, "1 min"), (3599, "1 h 0 min"), (12000, "3 h 20 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_the_time_left_is_at_the_pace_so_far():
    assert time_left(elapsed=30, done=60, rest=240) == "2 min"


@pytest.fixture
def clock(monkeypatch):
    clock = types.SimpleNamespace(now=1000.0)
    monkeypatch.setattr(console, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def batches(clock, sizes, seconds):
    for size in sizes:
        clock.now += seconds
        yield [0] * size


def test_a_line_counts_what_the_items_hold_and_ends_with_them(clock, capsys):
    items = list(with_progress(batches(clock, [8, 8, 4], 1.5), 20, "evaluating", len))
    assert [len(item) for item in items] == [8, 8, 4]
    found = capsys.readouterr()
    lines = found.err.split("\r")[1:]
    assert [line.strip() for line in lines] == [
        "evaluating: 16 of 20, 1 s left",
        "evaluating: 20 of 20, 0 s left",
    ]
    assert found.err.endswith("\n")
    assert found.out == ""


def test_what_is_quick_has_no_line_and_an_error_begins_a_new_one(clock, capsys):
    assert len(list(with_progress(batches(clock, [1] * 4, 0.5), 4, "reading images"))) == 4
    assert capsys.readouterr().err == ""
    items = with_progress(batches(clock, [1] * 4, 3), 4, "reading images")
    next(items)
    items.close()
    line = "\rreading images: 1 of 4, 9 s left".ljust(72)
    assert capsys.readouterr().err == line + "\n"
