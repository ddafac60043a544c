"""Configs: every field checked, to and from JSON, and what differs between two runs."""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

from ml_collections import ConfigDict

from dkse_jax.errors import UserError, nearest

_KINDS = {
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    str: "a text",
    tuple: "a tuple of whole numbers such as (3, 5)",
}
_CHANNELS = {6: 4, 9: 8, 12: 16}  # of a block at each position, in multiples of the width
_LEAST_IMAGE_SIZES = {  # of each network of dkse_jax.models
    "alexnet": 64,
    "vgg16": 64,
    "vgg19": 64,
    "resnet18": 64,
    "resnet34": 64,
    "resnet50": 64,
    "resnet101": 64,
    "resnet152": 64,
    "se_resnet50": 64,
    "inception_v4": 75,
    "dkse_net": 32,
}


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a field may hold.

    Attributes:
        kind: its exact type; the elements of tuples are int.
        fits: whether a value of that type is allowed.
        must: ends the sentence "config.x is y, but must be ...".
        choices: of a text; empty for any.
    """

    kind: type
    fits: Callable[[Any], bool] = lambda value: True
    must: str = ""
    choices: tuple[str, ...] = ()

    def mistake(self, name: str, value: Any) -> str | None:
        """Returns the sentence about a wrong value, None for a right one."""
        typed = type(value) is self.kind
        if typed and self.kind is tuple:
            typed = all(type(element) is int for element in value)
        if typed and self.kind is float:
            typed = math.isfinite(value)
        if not typed:
            return f"config.{name} is {value!r}, but must be {_KINDS[self.kind]}"
        if self.choices and value not in self.choices:
            return f"config.{name} is {value!r}, which is no choice{nearest(value, self.choices)}"
        return None if self.fits(value) else f"config.{name} is {value!r}, but must be {self.must}"


def _whole(least: int, most: float = math.inf) -> Rule:
    must = f"at least {least}" if most == math.inf else f"from {least} to {most}"
    return Rule(int, lambda value: least <= value <= most, must)


def _choice(*choices: str) -> Rule:
    return Rule(str, choices=choices)


_TEXT = Rule(str)
_NAME = Rule(str, lambda value: value != "", "given")
_POSITIVE = Rule(float, lambda value: value > 0, "above 0")
_NOT_NEGATIVE = Rule(float, lambda value: value >= 0, "at least 0")
_SHARE = Rule(float, lambda value: 0 <= value <= 1, "from 0 to 1")
_SHARE_BELOW_1 = Rule(float, lambda value: 0 <= value < 1, "at least 0 and below 1")
_PERCENT = Rule(float, lambda value: 0 <= value < 100, "at least 0 and below 100")

FIELDS: dict[str, Rule] = {
    "seed": _whole(0, 2**32 - 1),
    "init_from": _TEXT,
    "frozen": _TEXT,
    "model.name": _choice(*_LEAST_IMAGE_SIZES),
    "model.width": _whole(1),
    "model.positions": Rule(
        tuple,
        lambda value: set(value) <= set(_CHANNELS) and len(set(value)) == len(value),
        "any of 6, 9 and 12, each at most once",
    ),
    "model.attention": _choice("dkse", "se", "sk", "none"),
    "model.kernel_sizes": Rule(
        tuple,
        lambda value: len(value) > 0 and all(size > 0 and size % 2 == 1 for size in value),
        "odd sizes, at least one",
    ),
    "model.dilations": Rule(
        tuple,
        lambda value: len(value) > 0 and min(value) >= 1,
        "at least 1 each, one for each of model.kernel_sizes",
    ),
    "model.reduction": _whole(1),
    "model.gate": _choice("shared_sigmoid", "branch_sigmoid", "selective_softmax"),
    "model.branch_norm": _choice("bn_relu", "none"),
    "model.norm_placement": _choice("all", "second_layer_only"),
    "model.dropout_before_pool": _SHARE_BELOW_1,
    "model.dropout_after_pool": _SHARE_BELOW_1,
    "model.ops": _choice("auto", "plain", "fast"),
    "model.dtype": _choice("float32", "bfloat16"),
    "model.remat": Rule(bool),
    "data.source": _choice("synthetic", "folder", "records", "tfds"),
    "data.root": _TEXT,
    "data.image_size": _whole(min(_LEAST_IMAGE_SIZES.values())),
    "data.levels": Rule(bool),
    "data.normalisation": _choice("centred", "imagenet", "inception"),
    "data.evaluation_scale": Rule(float, lambda value: 1 <= value <= 4, "from 1 to 4"),
    "data.classes": Rule(int, lambda value: value == 0 or value >= 2, "0 for all, or at least 2"),
    "data.on_bad_image": _choice("error", "skip"),
    "data.max_bad_percent": Rule(float, lambda value: 0 <= value <= 100, "from 0 to 100"),
    "data.threads": _whole(1),
    "data.folder.val_percent": Rule(float, lambda v: 0 < v < 100, "above 0 and below 100"),
    "data.folder.test_percent": _PERCENT,
    "data.synthetic.kinds": _whole(2, 6),
    "data.synthetic.train_per_kind": _whole(1),
    "data.synthetic.val_per_kind": _whole(1),
    "data.synthetic.test_per_kind": _whole(1),
    "data.tfds.builder": _TEXT,
    "data.tfds.class_of": _choice("label", "builder"),
    "data.tfds.train_split": _NAME,
    "data.tfds.val_split": _NAME,
    "data.tfds.test_split": _NAME,
    "data.tfds.image_key": _NAME,
    "data.tfds.label_key": _NAME,
    "augment.enabled": Rule(bool),
    "augment.crop_area_min": Rule(float, lambda value: 0 < value <= 1, "above 0 and at most 1"),
    "augment.crop_area_max": Rule(float, lambda value: 0 < value <= 1, "above 0 and at most 1"),
    "augment.crop_ratio": Rule(float, lambda value: value >= 1, "at least 1"),
    "augment.flip": _SHARE,
    "augment.brightness": _SHARE,
    "augment.contrast": _SHARE,
    "augment.saturation": _SHARE,
    "augment.tint": _SHARE,
    "augment.greyscale": _SHARE,
    "train.batch_size": _whole(1),
    "train.accumulate": _whole(1),
    "train.epochs": _POSITIVE,
    "train.label_smoothing": _SHARE_BELOW_1,
    "train.evaluate_every_epochs": _POSITIVE,
    "train.checkpoint_every_steps": _whole(1),
    "devices.fsdp": _whole(1),
    "optimizer.name": _choice("sgd", "adamw"),
    "optimizer.learning_rate": _POSITIVE,
    "optimizer.warmup_percent": _PERCENT,
    "optimizer.momentum": _SHARE_BELOW_1,
    "optimizer.weight_decay": _NOT_NEGATIVE,
    "optimizer.pointwise_l2": _NOT_NEGATIVE,
    "optimizer.clip_norm": _NOT_NEGATIVE,
    "eval.batch_size": _whole(1),
    "eval.bootstrap_samples": _whole(1),
    "log.progress_seconds": _NOT_NEGATIVE,
    "log.tensorboard": Rule(bool),
}

# These cannot change what a run computes, or only by rounding, as the number of devices does, which
# is in no config: a run goes on where there are more or fewer of them, or less memory. Moved data
# is recognized by its contents elsewhere.
_WITHOUT_EFFECT = (
    "log.",
    "eval.",
    "devices.",
    "model.remat",
    "data.threads",
    "data.root",
    "data.max_bad_percent",
    "train.checkpoint_every_steps",
)


def fields(config: ConfigDict) -> dict[str, Any]:
    """Returns the values by dotted name, such as "model.width"."""

    def walk(section: ConfigDict, prefix: str) -> Iterator[tuple[str, Any]]:
        for key, value in section.items():
            if isinstance(value, ConfigDict):
                yield from walk(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", value

    return dict(walk(config, ""))


def unknown_field(name: str) -> str | None:
    """Returns the sentence about a name, such as "model.wdth", unless it is a field's."""
    if name in FIELDS:
        return None
    choices = [f"config.{field}" for field in FIELDS]
    return f"config.{name} is not a field{nearest(f'config.{name}', choices)}"


