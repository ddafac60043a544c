"""Frozen weights: by whole names, with norms that stand still, counted and told."""

from pathlib import Path

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from dkse_jax import runtime
from dkse_jax.data.sources import load_splits
from dkse_jax.errors import UserError
from dkse_jax.models.dkse_net import DKSENet
from dkse_jax.models.layers import BatchNorm
from dkse_jax.training import estimate
from dkse_jax.training.frozen import check_frozen, is_frozen, standing_norms
from dkse_jax.training.setup import make_setup


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("layer3_1", ["layer3_1"]),
        ("layer3", ["layer3_1", "layer3_10", "layer3_2"]),
        ("layer", ["layer3_1", "layer3_10", "layer3_2", "layer4_1"]),
        ("layer3_", ["layer3_1", "layer3_10", "layer3_2"]),
        ("lay", []),
        ("stem/conv", ["stem"]),
        ("stem/con", []),
        ("mixed3", ["mixed3a"]),
        ("mixed", ["mixed3a"]),
        ("mixed3ab", []),
        ("stem/", ["stem"]),
        ("Stem", []),
    ],
)
def test_a_prefix_ends_where_a_word_or_a_number_ends(prefix, names):
    layers = ["layer3_1", "layer3_10", "layer3_2", "layer4_1", "stem", "mixed3a"]
    found = [layer for layer in layers if is_frozen((layer, "conv", "kernel"), (prefix,))]
    assert found == names


def test_a_name_that_is_none_and_all_names_are_refused():
    params = {"stem": {"kernel": 0}, "layer1_0": {"kernel": 0}, "logits": {"bias": 0}}
    check_frozen(("stem", "layer"), params)
    with pytest.raises(UserError, match=r'config.frozen has "stm".*did you mean "stem"'):
        check_frozen(("stm",), params)
    with pytest.raises(UserError, match=r"^config.frozen=stem,layer1,logits leaves nothing to"):
        check_frozen(("stem", "layer1", "logits"), params)


@pytest.mark.parametrize("remat", [False, pytest.param(True, marks=pytest.mark.full)])
def test_frozen_norms_stand_still_and_normalise_as_in_evaluation(remat, short, variables_of):
    net = DKSENet(3, width=4, positions=(6,), remat=remat)
    x = np.random.default_rng(0).standard_normal((4, 32, 32, 3), np.float32)
    variables = variables_of(net, x)
    every, some = ("depthwise", "separable", "dkse"), ("separable_3", "dkse", "separable_1")

    def run(prefixes):
        with standing_norms(prefixes):
            (logits, _), updated = net.apply(variables, x, train=True, mutable=["batch_stats"])
        return logits, flatten_dict(updated["batch_stats"])

    (_, after), (logits, _), evaluated = jax.jit(
        lambda: (run(some), run(every), net.apply(variables, x)[0])
    )()
    before = flatten_dict(variables["batch_stats"])
    moved = {path for path in before if not np.array_equal(before[path], after[path])}
    assert moved == {path for path in before if path[0] not in ("separable_3", "dkse_6")}
    np.testing.assert_allclose(logits, evaluated, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("relu", [True, False])
def test_a_standing_norm_is_the_formula(relu, variables_of):
    norm = BatchNorm(5, relu=relu)
    x = np.random.default_rng(1).standard_normal((2, 3, 3, 5), np.float32)
    variables = variables_of(norm, x)
    y = norm.apply(variables, x, method="by_running_statistics")
    scale, bias = variables["params"]["scale"], variables["params"]["bias"]
    mean, var = variables["batch_stats"]["mean"], variables["batch_stats"]["var"]
    expected = (x - mean) / np.sqrt(var + 1e-5) * scale + bias
    np.testing.assert_allclose(y, np.maximum(expected, 0 if relu else -np.inf), atol=1e-5)


@pytest.mark.parametrize("frozen", ["", "depthwise,dilated,separable,dkse_6/branch"])
def test_the_count_is_of_what_is_trained(config, short, capsys, monkeypatch, frozen):
    config.frozen = frozen
    monkeypatch.setattr(estimate, "matmul_rate", lambda mesh: 1e10)
    mesh = runtime.default_mesh()
    plan = make_setup(config, load_splits(config.data, config.seed), mesh)
    estimate.announce(config, plan.model, plan.splits, Path(), mesh, step=0, last_step=10)
    text, params = capsys.readouterr().out, plan.abstract_state().params
    left = {"logits": params["logits"], "gate": params["dkse_6"]["gate"]} if frozen else params
    every, trained = (sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (params, left))
    of_all = f" of {every:,}" if frozen else ""
    assert f"network  dkse_net, {trained:,} trainable parameters{of_all}, " in text
    told = "\ntrained  dkse_6 in part, logits; the others are frozen\n"
    assert (told in text) == bool(frozen)
