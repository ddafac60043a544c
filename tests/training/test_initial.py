import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from dkse_jax import devices
from dkse_jax.errors import UserError
from dkse_jax.models import create_model
from dkse_jax.training.initial import check_frozen, initial_variables, started_from
from dkse_jax.training.loop import train
from dkse_jax.workdir import checkpoint, description


def fresh_variables(config, classes):
    model = create_model(config.model, classes)
    return jax.jit(model.init)(jax.random.key(7), np.zeros((1, 32, 32, 3), np.float32))


def best_of(run, config):
    target = devices.abstract(
        jax.eval_shape(lambda: fresh_variables(config, 3)), devices.make_mesh()
    )
    return checkpoint.restore_variables(run, checkpoint.best_step(run), target)


def test_another_run_gives_its_best_weights(config, trained):
    names = description.load_inputs(trained)["class_names"]
    config.init_from = str(trained)
    fresh = fresh_variables(config, 3)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), fresh)
    start = started_from(fresh, initial_variables(config, shapes, names))
    jax.tree.map(np.testing.assert_array_equal, start, best_of(trained, config))


@pytest.mark.parametrize("names", [["a", "b", "c"], ["a", "b", "c", "d"]])
def test_other_classes_get_a_fresh_last_layer(config, trained, names):
    config.init_from = str(trained)
    fresh = fresh_variables(config, len(names))
    start = flatten_dict(started_from(fresh, initial_variables(config, fresh, names)))
    theirs = flatten_dict(best_of(trained, config))
    for path, value in flatten_dict(fresh).items():
        expected = value if path[1] == "logits" else theirs[path]
        np.testing.assert_array_equal(start[path], expected)


def test_another_network_is_refused_by_name(config, trained):
    config.init_from = str(trained)
    config.model.positions = (9,)
    fresh = fresh_variables(config, 3)
    with pytest.raises(UserError, match=r"another network.*params/dkse_6/.*params/dkse_9/"):
        initial_variables(config, fresh, description.load_inputs(trained)["class_names"])


def test_frozen_layers_stay_and_the_others_move(config, trained, tmp_path):
    config.init_from, config.frozen = str(trained), "separable_,dkse_6/gate"
    config.train.epochs = 0.3
    train(config, tmp_path / "run")
    before, after = (
        flatten_dict(best_of(run, config)["params"]) for run in (trained, tmp_path / "run")
    )
    for path, value in before.items():
        stays = path[0].startswith("separable_") or path[:2] == ("dkse_6", "gate")
        assert np.array_equal(value, after[path]) == stays, path


def test_a_frozen_name_that_is_none_is_refused():
    params = {"stem": {"kernel": 0}, "layer1_0": {"kernel": 0}}
    check_frozen(("stem", "layer"), params)
    with pytest.raises(UserError, match=r'config.frozen has "stm".*did you mean "stem"'):
        check_frozen(("stm",), params)


def test_a_wrong_source_is_refused_before_anything_is_made(config, tmp_path):
    config.init_from = str(tmp_path)
    with pytest.raises(UserError, match="is not a run"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