def _conflicts(values: dict[str, Any]) -> Iterator[str]:
    """Yields a sentence for each pair of fields that do not go together."""
    name, size = values["model.name"], values["data.image_size"]
    if size < _LEAST_IMAGE_SIZES[name]:
        yield (
            f"config.data.image_size is {size}, but must be at least {_LEAST_IMAGE_SIZES[name]} "
            f"for config.model.name={name}"
        )
    if name == "dkse_net":
        yield from _conflicts_of_blocks(values)
    elif values["model.remat"]:
        yield f"config.model.remat is True, but must be False for config.model.name={name}"
    if values["augment.crop_area_min"] > values["augment.crop_area_max"]:
        yield (
            f"config.augment.crop_area_min is {values['augment.crop_area_min']}, but must be at "
            f"most config.augment.crop_area_max, which is {values['augment.crop_area_max']}"
        )
    percent = values["data.folder.val_percent"] + values["data.folder.test_percent"]
    if percent >= 100:
        yield (
            f"config.data.folder.val_percent and test_percent are {percent} together, but must "
            "be below 100"
        )
    needs = {"folder": "data.root", "records": "data.root", "tfds": "data.tfds.builder"}
    for source, need in needs.items():
        if values["data.source"] == source and not values[need]:
            yield f"config.{need} is empty, but config.data.source={source} needs it"
    builder, class_of = values["data.tfds.builder"], values["data.tfds.class_of"]
    if builder and ("," in builder) != (class_of == "builder"):
        yield (
            f"config.data.tfds.builder is {builder!r} and config.data.tfds.class_of {class_of!r}: "
            "several builders, with commas between them, go with class_of builder, one with label"
        )


