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
from dkse_jax.training.initial import initial_variables, started_from
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


def test_published_weights_fill_all_but_a_last_layer_of_other_classes(config, tmp_path, capsys):
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
    told, caution = capsys.readouterr().out.splitlines()
    assert told.endswith(f"{len(tensors) - 2} arrays; the head begins anew (3 classes)")
    assert caution.endswith("need config.data.normalisation=imagenet; this run has centred")


def test_frozen_layers_stay_and_the_others_move(config, trained, tmp_path):
    config.init_from, config.frozen = str(trained), "separable_,dkse_6/gate"
    config.train.epochs = 0.3
    train(config, tmp_path / "run")
    before, after = (flatten_dict(best_of(run, config)) for run in (trained, tmp_path / "run"))
    for path, value in before.items():
        stays = path[1].startswith("separable_") or path[1:3] == ("dkse_6", "gate")
        assert np.array_equal(value, after[path]) == stays, path


def test_what_was_taken_and_what_begins_anew_is_told(config, trained, fresh, capsys):
    config.init_from = str(trained)
    step, names = checkpoint.best_step(trained), description.load_inputs(trained)["class_names"]
    for classes, head in (
        (names, "{0} arrays; the head among them"),
        (["a", "b", "c"], "{1} arrays; the head begins anew (3 other classes)"),
        ([*names, "d"], "{1} arrays; the head begins anew (3 -> 4 classes)"),
    ):
        own = fresh(len(classes))
        initial_variables(config, own, classes, MESH)
        arrays = len(jax.tree.leaves(own))
        line = f"weights of {trained}, step {step}: {head.format(arrays, arrays - 2)}\n"
        assert capsys.readouterr().out == line


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"normalisation": "imagenet"}, "data.normalisation=imagenet, data.levels=false"),
        ({"normalisation": "inception"}, "data.normalisation=inception, data.levels=false"),
        ({"levels": True}, "data.normalisation=centred, data.levels=true"),
        ({"image_size": 48}, "was evaluated at 32 pixels; this run is at 48"),
    ],
)
def test_other_images_than_the_parents_are_told(config, trained, fresh, capsys, fields, told):
    config.init_from = str(trained)
    config.data.update(fields)
    initial_variables(config, fresh(4), ["a", "b", "c", "d"], MESH)
    _, line = capsys.readouterr().out.splitlines()
    before = "was trained with data.normalisation=centred, data.levels=false; this run has "
    parts = "" if "image_size" in fields else before
    assert line.endswith(parts + told)
    assert line.startswith("caution: " if parts else str(trained))


def test_a_parent_that_ignored_profiles_is_told(config, trained, fresh, capsys):
    config.init_from, config.data.colour_profiles = str(trained), False
    initial_variables(config, fresh(3), ["a", "b", "c"], MESH)
    _, line = capsys.readouterr().out.splitlines()
    assert line.endswith(
        "data.colour_profiles=true; this run has data.normalisation=centred,"
        " data.levels=false, data.colour_profiles=false"
    )


def test_a_wrong_source_is_refused_before_anything_is_made(config, tmp_path):
    config.init_from = str(tmp_path)
    with pytest.raises(UserError, match="is not a run"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
