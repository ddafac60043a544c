"""Configs: every mistake has its sentence, JSON is exact and loads what earlier versions saved."""

import inspect
import json

import pytest
from ml_collections import ConfigDict

from configs import art5, base, demo, dkse
from configs.base import get_config
from dkse_jax import config as configs
from dkse_jax import models
from dkse_jax.choices import BLOCK_CHANNELS, LEAST_IMAGE_SIZES
from dkse_jax.data.augment import CROP_RATIO
from dkse_jax.data.sources.painting import KINDS
from dkse_jax.errors import UserError
from dkse_jax.evaluation.metrics import BOOTSTRAP_SAMPLES
from dkse_jax.models.dkse_net import SEPARABLE, DKSENet


@pytest.mark.parametrize("module", [base, dkse, art5, demo])
def test_every_config_file_is_valid(module):
    config = module.get_config()
    if config.data.source == "folder":
        assert config.data.root == ""  # where the images lie is the user's to say
        config.data.root = "images"
    configs.validate(config)
    assert configs.fields(config).keys() == configs.fields(get_config()).keys()


def changed(**values: object) -> ConfigDict:
    """The base config with fields set, dots written as __."""
    config = get_config()
    for name, value in values.items():
        *sections, last = name.split("__")
        section = config
        for key in sections:
            section = section[key]
        with section.ignore_type():
            section[last] = value
    return config


def test_base_holds_exactly_the_schema():
    values = {name: field.default for name, field in configs.FIELDS.items()}
    assert configs.fields(get_config()) == values
    assert get_config() is not get_config()
    configs.validate(get_config())


def test_facts_about_the_modules_are_theirs():
    assert list(LEAST_IMAGE_SIZES) == models.list_models()
    multiples = {layer: multiple for layer, multiple, _ in SEPARABLE}
    missing = set(range(3, 15)) - set(multiples)
    assert {layer: multiples[layer - 1] for layer in missing} == BLOCK_CHANNELS
    assert configs.FIELDS["data.synthetic.kinds"].values == f"from 2 to {len(KINDS)}"


def test_the_listing_has_a_row_for_every_field():
    header, rule, *rows = configs.describe().splitlines()
    assert header.split() == ["|", "field", "|", "default", "|", "values", "|", "meaning", "|"]
    assert set(rule) == {"|", " ", "-"}
    cells = [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in rows]
    assert [row[0] for row in cells] == list(configs.FIELDS)
    assert [
        "model.reduction",
        "4",
        "at least 1",
        configs.FIELDS["model.reduction"].comment,
    ] in cells
    assert ["augment.crop_area_max", "1.0", "above 0 and at most 1"] in [row[:3] for row in cells]
    assert ["model.ops", "'auto'", "auto, plain, fast"] in [row[:3] for row in cells]
    assert ["model.remat", "False", "true or false"] in [row[:3] for row in cells]
    assert all(len(row) == 4 and row[3] for row in cells)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("model__reduction", 0, "config.model.reduction is 0, but must be at least 1"),
        ("model__reduction", True, "config.model.reduction is True, but must be a whole number"),
        ("model__reduction", 3, "config.model.reduction is 3, but must divide the 128 channels"),
        ("model__ops", "fats", 'did you mean "fast"?'),
        (
            "model__name",
            "vgg-16",
            "config.model.name is 'vgg-16', which is no choice; did you mean",
        ),
        ("model__attention", "sks", 'did you mean "sk"?'),
        ("model__dtype", "int8", "choose one of bfloat16, float32"),
        ("model__positions", (6, 7), "must be any of 6, 9 and 12, each at most once"),
        ("model__positions", (6, 6), "must be any of 6, 9 and 12, each at most once"),
        ("model__kernel_sizes", (3, "a"), "must be a tuple of whole numbers"),
        ("model__kernel_sizes", (3, 4), "must be odd sizes"),
        ("model__kernel_sizes", (), "must be odd sizes"),
        (
            "augment__crop_area_max",
            0.2,
            "crop_area_min is 0.3, but must be at most config.augment.crop_area_max",
        ),
        ("model__kernel_sizes", (3,), "config.model.dilations is (1, 1), but must have one number"),
        ("model__dilations", (0, 1), "must be at least 1 each"),
        ("model__dropout_before_pool", 1.0, "must be at least 0 and below 1"),
        ("data__image_size", 31, "config.data.image_size is 31, but must be at least 32"),
        ("data__synthetic__kinds", 7, "must be from 2 to 6"),
        ("data__source", "folder", "config.data.root is empty"),
        ("data__source", "tfds", "config.data.tfds.builder is empty"),
        ("data__folder__val_percent", 90.0, "are 105.0 together"),
        ("augment__flip", 1.5, "config.augment.flip is 1.5, but must be from 0 to 1"),
        ("augment__crop_area_min", 0.0, "must be above 0 and at most 1"),
        ("data__folder__test_percent", 100.0, "must be at least 0 and below 100"),
        ("data__classes", 1, "must be 0 for all, or at least 2"),
        ("train__batch_size", 0, "config.train.batch_size is 0, but must be at least 1"),
        ("train__epochs", 0.0, "must be above 0"),
        ("train__epochs", "30", "config.train.epochs is '30', but must be a finite number"),
        ("optimizer__learning_rate", float("nan"), "must be a finite number"),
        ("log__tensorboard", 1, "config.log.tensorboard is 1, but must be true or false"),
    ],
)
def test_a_mistake_has_its_sentence(name, value, sentence):
    with pytest.raises(UserError) as error:
        configs.validate(changed(**{name: value}))
    assert sentence in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_recomputation_is_refused_where_it_would_do_nothing():
    configs.validate(changed(model__remat=True))
    with pytest.raises(UserError, match=r"config.model.remat is True.*for config.model.name=vgg16"):
        configs.validate(changed(model__remat=True, model__name="vgg16"))


