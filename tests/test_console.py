import io
import os
import sys
import types

import pytest

from dkse_jax import console
from dkse_jax.console import claim_descriptors, duration, log, say, tell, time_left, with_progress
from dkse_jax.errors import UserError


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


def test_a_line_has_the_pace_in_the_unit_of_the_items(clock, capsys):
    list(with_progress(batches(clock, [8, 2], 3), 10, "predicting", len, "files"))
    lines = [line.strip() for line in capsys.readouterr().err.split("\r")[1:]]
    assert lines == [
        "predicting: 8 of 10, 2.7 files/s, 1 s left",
        "predicting: 10 of 10, 1.7 files/s, 0 s left",
    ]


def test_what_is_quick_has_no_line_and_an_error_begins_a_new_one(clock, capsys):
    assert len(list(with_progress(batches(clock, [1] * 4, 0.5), 4, "reading images"))) == 4
    assert capsys.readouterr().err == ""
    items = with_progress(batches(clock, [1] * 4, 3), 4, "reading images")
    next(items)
    items.close()
    line = "\rreading images: 1 of 4, 9 s left".ljust(72)
    assert capsys.readouterr().err == line + "\n"


NAMES = ["Öffentlich", "oil_\uf022painting", "a\u2028b", "\udce9.jpg", "浮世绘", "é.jpg"]


@pytest.fixture
def terminal(monkeypatch, tmp_path):
    """`terminal(encoding)`: sys.stdout and sys.stderr of that encoding; returns their bytes."""
    opened = []

    def open_both(encoding):
        for name in ("stdout", "stderr"):
            stream = (tmp_path / name).open("w+", encoding=encoding, errors="strict")
            opened.append(stream)
            monkeypatch.setattr(sys, name, stream)
        return lambda name: (tmp_path / name).read_text(encoding)

    yield open_both
    for stream in opened:
        stream.close()


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "cp1252", "latin-1", "utf-8", "utf-16"])
@pytest.mark.parametrize("name", NAMES)
def test_every_terminal_prints_every_name(terminal, clock, name, encoding):
    text = terminal(encoding)
    say(name)
    log(name)
    tell(UserError(f"no {name}", "and another"))
    list(with_progress(batches(clock, [1] * 2, 3), 2, name))
    known = name.encode(encoding, "ignore").decode(encoding)
    shown = "".join(c if c in known else "?" for c in name)
    assert text("stdout").split("\n")[0] == shown
    assert text("stderr").splitlines()[1] == "and another"
    kept = [c for c in name if c.isascii()]
    for line in (text("stdout").split("\n")[1], text("stderr").split("\n")[0]):
        assert [c for c in line.removeprefix("no ") if c in name and c.isascii()] == kept
    assert ": 2 of 2, 0 s left" in text("stderr")


def test_a_reader_that_has_gone_is_not_missed(monkeypatch):
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w", encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    log("heard")
    assert os.read(reader, 100) == b"heard\n"
    os.close(reader)
    for size in (1, 100_000):  # less and more than a buffer
        say("x" * size)
    assert os.fstat(stream.fileno()).st_rdev == os.stat(os.devnull).st_rdev
    stream.close()  # nothing is left that could fail


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has it")
def test_a_full_disk_of_the_output_ends_nothing(monkeypatch):
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        for _ in range(3):
            log("x" * 10_000)
        assert os.fstat(stream.fileno()).st_rdev == os.stat(os.devnull).st_rdev


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_a_stream_without_a_file_is_none_or_written(monkeypatch, stream):
    monkeypatch.setattr(sys, "stdout", stream)
    say("é")
    assert stream is None or stream.getvalue() == "é\n"


@pytest.mark.parametrize("closed", [(2,), (1, 2), (0, 1, 2)])
def test_no_file_gets_the_number_of_a_closed_stream(closed, tmp_path):
    """Libraries print warnings to the number 2, whatever it is."""
    kept = {number: os.dup(number) for number in range(3)}
    try:
        for number in closed:
            os.close(number)
        claim_descriptors()
        with (tmp_path / "file").open("w") as file:
            number = file.fileno()
            os.write(2, b"a warning of a library")
    finally:
        for original, copy in kept.items():
            os.dup2(copy, original)
            os.close(copy)
    assert number > 2
    assert (tmp_path / "file").read_bytes() == b""
