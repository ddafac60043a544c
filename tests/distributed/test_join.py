import sys

import pytest
from jax.experimental import multihost_utils

from dkse_jax import console
from dkse_jax.distributed import join, processes
from dkse_jax.errors import UserError


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((False, "a:1", 2, 0), "--coordinator=a:1 needs --distributed"),
        ((False, None, None, 0), "--process=0 needs --distributed"),
        ((True, "a:1", 2, None), "--coordinator=a:1 needs --process: name all three"),
        ((True, "a", 2, 0), "--coordinator is a, but must be HOST:PORT"),
        ((True, "a:1", 2, 2), "--process is 2, but must be from 0 to 1"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(arguments, sentence):
    with pytest.raises(UserError, match=sentence), join.join(*arguments):
        pass


def test_a_coordinator_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(join, "CONNECT_SECONDS", 0.1)
    with pytest.raises(UserError, match=r"no answer from --coordinator=127.0.0.1:9 within 0.1 s"):
        join._wait_for("127.0.0.1:9")


@pytest.mark.parametrize("imported", [True, False])
def test_alone_a_process_is_the_first_and_agrees_with_itself(monkeypatch, imported):
    if not imported:
        monkeypatch.delitem(sys.modules, "jax")
    assert (processes.alone(), processes.is_first(), processes.count()) == (True, True, 1)
    assert processes.broadcast(lambda: {"step": 3}) == {"step": 3}
    processes.barrier("here")
    processes.check_agreed({"the seed": "0"})
    assert ("jax" in sys.modules) == imported


def test_a_barrier_asks_the_others_where_there_are_any(monkeypatch):
    asked = []
    monkeypatch.setattr(multihost_utils, "sync_global_devices", asked.append)
    processes.barrier("alone")
    monkeypatch.setattr(processes, "alone", lambda: False)
    processes.barrier("together")
    assert asked == ["together"]


def test_the_first_difference_is_named(monkeypatch):
    facts = ({"a": "1", "b": "2"}, {"a": "1", "b": "3"}, {})
    said = list(zip(facts, ("x", "y", "z"), strict=True))
    monkeypatch.setattr(processes, "allgather", lambda value: said)
    sentence = r"^b is 3 to process 1 on y, but 2 to process 0 on x; all"
    with pytest.raises(UserError, match=sentence):
        processes.check_agreed({})


@pytest.mark.parametrize(("first", "printed"), [(True, "step 1\n"), (False, "")])
def test_the_first_process_alone_prints(monkeypatch, capsys, first, printed):
    monkeypatch.setattr(processes, "is_first", lambda: first)
    console.log("step 1")
    assert capsys.readouterr().out == printed