@pytest.mark.parametrize("name", sorted(configs.FIELDS))
def test_every_field_refuses_another_type(name):
    with pytest.raises(UserError, match=rf"^config\.{name} is .*, but must be"):
        configs.validate(changed(**{name.replace(".", "__"): None}))


@pytest.mark.parametrize(
    "name", [name for name, field in configs.FIELDS.items() if field.rule.must]
)
def test_every_field_with_a_range_refuses_a_value_outside(name):
    outside = {int: -1, float: -1.0, str: "", tuple: (-1,)}[configs.FIELDS[name].kind]
    with pytest.raises(UserError, match=rf"^config\.{name} is .*, but must be"):
        configs.validate(changed(**{name.replace(".", "__"): outside}))


def test_all_mistakes_are_told_at_once_with_missing_and_unknown_fields():
    config = changed(train__batch_size=0)
    del config.optimizer.momentum
    config.optimizer.momentm = 0.9
    with pytest.raises(UserError) as error:
        configs.validate(config)
    assert str(error.value).splitlines() == [
        "config.train.batch_size is 0, but must be at least 1",
        "config.optimizer.momentum is missing",
        'config.optimizer.momentm is not a field; did you mean "config.optimizer.momentum"?',
    ]


def test_json_is_an_exact_round_trip():
    config = changed(data__evaluation_scale=0.1 + 1.1, model__positions=(), data__root='ä "b"')
    restored = configs.from_json(configs.to_json(config))
    assert configs.fields(restored) == configs.fields(config)
    assert type(restored.model.kernel_sizes) is tuple
    assert type(restored.train.epochs) is float
    assert configs.to_json(restored) == configs.to_json(config)
    assert restored.is_locked


def test_json_that_is_damaged_or_of_other_fields_is_refused():
    tree = json.loads(configs.to_json(get_config()))
    del tree["model"]["width"]
    tree["extra"] = {"x": 1}
    with pytest.raises(UserError, match=r"model\.width is missing\nconfig\.extra\.x is not a fie"):
        configs.from_json(json.dumps(tree))
    with pytest.raises(UserError, match="the saved config is damaged"):
        configs.from_json(configs.to_json(get_config())[:-3])
    with pytest.raises(UserError, match="the saved config is damaged"):
        configs.from_json("[]")


