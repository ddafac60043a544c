"""The watcher of one process, with the signs of life of another one planted."""

import threading
import time
from types import SimpleNamespace

import jax
import pytest

from dkse_jax.distributed import watch

FIRST, SECOND = (
    {"host": host, "looks": 0, "beats": beats, "ended": ""} for host, beats in (("a", 9), ("b", 8))
)


class Ended(Exception):
    pass


@pytest.fixture
def end_of(monkeypatch):
    """`end_of(*answers)`: why process 0 ends when its exchanges give these, the last one again."""

    def end(reason):
        raise Ended(reason)

    monkeypatch.setattr(watch, "_end", end)
    monkeypatch.setattr(watch, "_progress", watch._Progress())
    for name in ("PERIOD", "LINGER", "GONE_AFTER", "STUCK_AFTER"):
        monkeypatch.setattr(watch, name, 0.02)

    def found(*answers):
        answers = list(answers)

        def exchange(sign):
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, Exception):
                raise answer
            return 0, {0: dict(sign), **answer}

        monkeypatch.setattr(watch, "_exchange", exchange)
        with pytest.raises(Ended) as caught:
            watch._watch(dict(FIRST), threading.Event())
        return str(caught.value)

    return found


def test_a_process_without_new_signs_is_gone(end_of):
    assert end_of({1: SECOND}) == "process 1 on b is gone: no sign of life for 0 s"


def test_a_process_that_has_ended_is_named_with_its_reason(end_of):
    assert end_of({}, {1: SECOND | {"ended": "no data"}}) == "process 1 on b has ended: no data"


def test_without_the_store_the_first_process_is_gone(end_of):
    gone = jax.errors.JaxRuntimeError("UNAVAILABLE")
    assert end_of({}, gone) == "process 0 on a, which coordinates the others, is gone"


@pytest.mark.parametrize(
    ("beats", "stuck"),
    [(1, "process 1 on b"), (3, "process 0 on a, process 1 on b"), (5, "process 0 on a")],
)
def test_processes_that_are_behind_are_stuck(end_of, beats, stuck):
    with watch.working():
        for _ in range(3):
            watch.heartbeat()
        watch._progress.last -= 700
        signs = ({1: SECOND | {"beats": beats, "looks": look}} for look in range(99))
        assert end_of(*signs).endswith(f" s; stuck: {stuck}")


def test_paused_work_is_never_stuck(monkeypatch):
    monkeypatch.setattr(watch, "_progress", watch._Progress())
    assert watch._progress.paused
    with watch.working():
        assert not watch._progress.paused
        watch._progress.last -= 700
        with watch.pause():
            assert watch._progress.paused
        assert not watch._progress.paused
        assert time.monotonic() - watch._progress.last < 60
    assert watch._progress.paused


def test_the_limit_follows_the_usual_interval(monkeypatch):
    progress = watch._Progress()
    assert progress.limit() == watch.FIRST_STUCK_AFTER
    progress.intervals.extend([1.0, 7.0, 7.0, 100.0])
    assert progress.limit() == 70.0
    progress.intervals.extend([1.0] * 9)
    assert progress.limit() == watch.STUCK_AFTER


def test_without_the_private_store_of_jax_processes_go_on_unwatched(monkeypatch, capsys):
    unlike = SimpleNamespace(client=object(), process_id=1)
    monkeypatch.setattr("jax._src.distributed.global_state", unlike)
    with watch.watching():
        assert "processes are not watched" in capsys.readouterr().err
