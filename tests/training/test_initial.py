import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from dkse_jax import runtime, sharding
from dkse_jax.errors import UserError
from dkse_jax.models import configured_model
from dkse_jax.models.importer import layouts
from dkse_jax.training.initial import check_frozen, initial_variables, started_from
from dkse_jax.training.loop import train
from dkse_jax.workdir import checkpoint, description
from scripts.reference_logits import draw

pytestmark = pytest.mark.usefixtures("short")

MESH = runtime.default_mesh()
IMAGE, IMAGE_64 = jnp.zeros((1, 32, 32, 3)), jnp.zeros((1, 64, 64, 3))


@pytest.fixture
def fresh(config, variables_of):
    """`fresh(classes)`: random variables of the config's network."""
    return lambda classes: variables_of(configured_model(config.model, classes), IMAGE)


def best_of(run, config):
    model = configured_model(config.model, 3)
    shapes = jax.eval_shape(model.init, jax.random.key(0), IMAGE)
    target = sharding.abstract(shapes, MESH)
    return checkpoint.restore(run, checkpoint.best_step(run), target)[0]


def placed(variables):
    return jax.tree.map(jnp.asarray, variables)


def test_the_run_may_be_in_the_home_folder(config, trained, fresh, monkeypatch):
    monkeypatch.setenv("HOME", str(trained.parent))
    config.init_from = f"~/{trained.name}"
    names = description.load_inputs(trained)["class_names"]
    chex.assert_trees_all_equal(
        initial_variables(config, fresh(3), names, MESH), best_of(trained, config)
    )


def test_another_run_gives_its_best_weights(config, trained, fresh):
    names = description.load_inputs(trained)["class_names"]
    config.init_from = str(trained)
    own = placed(fresh(3))
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), own)
    start = started_from(own, initial_variables(config, shapes, names, MESH))
    chex.assert_trees_all_equal(start, best_of(trained, config))


@pytest.mark.parametrize("names", [["a", "b", "c"], ["a", "b", "c", "d"]])
def test_other_classes_get_a_fresh_last_layer(config, trained, names, fresh):
    config.init_from = str(trained)
    own = placed(fresh(len(names)))
    start = flatten_dict(started_from(own, initial_variables(config, own, names, MESH)))
    theirs = flatten_dict(best_of(trained, config))
    for path, value in flatten_dict(own).items():
        expected = value if path[1] == "logits" else theirs[path]
        np.testing.assert_array_equal(start[path], expected)


def test_another_network_is_refused_by_name(config, trained, fresh):
    config.init_from = str(trained)
    config.model.positions = (9,)
    names = description.load_inputs(trained)["class_names"]
    with pytest.raises(UserError, match=r"another network.*params/dkse_6/.*params/dkse_9/"):
        initial_variables(config, fresh(3), names, MESH)


def test_published_weights_fill_all_but_a_last_layer_of_other_classes(config, tmp_path):
    config.model.name = "resnet18"
    shapes = jax.eval_shape(configured_model(config.model, 3).init, jax.random.key(0), IMAGE_64)
    slots = layouts("resnet18", shapes)[0]
    tensors = {name: draw(name, slot.shape) for name, slot in slots.items()}
    head = {"fc.weight": np.zeros((1000, 512), np.float32), "fc.bias": np.zeros(1000, np.float32)}
    save_file(tensors | head, tmp_path / "resnet18.safetensors")
    config.init_from = str(tmp_path / "resnet18.safetensors")
    start = initial_variables(config, shapes, ["a", "b", "c"], MESH)
    for path, value in flatten_dict(start).items():
        assert isinstance(value, jax.ShapeDtypeStruct) == (path[1] == "logits"), path
    np.testing.assert_array_equal(start["params"]["stem"]["norm"]["scale"], tensors["bn1.weight"])


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
