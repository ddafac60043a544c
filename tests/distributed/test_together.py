import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.faults.known import judged
from tests.faults.pairs import pair
from tests.training.test_steps import run


@pytest.fixture(scope="module")
def together():
    """What two processes with four devices each found."""
    with pair("tests/distributed/together.py", devices=4) as (first, second):
        assert (first.end(), second.end()) == (0, 0), first.output + second.output
    return json.loads(next(line for line in first.output.splitlines() if line.startswith("{")))


def test_two_processes_give_one_devices_losses_in_float64(together):
    with jax.enable_x64(True):
        one = run(jnp.float64, 1, 1, 20, 8, 1)[0]
    np.testing.assert_allclose(together["float64"], one, atol=1e-9, rtol=0)


@pytest.mark.full
def test_two_processes_give_one_devices_losses_in_float32(together):
    one = run(jnp.float32, 1, 1, 5, 64, 7)[0][:3]
    many = np.array(together["float32"])
    assert np.median(abs(many - one).max(axis=1)) < 1e-5
    np.testing.assert_allclose(many, one, atol=1e-2, rtol=0)


def test_two_processes_find_the_same_compiled_programs(together):
    first, second = together["machines"]
    assert first == second


def test_two_processes_count_every_example_once(together):
    for n, found in zip((1, 15, 16, 17, 39, 101), together["judged"], strict=True):
        expected = json.loads(json.dumps(judged(n, 1), default=np.ndarray.tolist))
        assert found["n"] == n
        assert {**found, "loss": 0} == {**expected, "loss": 0}
        assert abs(found["loss"] - expected["loss"]) < 1e-6
