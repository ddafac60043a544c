"""The whole network: shapes at the paper's size by abstract tracing, arithmetic on a thin net."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from configs.base import get_config
from dkse_jax.errors import UserError
from dkse_jax.models import configured_model
from dkse_jax.models.dkse_net import DKSENet
from dkse_jax.ops.depthwise import depthwise_conv

# Fig. 10, after the correction of its shifted input column.
FIGURE_10 = {
    "dilated_1": (299, 299, 32),
    "depthwise_2": (99, 99, 32),
    "separable_3": (99, 99, 64),
    "separable_4": (50, 50, 128),
    "separable_5": (50, 50, 128),
    "dkse_6": (50, 50, 128),
    "separable_7": (25, 25, 256),
    "separable_8": (25, 25, 256),
    "dkse_9": (25, 25, 256),
    "separable_10": (13, 13, 512),
    "separable_11": (13, 13, 512),
    "dkse_12": (13, 13, 512),
    "separable_13": (7, 7, 1024),
    "separable_14": (7, 7, 1024),
    "pool_15": (1024,),
    "pre_logits": (1024,),
    "logits": (5,),
}


def _trace(net, size, batch=1, train=False):
    """Shapes of the variables and of what the network returns; stages in the order of running."""
    image = jax.ShapeDtypeStruct((batch, size, size, 3), jnp.float32)
    variables = jax.eval_shape(net.init, jax.random.key(0), image)
    order = []

    def run(variables, image):
        rngs = {"dropout": jax.random.key(0)}
        (logits, stages), state = net.apply(
            variables, image, train=train, mutable=["batch_stats"], rngs=rngs
        )
        order.extend(stages)
        return logits, stages, state

    logits, stages, state = jax.eval_shape(run, variables, image)
    return variables, logits, {name: stages[name] for name in order}, state


def _images(size=32, batch=8):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, size, size, 3)).astype(np.float32)


@pytest.mark.parametrize("positions", [(6, 9, 12), (9,), ()])
def test_stages_of_figure_10(positions):
    _, logits, stages, _ = _trace(DKSENet(5, positions=positions), 299, batch=2)
    absent = {f"dkse_{position}" for position in {6, 9, 12} - set(positions)}
    expected = [(name, (2, *shape)) for name, shape in FIGURE_10.items() if name not in absent]
    assert [(name, stage.shape) for name, stage in stages.items()] == expected
    assert logits.shape == (2, 5)


@pytest.mark.parametrize("attention", ["dkse", "se", "sk", "none"])
def test_the_block_is_of_the_kind_that_is_asked_for(attention):
    net = DKSENet(5, positions=(6, 12), attention=attention, kernel_sizes=(3, 3), dilations=(1, 2))
    variables, _, stages, _ = _trace(net, 64)
    layers = {"branch_1", "branch_2", "gate"} if attention == "dkse" else {"gate"}
    layers = {"branch_1", "branch_2", "reduce", "expand"} if attention == "sk" else layers
    blocks = {name: set(tree) for name, tree in variables["params"].items() if "_" in name}
    blocks = {name: tree for name, tree in blocks.items() if name.endswith(("_6", "_12"))}
    expected = {f"{attention}_{position}": layers for position in (6, 12)}
    assert blocks == ({} if attention == "none" else expected)
    assert set(blocks) <= set(stages)


@pytest.mark.parametrize(
    ("size", "sides"),
    [
        (32, (10, 5, 3, 2, 1)),
        (33, (11, 6, 3, 2, 1)),
        (64, (21, 11, 6, 3, 2)),
        (96, (32, 16, 8, 4, 2)),
    ],
)
def test_other_image_sizes(size, sides):
    _, _, stages, _ = _trace(DKSENet(3, width=4), size)
    names = ("depthwise_2", "separable_4", "separable_7", "separable_10", "separable_14")
    assert tuple(stages[name].shape[1] for name in names) == sides


@pytest.mark.parametrize("shape", [(1, 31, 64, 3), (1, 64, 31, 3)])
def test_too_small_images_are_a_user_error(shape):
    with pytest.raises(UserError, match=r"31.* too small .* 32×32"):
        jax.eval_shape(DKSENet(5).init, jax.random.key(0), jnp.ones(shape))


@pytest.fixture(scope="module")
def thin(variables_of):
    """A thin net with dropout: variables, gradients and outputs in training, outputs after it."""
    net = DKSENet(5, width=4, dropout_before_pool=0.2, dropout_after_pool=0.2)
    variables = variables_of(net, _images())

    def train(params, key):
        (logits, stages), state = net.apply(
            {**variables, "params": params},
            _images(),
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )
        return jnp.sum(logits**2), (stages, state["batch_stats"])

    def evaluate(params):
        return net.apply({**variables, "params": params}, _images(), mutable=["batch_stats"])

    train_step = jax.jit(jax.value_and_grad(train, has_aux=True))
    trained = [train_step(variables["params"], jax.random.key(seed)) for seed in (0, 1)]
    (_, stages), state = jax.jit(evaluate)(variables["params"])
    return SimpleNamespace(
        variables=variables,
        gradients=trained[0][1],
        train_stages=[outputs[0] for (_, outputs), _ in trained],
        train_statistics=trained[0][0][1][1],
        eval_stages=stages,
        eval_statistics=state["batch_stats"],
    )


def test_every_parameter_gets_a_gradient(thin):
    for path, gradient in jax.tree.leaves_with_path(thin.gradients):
        assert np.all(np.isfinite(gradient)), path
        assert np.any(np.asarray(gradient)), path


def test_batch_statistics_move_in_training_and_not_in_evaluation(thin):
    before = jax.tree.leaves_with_path(thin.variables["batch_stats"])
    assert len(before) == 2 * (1 + 9 + 2)  # mean and variance: second layer, separable, branches
    after, evaluated = map(jax.tree.leaves, (thin.train_statistics, thin.eval_statistics))
    for (path, old), new, same in zip(before, after, evaluated, strict=True):
        assert np.all(old != new), path
        np.testing.assert_array_equal(old, same)


def test_statistics_keep_nine_tenths(thin):
    images = thin.train_stages[0]["dilated_1"]
    kernel = thin.variables["params"]["depthwise_2"]["depthwise"]["kernel"]
    x = np.asarray(depthwise_conv(images, kernel, stride=3, padding="VALID", form="plain"))
    old = thin.variables["batch_stats"]["depthwise_2"]["norm"]
    new = thin.train_statistics["depthwise_2"]["norm"]
    for name, batch in (("mean", x.mean((0, 1, 2))), ("var", x.var((0, 1, 2)))):
        np.testing.assert_allclose(new[name], 0.9 * old[name] + 0.1 * batch, rtol=1e-4, atol=1e-5)


def test_both_dropouts_are_active_in_training_only(thin):
    dense = thin.variables["params"]["logits"]

    def drops(stages):
        mean = np.mean(stages["separable_14"], axis=(1, 2))
        logits = stages["pool_15"] @ dense["kernel"] + dense["bias"][None]
        return (
            not np.allclose(stages["pool_15"], mean, rtol=1e-4, atol=1e-5),
            not np.allclose(stages["logits"], logits, rtol=1e-4, atol=1e-5),
        )

    assert drops(thin.eval_stages) == (False, False)
    assert drops(thin.train_stages[0]) == (True, True)
    assert np.any(thin.train_stages[0]["pool_15"] != thin.train_stages[1]["pool_15"])


def test_dropouts_keep_the_mean(variables_of):
    """Over many draws the pooled features and the logits have the mean that they have without."""
    net = DKSENet(5, width=4, dropout_before_pool=0.4, dropout_after_pool=0.4)
    variables = variables_of(net, _images())

    def outputs(net, key):
        (logits, stages), _ = net.apply(
            variables, _images(), train=True, mutable=["batch_stats"], rngs={"dropout": key}
        )
        return stages["pool_15"], logits

    def both(keys):
        without = net.clone(dropout_before_pool=0.0, dropout_after_pool=0.0)
        return jax.vmap(lambda key: outputs(net, key))(keys), outputs(without, keys[0])

    draws, expected = jax.jit(both)(jax.random.split(jax.random.key(0), 300))
    for some, mean in zip(draws, expected, strict=True):
        error = np.std(some, axis=0) / np.sqrt(300)
        deviations = (np.mean(some, axis=0) - mean)[error > 0] / error[error > 0]
        assert deviations.size > 30
        assert np.abs(deviations).max() < 5  # standard errors


def test_the_stem_sees_5_by_5_pixels_through_9_taps(variables_of):
    net = DKSENet(2, width=1, positions=())
    variables = variables_of(net, _images())

    def gradient(images):
        stem, pull_back = jax.vjp(lambda x: net.apply(variables, x)[1]["dilated_1"], images)
        return pull_back(jnp.zeros(stem.shape).at[0, 9, 9, 0].set(1))[0]

    seen = np.argwhere(np.asarray(jax.jit(gradient)(_images())).any(axis=(0, 3)))
    assert seen.tolist() == [[i, j] for i in (7, 9, 11) for j in (7, 9, 11)]


def test_fast_net_equals_plain_net_in_float64(variables_of):
    x = _images(batch=4).astype(np.float64)
    fields: dict[str, Any] = {
        "width": 4,
        "positions": (6, 9),
        "kernel_sizes": (3, 5),
        "dtype": jnp.float64,
    }

    def gradients(variables, ops):
        def loss(params):
            (logits, _), state = DKSENet(5, ops=ops, **fields).apply(
                {**variables, "params": params}, x, train=True, mutable=["batch_stats"]
            )
            return jnp.sum(logits**2), (logits, state)

        return jax.value_and_grad(loss, has_aux=True)(variables["params"])

    with jax.enable_x64(True):
        variables = variables_of(DKSENet(5, **fields), x)
        both = jax.jit(lambda v: [gradients(v, "plain"), gradients(v, "fast")])(variables)
    for path, leaf in jax.tree.leaves_with_path(variables["params"]):
        assert leaf.dtype == np.float64, path
    plain, fast = (jax.tree.leaves_with_path(outputs) for outputs in both)
    for (path, a), (_, b) in zip(plain, fast, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-9, err_msg=str(path))


def test_bfloat16_keeps_float32_parameters_statistics_and_logits():
    variables, logits, stages, state = _trace(DKSENet(5, dtype=jnp.bfloat16), 64, train=True)
    for path, leaf in jax.tree.leaves_with_path((variables, state)):
        assert leaf.dtype == jnp.float32, path
    wide = {name for name, stage in stages.items() if stage.dtype == jnp.float32}
    assert wide == {"pool_15", "pre_logits", "logits"}
    assert {stages[name].dtype for name in stages if name not in wide} == {jnp.dtype("bfloat16")}
    assert logits.dtype == jnp.float32


def test_second_layer_only_norms_the_second_layer_and_the_branches():
    net = DKSENet(5, norm_placement="second_layer_only")
    variables, *_ = _trace(net, 64)
    norms = {"/".join(path[:-1]) for path in flatten_dict(variables["batch_stats"])}
    assert norms == {"depthwise_2/norm", "dkse_6/branch_1/norm", "dkse_6/branch_2/norm"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"positions": (6, 7)}, r"at layer 7; choose of \(6, 9, 12\)"),
        ({"attention": "dske"}, 'no attention "dske"; did you mean "dkse"'),
        ({"norm_placement": "second_layer"}, 'did you mean "second_layer_only"'),
        ({"ops": "fasst"}, 'did you mean "fast"'),
        ({"kernel_sizes": (1, 3, 5)}, "dilations is"),
    ],
)
def test_fields_that_do_not_fit_are_user_errors(fields, message):
    with pytest.raises(UserError, match=message):
        DKSENet(5, **fields)


def test_create_model_reads_every_field():
    config = get_config().model
    fields: dict[str, Any] = {
        "width": 8,
        "positions": (9, 12),
        "attention": "sk",
        "kernel_sizes": (3, 3, 3),
        "dilations": (1, 2, 3),
        "reduction": 16,
        "dropout_before_pool": 0.3,
        "dropout_after_pool": 0.4,
        "ops": "plain",
        "dtype": "bfloat16",
        "remat": True,
    }
    assert {*fields, "name"} == set(config.keys())
    config.update(fields)
    net = configured_model(config, num_classes=7)
    assert net == DKSENet(7, **{**fields, "dtype": jnp.dtype("bfloat16")})


@pytest.mark.parametrize(("field", "value"), [("name", "dkse_nett"), ("dtype", "float23")])
def test_create_model_names_the_nearest(field, value):
    config = get_config().model
    config[field] = value
    with pytest.raises(
        UserError, match=f'no {"model" if field == "name" else field} "{value}"; did'
    ):
        configured_model(config, 5)