def with_fields_of_0_1_0(**values: object) -> str:
    """The base config as the version 0.1.0 saved it; dots are written as __."""
    retired = {
        "model__gate": "shared_sigmoid",
        "model__branch_norm": "bn_relu",
        "model__norm_placement": "all",
        "augment__crop_ratio": CROP_RATIO,
        "optimizer__name": "sgd",
        "optimizer__weight_decay": 0.05,
        "eval__bootstrap_samples": BOOTSTRAP_SAMPLES,
        "log__progress_seconds": 10.0,
    }
    tree = json.loads(configs.to_json(get_config()))
    for name, value in (retired | values).items():
        section, key = name.split("__")
        tree[section][key] = value
    return json.dumps(tree)


def test_fields_that_are_constants_now_load_with_the_value_of_the_constant():
    assert configs.from_json(with_fields_of_0_1_0()) == get_config().lock()
    without_effect = with_fields_of_0_1_0(optimizer__weight_decay=0.5, log__progress_seconds=60.0)
    assert configs.from_json(without_effect) == get_config().lock()
    defaults = {name: p.default for name, p in inspect.signature(DKSENet).parameters.items()}
    assert (defaults["gate"], defaults["branch_norm"]) == ("shared_sigmoid", "bn_relu")
    assert defaults["norm_placement"] == "all"


@pytest.mark.parametrize(
    ("name", "value", "only"),
    [
        ("model.gate", "branch_sigmoid", "'shared_sigmoid'"),
        ("model.branch_norm", "none", "'bn_relu'"),
        ("model.norm_placement", "second_layer_only", "'all'"),
        ("augment.crop_ratio", 1.5, "1.3333333333333333"),
        ("optimizer.name", "adamw", "'sgd'"),
        ("eval.bootstrap_samples", 50, "1000"),
    ],
)
def test_another_value_of_a_field_that_is_a_constant_now_is_refused(name, value, only):
    with pytest.raises(UserError) as error:
        configs.from_json(with_fields_of_0_1_0(**{name.replace(".", "__"): value}))
    sentence = f"config.{name} is {value!r}, but this version supports only {only}"
    assert str(error.value) == sentence


def test_a_field_that_is_a_constant_now_is_none_of_a_new_config():
    with pytest.raises(UserError, match=r"^config\.model\.gate is not a field; did you mean"):
        configs.validate(changed(model__gate="shared_sigmoid"))


def test_a_config_of_an_earlier_version_does_what_it_did():
    tree = json.loads(with_fields_of_0_1_0())
    del tree["data"]["colour_profiles"]
    assert configs.from_json(json.dumps(tree)) == changed(data__colour_profiles=False).lock()
    del tree["data"]
    with pytest.raises(UserError, match=r"config\.data\.source is missing"):
        configs.from_json(json.dumps(tree))


def test_differences_are_those_that_change_the_result():
    saved = get_config()
    without_effect = changed(
        log__tensorboard=False,
        eval__batch_size=1,
        data__threads=9,
        data__root="moved",
        devices__fsdp=8,
        model__remat=True,
        train__checkpoint_every_steps=7,
        train__epochs=31.0,
    )
    assert configs.differences(saved, without_effect) == []
    with_effect = changed(
        train__batch_size=64, train__accumulate=2, train__epochs=29.0, model__ops="plain"
    )
    assert configs.differences(saved, with_effect) == [
        "model.ops: 'auto' -> 'plain'",
        "train.batch_size: 32 -> 64",
        "train.accumulate: 1 -> 2",
        "train.epochs: 30.0 -> 29.0",
    ]


def test_steps_are_rounded_and_at_least_one():
    config = changed(train__epochs=1.5, train__batch_size=32)
    assert configs.steps(config, examples=100) == 5  # 4.69
    assert configs.steps(config, examples=1) == 1
