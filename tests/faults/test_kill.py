"""F1, F5: killed at any moment, a run ends bit for bit as if it never was."""

import random
import re
import time

import pytest

from tests.faults import runs
from tests.short import FULL

KILLS = 20 if FULL else 2
DURING_A_WRITE = 8 if FULL else 1
STARTS = 5 if FULL else 1


def kill_at_a_moment(workdir, process, moments, during_a_write):
    """Kills a life some steps after its first, or in the first write after that."""
    process.wait_for("compiled in")
    # So that 20 lives fit into 120 steps, and two, each with a save, into 40.
    target = process.first_step + moments.randint(*((2, 10) if FULL else (6, 10)))
    process.wait_for(lambda: runs.last_step(workdir) >= target)
    if during_a_write:
        process.wait_for(lambda: runs.writing(workdir))
    else:
        time.sleep(moments.uniform(0, 0.05))
    process.kill()


@pytest.mark.fault("F1", "SIGKILL at random moments, some during a write")
@pytest.mark.fault("F5", "leftovers of killed saves")
@pytest.mark.parametrize(
    "saboteur",
    [
        "-",
        pytest.param("saboteurs.start_step_ignored", marks=pytest.mark.full),
        pytest.param("saboteurs.optimizer_forgotten", marks=pytest.mark.full),
    ],
)
def test_kills(tmp_path, assert_as_undisturbed, saboteur):
    workdir = tmp_path / "run"
    moments = random.Random(0)
    starts, writes, kills = [], 0, 0
    wanted = KILLS if saboteur == "-" else 1
    while kills < wanted:
        process = runs.train(workdir, hooks=saboteur)
        during_a_write = kills < DURING_A_WRITE
        kill_at_a_moment(workdir, process, moments, during_a_write)
        writes += runs.writing(workdir)
        kills += 1
        starts.append(process.first_step)
    process = runs.train(workdir, hooks=saboteur)
    assert process.end() == 0, process.output
    starts.append(process.first_step)
    print(f"{kills} kills, {writes} during a write, lives from the steps {starts}")
    assert starts[-1] > 0
    if saboteur == "-":
        assert writes >= DURING_A_WRITE
        assert len(set(starts) - {0}) >= STARTS
        # Leftovers: nothing but whole steps, at most one more than are kept.
        names = sorted(path.name for path in (workdir / "checkpoints").iterdir())
        assert all(re.fullmatch(r"\d+(\.json)?", name) for name in names)
        assert 2 <= len(names) <= 2 * 3
    with runs.must_fail(saboteur):
        assert_as_undisturbed(workdir)