def _conflicts_of_blocks(values: dict[str, Any]) -> Iterator[str]:
    """Yields a sentence for each pair of the block's fields that do not go together."""
    if len(values["model.dilations"]) != len(values["model.kernel_sizes"]):
        yield (
            f"config.model.dilations is {values['model.dilations']}, but must have one number "
            f"for each of config.model.kernel_sizes, which is {values['model.kernel_sizes']}"
        )
    for position in values["model.positions"]:
        channels = values["model.width"] * _CHANNELS[position]
        if channels % values["model.reduction"]:
            yield (
                f"config.model.reduction is {values['model.reduction']}, but must divide the "
                f"{channels} channels of position {position}"
            )


def validate(config: ConfigDict) -> None:
    """Checks every field: its presence, type and range, and that the fields go together.

    Raises:
        UserError: with one sentence on a line for each mistake.
    """
    values = fields(config)
    found = [
        rule.mistake(name, values[name]) if name in values else f"config.{name} is missing"
        for name, rule in FIELDS.items()
    ]
    found += [unknown_field(name) for name in values]
    mistakes = [sentence for sentence in found if sentence]
    mistakes = mistakes or list(_conflicts(values))
    if mistakes:
        raise UserError(*mistakes)


def to_json(config: ConfigDict) -> str:
    """Returns the config as JSON, from which `from_json` makes an equal one."""
    return json.dumps(config.to_dict(), indent=2, allow_nan=False)


def from_json(text: str) -> ConfigDict:
    """Returns the locked, validated config of `to_json`; its lists are tuples again.

    Raises:
        UserError: for damaged JSON, and what `validate` finds.
    """

    def restore(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: restore(element) for key, element in value.items()}
        return tuple(restore(element) for element in value) if isinstance(value, list) else value

    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"the saved config is damaged: {error}") from error
    if not isinstance(tree, dict):
        raise UserError("the saved config is damaged: it holds no fields")
    config = ConfigDict(restore(tree))
    validate(config)
    return config.lock()


def differences(saved: ConfigDict, new: ConfigDict) -> list[str]:
    """Returns lines such as "train.batch_size: 32 -> 64" that forbid going on with a saved run.

    Fields that cannot change what a run computes beyond rounding are left out, and so is a larger
    train.epochs, which prolongs the run. Both configs are valid ones.
    """
    old_values, new_values = fields(saved), fields(new)
    return [
        f"{name}: {old_values[name]!r} -> {new_values[name]!r}"
        for name in FIELDS
        if old_values[name] != new_values[name]
        and not name.startswith(_WITHOUT_EFFECT)
        and not (name == "train.epochs" and new_values[name] > old_values[name])
    ]


def steps(config: ConfigDict, examples: int) -> int:
    """Returns the number of steps of the whole training on so many examples, at least 1."""
    return max(1, round(config.train.epochs * examples / config.train.batch_size))
