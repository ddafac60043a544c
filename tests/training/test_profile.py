import pytest

from dkse_jax.cli.train import profiled_steps
from dkse_jax.errors import UserError
from dkse_jax.training.loop import train

pytestmark = pytest.mark.usefixtures("short")


def test_a_trace_of_the_steps_is_written_and_the_numbers_stay(config, trained, tmp_path):
    train(config, tmp_path / "run", profile=(3, 4))
    traces = list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))
    assert len(traces) == 1
    content = traces[0].read_bytes()
    assert b"step_num" in content
    journals = [(run / "metrics.jsonl").read_bytes() for run in (tmp_path / "run", trained)]
    assert journals[0] == journals[1]


@pytest.mark.parametrize("text", ["20", "a-b", "20-10", "0-3", "-3"])
def test_other_texts_are_refused(text):
    with pytest.raises(UserError, match=rf"^--profile is {text}, but must be FROM-TO"):
        profiled_steps(text)
    assert profiled_steps("20-30") == (20, 30)


def test_steps_that_are_not_trained_are_refused(config, tmp_path):
    with pytest.raises(UserError, match=r"--profile is 9-11, but the steps to train are 1 to 10"):
        train(config, tmp_path / "run", profile=(9, 11))
