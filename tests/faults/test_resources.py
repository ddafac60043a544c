"""F8, F9, F21, F22, F23: dead helpers, orphans, memory that runs out, /dev/shm, growth."""

import json
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.faults import runs

MANY = ("--config.data.image_size=224", "--config.data.synthetic.train_per_kind=2000")


def children(pid):
    """The living processes that a process started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(status.parent.name))
    return found


def painting(tmp_path):
    """A run while processes of its own paint its pictures, and these processes."""
    process = runs.train(
        tmp_path / "run", *MANY, environment={"XDG_CACHE_HOME": str(tmp_path / "cache")}
    )
    process.wait_for(lambda: len(children(process.pid)) >= 2)
    return process, children(process.pid)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.fault("F8", "a painting process is killed")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core paints by itself")
def test_a_helper_that_dies_is_told(tmp_path):
    process, helpers = painting(tmp_path)
    os.kill(helpers[0], signal.SIGKILL)
    assert process.end(within=60) == 2, process.output
    assert "a process that painted pictures died" in process.output.splitlines()[-1]
    assert "Traceback" not in process.output


@pytest.mark.fault("F9", "the trainer dies while others work for it; /dev/shm")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core paints by itself")
@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_orphans(tmp_path, number):
    shared = set(os.listdir("/dev/shm"))
    process, helpers = painting(tmp_path)
    process.signal(number)
    process.end(within=60)
    until = time.monotonic() + 60
    while any(map(alive, helpers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, helpers))
    assert set(os.listdir("/dev/shm")) <= shared


@pytest.mark.fault("F21", "3 GB of memory, and a batch of 100,000")
@pytest.mark.full
def test_too_little_memory_is_told(tmp_path):
    process = runs.train(
        tmp_path / "run",
        "--config.train.batch_size=100000",
        "--config.data.image_size=224",
        hooks="hooks.small_memory",
    )
    assert process.end() == 2, process.output
    last = process.output.splitlines()[-1]
    assert "there is too little memory for batches of config.train.batch_size=100000" in last
    assert "224 pixels" in last
    assert runs.last_step(tmp_path / "run") == 0


@pytest.mark.fault("F22", "/dev/shm is not used")
@pytest.mark.full
def test_nothing_is_kept_in_shared_memory(tmp_path):
    process = runs.train(tmp_path / "run", hooks="hooks.pause_step")
    process.wait_for("PAUSED step")
    assert "/dev/shm" not in Path(f"/proc/{process.pid}/maps").read_text()
    opened = [os.readlink(link) for link in Path(f"/proc/{process.pid}/fd").iterdir()]
    assert not any(path.startswith("/dev/shm") for path in opened)
    process.kill()


@pytest.mark.fault("F23", "growth over 3,000 steps and 5 resumes")
@pytest.mark.full
def test_nothing_grows(tmp_path):
    workdir = tmp_path / "run"
    rates = ("epochs=500.0", "checkpoint_every_steps=50", "evaluate_every_epochs=40.0")
    flags = ["--config.log.tensorboard=true", *(f"--config.train.{rate}" for rate in rates)]
    for stop in (150, 300, 450, 600, 700):
        process = runs.train(workdir, *flags)
        process.wait_for(lambda stop=stop: runs.last_step(workdir) >= stop)
        process.kill()
    process = runs.train(workdir, *flags, hooks="hooks.memory_reported")
    assert process.end() == 0, process.output
    steps = [
        line["step"]
        for line in map(json.loads, runs.journal(workdir).splitlines())
        if line["split"] == "train"
    ]
    assert steps == list(range(1, 3001))
    events = sum(path.stat().st_size for path in (workdir / "tensorboard").iterdir())
    assert 0 < events < 2 * 2**20
    resident = [float(text) for text in re.findall(r"RESIDENT ([\d.]+)", process.output)]
    after_warm_up = resident[8:]
    assert len(after_warm_up) >= 12
    slope, _ = np.polyfit(range(len(after_warm_up)), after_warm_up, 1)
    assert slope <= 1.0  # MiB in 100 steps
