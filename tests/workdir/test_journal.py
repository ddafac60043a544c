"""metrics.jsonl of resumed runs, event files, the progress line."""

import io
import json
import resource
import struct
import sys
import types
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from dkse_jax.errors import UserError
from dkse_jax.workdir import journal
from dkse_jax.workdir.journal import Journal, Progress


def write_steps(workdir: Path, start: int, stop: int, tensorboard: bool = False) -> None:
    """Writes the lines of steps start + 1 to stop, a val line at every fifth step."""
    with Journal(workdir, start, tensorboard) as lines:
        for step in range(start + 1, stop + 1):
            lines.write(
                step,
                "train",
                {"batch": f"b{step}", "learning_rate": 0.1 / step, "loss": 1 / 3, "accuracy": 0.5},
            )
            if step % 5 == 0:
                lines.write(step, "val", {"accuracy": 0.25, "loss": 2.0})


def events(workdir: Path) -> list[Event]:
    """All events of all files, in the order of the files' names."""
    found = []
    for path in sorted((workdir / "tensorboard").iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def test_a_line_has_its_keys_in_order_and_exact_floats(tmp_path):
    with Journal(tmp_path, 0, tensorboard=False) as lines:
        lines.write(1, "train", {"batch": "ab", "accuracy": 0.1 + 0.2, "loss": 1e-17})
        assert (tmp_path / "metrics.jsonl").read_text() == (
            '{"step": 1, "split": "train", "loss": 1e-17, "accuracy": 0.30000000000000004, '
            '"batch": "ab"}\n'
        )  # flushed before it is closed


def test_unknown_keys_and_numbers_that_are_not_finite_are_refused(tmp_path):
    with Journal(tmp_path, 0, tensorboard=False) as lines:
        with pytest.raises(ValueError, match="no key seconds"):
            lines.write(1, "train", {"loss": 1.0, "seconds": 2.0})
        with pytest.raises(ValueError, match="not JSON compliant"):
            lines.write(1, "train", {"loss": float("nan")})
    assert (tmp_path / "metrics.jsonl").read_text() == ""


@pytest.mark.parametrize("start", [0, 5, 10])
@pytest.mark.parametrize("half", [b"", b'{"step": 13, "spl', b"\xff\x00"])
def test_the_file_of_a_resumed_run_is_that_of_an_uninterrupted_one(tmp_path, start, half):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    write_steps(tmp_path / "whole", 0, 20)
    write_steps(tmp_path / "killed", 0, 12)
    with (tmp_path / "killed" / "metrics.jsonl").open("ab") as file:
        file.write(half)
    write_steps(tmp_path / "killed", start, 20)
    whole = (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert (tmp_path / "killed" / "metrics.jsonl").read_bytes() == whole
    assert len(whole.splitlines()) == 24
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["metrics.jsonl"]


def test_a_run_that_starts_anew_keeps_nothing(tmp_path):
    with Journal(tmp_path, 0, tensorboard=False) as lines:
        lines.write(0, "val", {"loss": 1.0})
    Journal(tmp_path, 0, tensorboard=False).close()
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_a_last_line_without_its_newline_is_kept(tmp_path):
    write_steps(tmp_path, 0, 3)
    path = tmp_path / "metrics.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    Journal(tmp_path, 3, tensorboard=False).close()
    assert path.read_bytes() == whole


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    write_steps(tmp_path, 0, 4)
    path = tmp_path / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{\n" + lines[2])
    with pytest.raises(UserError, match=r"line 2 of .*metrics\.jsonl is damaged"):
        Journal(tmp_path, 3, tensorboard=False)
    assert path.read_bytes() == lines[0] + b"{\n" + lines[2]


def test_event_files_hold_the_numbers_and_purge_on_resume(tmp_path):
    write_steps(tmp_path, 0, 5, tensorboard=True)
    scalars = {
        (event.summary.value[0].tag, event.step): event.summary.value[0].simple_value
        for event in events(tmp_path)
        if event.summary.value
    }
    assert scalars[("train/accuracy", 3)] == 0.5
    assert scalars[("val/loss", 5)] == 2.0
    assert len(scalars) == 5 * 3 + 2  # batch is a text
    write_steps(tmp_path, 3, 4, tensorboard=True)
    starts = [event.step for event in events(tmp_path) if event.HasField("session_log")]
    assert sorted(starts) == [1, 4]


def test_without_tensorboard_no_events(tmp_path, monkeypatch):
    write_steps(tmp_path, 0, 1, tensorboard=False)
    assert not (tmp_path / "tensorboard").exists()
    monkeypatch.setattr(journal.importlib.util, "find_spec", lambda name: None)
    write_steps(tmp_path, 0, 1, tensorboard=True)
    assert not (tmp_path / "tensorboard").exists()
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["step"] == 1


@pytest.fixture
def clock(monkeypatch):
    clock = types.SimpleNamespace(now=1000.0)
    monkeypatch.setattr(journal, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_progress_tells_the_window_since_the_line_before(clock, capsys, monkeypatch):
    monkeypatch.setattr(journal, "PROGRESS_SECONDS", 5.0)
    progress = Progress(total_steps=1000, steps_per_epoch=100.0, batch_size=32)
    clock.now += 60  # compiling
    progress.update(1, loss=3.0, accuracy=0.0, waited_seconds=30.0)
    for step in range(2, 7):
        assert capsys.readouterr().out == ""
        clock.now += 1
        progress.update(step, loss=1.0, accuracy=0.6, waited_seconds=0.25)
    assert capsys.readouterr().out == (
        "step 6/1000  epoch 0.1  loss 1.3333  accuracy 0.500  32.0 images/s  "
        "waiting for data 25 %  left 17 min\n"
    )
    clock.now += 2
    progress.update(7, loss=0.5, accuracy=0.75, waited_seconds=0.0)
    with progress.paused():
        clock.now += 600
    assert capsys.readouterr().out == ""
    clock.now += 3
    progress.update(8, loss=0.5, accuracy=0.75, waited_seconds=0.0)
    assert capsys.readouterr().out == (
        "step 8/1000  epoch 0.1  loss 0.5000  accuracy 0.750  12.8 images/s  "
        "waiting for data 0 %  left 41 min\n"
    )


def test_progress_ends_with_a_line_at_the_last_step(clock, capsys):
    progress = Progress(total_steps=2, steps_per_epoch=1.5, batch_size=4)
    progress.update(1, loss=1.0, accuracy=0.0, waited_seconds=0.0)
    clock.now += 2
    progress.update(2, loss=0.0, accuracy=1.0, waited_seconds=1.0)
    assert capsys.readouterr().out == (
        "step 2/2  epoch 1.3  loss 0.5000  accuracy 0.500  2.0 images/s  "
        "waiting for data 50 %  left 0 s\n"
    )
    single = Progress(total_steps=1, steps_per_epoch=1.0, batch_size=4)
    single.update(1, loss=1.0, accuracy=0.0, waited_seconds=0.0)
    assert capsys.readouterr().out == "step 1/1  epoch 1.0  loss 1.0000  accuracy 0.000\n"


def test_progress_flushes_every_line(clock, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "utf-8"))
    Progress(1, 1.0, 1).update(1, 1.0, 1.0, 0.0)
    assert raw.getvalue().startswith(b"step 1/1 ")
    assert raw.getvalue().endswith(b"\n")


def test_the_line_of_a_step_that_is_judged_once_more_is_dropped(tmp_path):
    with Journal(tmp_path, 0, tensorboard=False) as journal:
        for step in (1, 2, 3):
            journal.write(step, "train", {"loss": 1.0})
            journal.write(step, "val", {"loss": 2.0})
    with Journal(tmp_path, 2, tensorboard=False, unevaluated=True):
        pass
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["split"]) for line in lines] == [
        (1, "train"),
        (1, "val"),
        (2, "train"),
    ]


def test_a_full_disk_is_told(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(tmp_path, 0, tensorboard=False) as journal:
        journal.write(1, "train", {"loss": 1.0})
        resource.setrlimit(resource.RLIMIT_FSIZE, (60, limits[1]))
        try:
            with pytest.raises(UserError, match=r"cannot write .*jsonl \(\d+ MiB free\): .*large"):
                journal.write(2, "train", {"loss": 1.0})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    # A part of the line fitted in; a run that goes on from step 1 drops it.
    assert len((tmp_path / "metrics.jsonl").read_bytes()) == 60
    with Journal(tmp_path, 1, tensorboard=False):
        pass
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1
