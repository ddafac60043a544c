import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dkse_jax.config import to_json
from dkse_jax.workdir import description
from tests.faults.known import judged
from tests.faults.pairs import pair
from tests.test_tiles import Pictures, expected_of
from tests.training.test_steps import run

pytestmark = pytest.mark.usefixtures("short")


@pytest.fixture(scope="module")
def folders(trained, tmp_path_factory):
    """A finished run, and the workdirs of a run that starts from it: the second one is empty."""
    root = tmp_path_factory.mktemp("together")
    for name in ("run", "begun"):
        shutil.copytree(trained, root / name)
    config = description.load_config(trained)
    config.init_from = str(root / "run")
    (root / "begun/config.json").write_text(to_json(config))
    (root / "empty").mkdir()
    return root


@pytest.fixture(scope="module")
def together(folders):
    """What two processes with four devices each found."""
    own = [(f"--workdir={folders / name}",) for name in ("begun", "empty")]
    script = "tests/distributed/together.py"
    with pair(script, f"--run={folders / 'run'}", own=own, devices=4) as (first, second):
        assert (first.end(), second.end()) == (0, 0), first.output + second.output
    assert "evaluating step" in first.output
    assert "evaluating step" not in second.output  # process 0 alone prints
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


def test_two_processes_count_every_example_once(together):
    for n, found in zip((1, 15, 16, 17, 39, 101), together["judged"], strict=True):
        expected = json.loads(json.dumps(judged(n, 1), default=np.ndarray.tolist))
        assert found["n"] == n
        assert {**found, "loss": 0} == {**expected, "loss": 0}
        assert abs(found["loss"] - expected["loss"]) < 1e-6


def test_two_processes_average_over_the_tiles_of_every_picture(together):
    np.testing.assert_allclose(together["tiles"], expected_of(Pictures(21))[0], rtol=1e-6)


def test_values_of_any_length_reach_both_processes(together):
    assert together["gathered"] == [{"é": "x"}, {"é": "x" * 1000}]
    assert together["first"] == 0


def test_both_processes_name_what_they_do_not_agree_on(together):
    assert together["seeds"][0] == together["seeds"][1]
    assert together["seeds"][0].startswith("the seed is 1 to process 1 on ")
    assert together["splits"][0] == together["splits"][1]
    assert together["splits"][0].startswith("the evaluated data is val (")


def test_both_processes_refuse_a_workdir_that_one_of_them_sees_empty(together):
    assert together["workdirs"][0] == together["workdirs"][1]
    assert "the newest checkpoint is another to process 1 on " in together["workdirs"][0]


def test_the_first_of_two_processes_explains_what_both_evaluated(folders, together):
    classes = json.loads((folders / "run/inputs.json").read_text())["class_names"]
    pictures = {path.stem for path in (folders / "run/eval/test/gradcam").glob("*.png")}
    assert pictures == set(classes)
