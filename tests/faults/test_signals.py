"""F2, F35: SIGTERM and SIGINT save and end the program; a later one ends it at once."""

import signal
import time

import pytest

from dkse_jax import interrupts
from dkse_jax.workdir import checkpoint
from tests.faults import runs

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}
fault = pytest.mark.fault("F2", "SIGTERM and SIGINT, once and twice, in every phase")


def assert_goes_on(workdir, step, assert_as_undisturbed):
    process = runs.train(workdir)
    assert process.end() == 0, process.output
    assert process.first_step == step
    assert_as_undisturbed(workdir)


@fault
@pytest.mark.parametrize(
    ("phase", "number", "step", "recorded"),
    [
        # The step is under way, and is saved once it is over.
        pytest.param("slow_step", signal.SIGTERM, 20, 18, marks=pytest.mark.full),
        # The batch of step 21 is awaited.
        ("data", signal.SIGINT, 20, 19),
        # Step 24 is being judged on val, and is saved without the verdict.
        pytest.param("judging", signal.SIGTERM, 24, 24, marks=pytest.mark.full),
    ],
)
def test_one_signal_saves_what_was_trained(
    tmp_path, assert_as_undisturbed, phase, number, step, recorded
):
    workdir = tmp_path / "run"
    process = runs.train(workdir, hooks=f"hooks.pause_{phase}")
    process.wait_for(f"PAUSED {phase}")
    process.wait_for(lambda: runs.last_step(workdir) >= recorded)
    process.signal(number)
    assert process.end(within=60) == CODES[number], process.output
    assert f"step {step} is saved; the same command goes on from there" in process.output
    assert process.output.splitlines()[-1] == f"stopped by {signal.Signals(number).name}"
    assert "Traceback" not in process.output
    assert_goes_on(workdir, step, assert_as_undisturbed)


@fault
@pytest.mark.full
def test_a_signal_while_saving_waits_for_the_save(tmp_path, assert_as_undisturbed):
    workdir = tmp_path / "run"
    process = runs.train(workdir, hooks="hooks.pause_saving")
    process.wait_for("PAUSED saving")
    process.signal(signal.SIGTERM)
    assert process.end(within=60) == 143, process.output
    assert "step 6 is saved" in process.output
    assert_goes_on(workdir, 6, assert_as_undisturbed)


@fault
@pytest.mark.full
def test_a_later_signal_ends_at_once_and_the_last_checkpoint_stands(
    tmp_path, assert_as_undisturbed
):
    workdir = tmp_path / "run"
    process = runs.train(workdir, hooks="hooks.pause_step")
    process.wait_for("PAUSED step")
    process.signal(signal.SIGTERM)
    time.sleep(interrupts.SAME_MOMENT + 0.5)
    process.signal(signal.SIGINT)
    assert process.end(within=10) == 130, process.output
    assert_goes_on(workdir, 18, assert_as_undisturbed)


@pytest.mark.fault("F35", "signals that are repeated within two seconds")
@pytest.mark.parametrize(
    "numbers",
    [
        (signal.SIGTERM, signal.SIGTERM),
        pytest.param((signal.SIGINT, signal.SIGINT), marks=pytest.mark.full),
        pytest.param((signal.SIGTERM, signal.SIGINT, signal.SIGTERM), marks=pytest.mark.full),
    ],
)
def test_signals_of_one_moment_save_what_was_trained(tmp_path, numbers):
    """As GNU timeout sends them, and batch systems."""
    workdir = tmp_path / "run"
    process = runs.train(workdir, hooks="hooks.pause_data")
    process.wait_for("PAUSED data")
    process.wait_for(lambda: runs.last_step(workdir) >= 19)
    for number in numbers:
        process.signal(number)
        time.sleep(0.01)  # a signal that is still pending swallows the same one
    assert process.end(within=60) == CODES[numbers[0]], process.output
    assert "step 20 is saved; the same command goes on from there" in process.output
    assert checkpoint.latest_step(workdir) == 20


@fault
@pytest.mark.full
@pytest.mark.parametrize("number", CODES)
def test_a_signal_while_compiling_ends_at_once(tmp_path, number):
    slow = ("--config.model.name=inception_v4", "--config.data.image_size=96")
    environment = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    process = runs.train(tmp_path / "run", *slow, environment=environment)
    process.wait_for("compiling the training step")
    process.signal(number)
    assert process.end(within=10) == CODES[number], process.output
    assert "compiled in" not in process.output
    assert process.output.splitlines()[-1] == f"stopped by {signal.Signals(number).name}"


@fault
def test_a_signal_while_evaluating_leaves_no_half_report(tmp_path, baseline):
    process = runs.Process(
        "eval.py", f"--workdir={baseline}", "--split=val", hooks="hooks.pause_judging"
    )
    process.wait_for("PAUSED judging")
    process.signal(signal.SIGTERM)
    assert process.end(within=60) == 143, process.output
    assert not (baseline / "eval" / "val").exists()


@fault
@pytest.mark.parametrize("saboteur", ["saboteurs.signals_unheard"])
def test_a_program_that_does_not_hear_is_noticed(tmp_path, saboteur):
    process = runs.train(tmp_path / "run", hooks=f"hooks.pause_data,{saboteur}")
    process.wait_for("PAUSED data")
    process.wait_for(lambda: runs.last_step(tmp_path / "run") >= 19)
    process.signal(signal.SIGTERM)
    with pytest.raises(AssertionError, match="still there after 3 s"):
        process.end(within=3)
