"""F11 to F13: one of two processes dies, hangs, or sees another workdir than the other."""

import re
import shutil
import signal
import time

import pytest

from dkse_jax.config import to_json
from dkse_jax.workdir import description
from tests.faults.pairs import train_pair
from tests.faults.runs import journal, last_step, must_fail, train

SHORT = "--config.train.epochs=4"  # 24 steps
pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The short run by one process with two devices."""
    workdir = tmp_path_factory.mktemp("alone") / "w"
    process = train(workdir, SHORT, environment={"JAX_NUM_CPU_DEVICES": "2"})
    assert process.end() == 0, process.output
    return workdir


def assert_ends_as(alone, workdir, first_step=0, **named):
    """Starts both processes, again or anew, and compares what they leave with one process's."""
    with train_pair(workdir, SHORT, **named) as (first, second):
        assert (first.end(), second.end()) == (0, 0), first.output + second.output
    assert first.first_step >= first_step
    assert journal(workdir) == journal(alone)
    assert "done:" in first.output
    assert "step 24" not in second.output


@pytest.mark.fault("F11", "two processes, none dies")
@pytest.mark.parametrize("saboteur", ["-", "rows_of_the_other"])
def test_two_processes_are_one_with_as_many_devices(alone, tmp_path, saboteur):
    hooks = "-" if saboteur == "-" else f"saboteurs.{saboteur}"
    with must_fail(saboteur):
        assert_ends_as(alone, tmp_path / "w", hooks=(hooks, hooks))


@pytest.mark.fault("F11", "the second of two processes is killed, then the coordinator")
@pytest.mark.parametrize("killed", [1, 0])
def test_the_survivor_ends_with_a_sentence_and_both_go_on(alone, tmp_path, killed):
    with train_pair(tmp_path / "w", SHORT) as processes:
        processes[0].wait_for(lambda: last_step(tmp_path / "w") >= 8)
        processes[killed].kill()
        start = time.monotonic()
        survivor = processes[1 - killed]
        code = survivor.end(60)
        assert time.monotonic() - start < 30
    if killed == 1:
        assert code == 1
        assert re.search("process 1 on .* is gone: no sign of life for 20 s", survivor.output)
    else:  # JAX aborts it, unless the watcher is first
        assert code in (1, -signal.SIGABRT)
        assert re.search("leader task was preempted|coordinates the others", survivor.output)
    assert_ends_as(alone, tmp_path / "w", first_step=6)


@pytest.mark.fault("F12", "the data of one of two processes never come")
def test_a_process_that_hangs_is_named_and_both_end(alone, tmp_path):
    with train_pair(tmp_path / "w", SHORT, hooks=("-", "hooks.pause_data")) as (first, second):
        first.wait_for(lambda: last_step(tmp_path / "w") >= 19)
        start = time.monotonic()
        assert (first.end(70), second.end(70)) == (1, 1)
        assert time.monotonic() - start < 60
    assert "stuck: process 1 on " in first.output
    assert "stuck: process 1 on " in second.output
    assert "in train_loop" in second.output  # where it stood
    assert_ends_as(alone, tmp_path / "w", first_step=18)


@pytest.mark.fault("F13", "one of two processes does not see the newest checkpoint")
def test_processes_that_see_different_checkpoints_refuse(alone, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for workdir in (here, there):
        shutil.copytree(alone, workdir)
    (there / "checkpoints/24.json").unlink()
    before = journal(here)
    own = ((f"--workdir={here}",), (f"--workdir={there}",))
    with train_pair(tmp_path, "--config.train.epochs=5", own=own) as (first, second):
        assert (first.end(), second.end()) == (2, 2), first.output + second.output
    for process in (first, second):
        assert "the newest checkpoint is another to process 1 on " in process.output
        assert "Traceback" not in process.output
    assert journal(here) == before


@pytest.mark.fault("F13", "one of two processes sees an empty workdir, and would start from a run")
def test_processes_that_see_different_workdirs_refuse(alone, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(alone, here)
    config = description.load_config(alone)
    config.init_from = str(alone)
    (here / "config.json").write_text(to_json(config))
    own = ((f"--workdir={here}",), (f"--workdir={there}",))
    with train_pair(tmp_path, SHORT, f"--config.init_from={alone}", own=own) as (first, second):
        assert (first.end(60), second.end(60)) == (2, 2), first.output + second.output
    for process in (first, second):
        assert "the newest checkpoint is another to process 1 on " in process.output
        assert "Traceback" not in process.output
    assert not there.exists()


@pytest.mark.fault("F2", "SIGTERM to one of two processes")
def test_a_signal_to_one_saves_and_ends_both(alone, tmp_path):
    with train_pair(tmp_path / "w", SHORT) as (first, second):
        first.wait_for(lambda: last_step(tmp_path / "w") >= 8)
        second.signal(signal.SIGTERM)
        assert (first.end(), second.end()) == (143, 143), first.output + second.output
    assert "is saved; the same command goes on" in first.output
    assert_ends_as(alone, tmp_path / "w", first_step=9)


@pytest.mark.fault("F16", "two processes with different configs; no coordinator")
def test_what_processes_cannot_agree_on_is_refused(tmp_path):
    own = ((), ("--config.train.label_smoothing=0.2",))
    with train_pair(tmp_path / "w", own=own) as (first, second):
        assert (first.end(), second.end()) == (2, 2), first.output + second.output
    for process in (first, second):
        assert "config.train.label_smoothing is 0.2 to process 1 on" in process.output
    assert not (tmp_path / "w").exists()
    with train_pair(tmp_path / "w") as (first, second):
        first.kill()
        assert second.end(45) == 2, second.output
    assert "no answer from --coordinator=127.0.0.1:" in second.output
    assert "Traceback" not in second.output
    assert not (tmp_path / "w").exists()
