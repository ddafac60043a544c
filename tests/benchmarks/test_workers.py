import sys
import textwrap

import numpy as np
import pytest

from benchmarks.workers import Worker, ask_all, check_logits, interleave, ratios
from dkse_jax.errors import UserError


class Scripted:
    """A worker that answers given times."""

    def __init__(self, name, answers, asked):
        self.name, self.answers, self.asked = name, iter(answers), asked

    def ask(self, do, **arguments):
        self.asked.append((self.name, do, arguments))
        return {"ms": next(self.answers)}


def test_workers_are_interleaved_and_a_round_is_the_median_of_its_calls():
    asked = []
    ours = Scripted("ours", [[1.0, 9.0, 2.0], [4.0]], asked)
    other = Scripted("other", [[6.0], [7.0, 9.0]], asked)
    times = interleave([ours, other], rounds=2, seconds=0.5, most_seconds=100.0)
    assert times == [[2.0, 4.0], [6.0, 8.0]]
    assert [name for name, *_ in asked] == ["ours", "other", "ours", "other"]
    assert asked[0] == ("ours", "run", {"seconds": 0.5})


@pytest.mark.parametrize(("milliseconds", "rounds"), [(1000.0, 5), (4000.0, 4), (9000.0, 3)])
def test_rounds_end_when_they_take_too_long_but_there_are_three(milliseconds, rounds):
    workers = [Scripted(name, [[milliseconds]] * 5, []) for name in ("ours", "other")]
    times = interleave(workers, rounds=5, seconds=0.0, most_seconds=30.0)
    assert [len(of_worker) for of_worker in times] == [rounds, rounds]


def test_ratios_pair_the_times_of_a_round():
    assert ratios([1.0, 2.0, 4.0], [3.0, 3.0, 2.0]) == [3.0, 1.5, 0.5]
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [3.0])


def test_logits_are_equal_by_the_largest_one():
    ours = np.array([[0.001, -2.0], [1.0, 0.5]], np.float32)
    assert check_logits(ours, ours + 1e-4, "theirs") == pytest.approx(5e-5, rel=1e-2)
    for other in (ours + 3e-4, np.where(ours == 1, np.nan, ours)):
        with pytest.raises(UserError, match="the logits of theirs differ from ours"):
            check_logits(ours, other, "theirs")


SERVER = """
    import os, time
    import numpy as np
    from benchmarks.serving import Task, serve

    def build(value):
        print("a compiler's remark")
        os.system("echo and its linkers")
        if value < 0:
            raise ValueError("a value below 0\\nand more")
        return Task(lambda: time.sleep(0.001), lambda: np.full((2, 3), value, np.float32))

    serve(build, leave=lambda: os._exit(3))
"""


@pytest.fixture
def worker(tmp_path):
    with (tmp_path / "log").open("w") as log:
        command = [sys.executable, "-c", textwrap.dedent(SERVER)]
        with Worker("the server", command, log, {}) as worker:
            yield worker


def test_a_server_is_asked(worker, tmp_path):
    worker.ask("prepare", value=3)
    ask_all([worker], "logits", lambda worker: {"path": str(tmp_path / "logits.npy")})
    assert np.load(tmp_path / "logits.npy").tolist() == [[3.0] * 3] * 2
    assert len(worker.ask("run", seconds=0, least=4)["ms"]) == 4
    times = worker.ask("run", seconds=0.01)["ms"]
    assert sum(times) >= 10
    assert sum(times[:-1]) < 10
    assert min(times) >= 1
    assert (tmp_path / "log").read_text().splitlines() == [
        "a compiler's remark",
        "and its linkers",
    ]


def test_what_a_server_raises_is_told_and_it_lives_on(worker):
    with pytest.raises(
        UserError, match=r"the server failed: ValueError: a value below 0; .*log has"
    ):
        worker.ask("prepare", value=-1)
    worker.ask("prepare", value=1)


def test_a_server_that_ends_is_told(worker):
    for _ in range(2):
        with pytest.raises(UserError, match="the server failed: it ended"):
            worker.ask("leave")
