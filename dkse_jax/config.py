"""The schema of the config: each field once, with default, range and comment.

The config is a ConfigDict of ml_collections, built by `default_config` and overridden by flags.
Validation, JSON, differences between runs and the table of `describe` derive from `FIELDS`.
"""

import json
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from dkse_jax import choices, earlier
from dkse_jax.errors import UserError, nearest
from dkse_jax.markdown import table
from dkse_jax.rules import Field, Rule, conflicts, one_of, within

_ANY = Rule()
_GIVEN = Rule(lambda value: value != "", "given")
_COUNT = within("[1, inf)")
_POSITIVE, _NOT_NEGATIVE = within("(0, inf)"), within("[0, inf)")
_SHARE, _SHARE_ABOVE_0, _SHARE_BELOW_1 = within("[0, 1]"), within("(0, 1]"), within("[0, 1)")
_POSITIONS = Rule(
    lambda value: set(value) <= set(choices.BLOCK_CHANNELS) and len(set(value)) == len(value),
    "any of 6, 9 and 12, each at most once",
)
_KERNEL_SIZES = Rule(
    lambda value: len(value) > 0 and all(size > 0 and size % 2 == 1 for size in value),
    "odd sizes, at least one",
)
_DILATIONS = Rule(
    lambda value: len(value) > 0 and min(value) >= 1,
    "at least 1 each, one for each of model.kernel_sizes",
)
_CLASSES = Rule(lambda value: value == 0 or value >= 2, "0 for all, or at least 2")

FIELDS: dict[str, Field] = {
    "seed": Field(0, within(f"[0, {2**32 - 1}]"), "weights, batch order, augmentation, dropout"),
    "init_from": Field("", _ANY, "a workdir or published weights (.safetensors) to start from"),
    "frozen": Field(
        "",
        _ANY,
        'beginnings of names of weights that are not trained, as in "stem,layer1"; batch norms'
        " among them normalise by their running statistics, which stay",
    ),
    "model.name": Field(
        "dkse_net",
        one_of(*choices.LEAST_IMAGE_SIZES),
        "the network; all but dkse_net read only ops and dtype of the fields below",
    ),
    "model.width": Field(32, _COUNT, "channels of the stem; other layers have multiples of it"),
    "model.positions": Field((6,), _POSITIONS, "the paper's layer IDs that hold a block"),
    "model.attention": Field("dkse", one_of(*choices.ATTENTIONS), "the kind of block"),
    "model.kernel_sizes": Field((1, 5), _KERNEL_SIZES, "dkse, sk: of each branch"),
    "model.dilations": Field((1, 1), _DILATIONS, "dkse, sk: of each branch"),
    "model.reduction": Field(4, _COUNT, "r: the gate's hidden layer has 1/r of the channels"),
    "model.dropout_before_pool": Field(0.1, _SHARE_BELOW_1, "rate before the average pool"),
    "model.dropout_after_pool": Field(0.2, _SHARE_BELOW_1, "rate after the average pool"),
    "model.ops": Field("auto", one_of(*choices.FORMS), "arithmetic; results agree to rounding"),
    "model.dtype": Field("float32", one_of(*choices.DTYPES), "of activations; weights: float32"),
    "model.remat": Field(False, _ANY, "compute layers twice: less memory, more time", effect=False),
    "data.source": Field("synthetic", one_of(*choices.SOURCES), "where the images come from"),
    "data.root": Field(
        "",
        _ANY,
        "folder: the images, or several folders with commas between them; records: what dkse-pack"
        " wrote, a folder or gs:// or s3://; tfds: its data_dir, if not the default one",
        effect=False,
    ),
    "data.image_size": Field(299, _COUNT, "side in pixels of the square images of training"),
    "data.colour_profiles": Field(
        True, _ANY, "convert colours to sRGB by the ICC profile that an image embeds"
    ),
    "data.levels": Field(False, _ANY, "stretch each channel of an image to black and white first"),
    "data.normalisation": Field(
        "centred", one_of(*choices.NORMALISATIONS), "published weights need imagenet or inception"
    ),
    "data.evaluation_scale": Field(
        1.0, within("[1, 4]"), "evaluation resolution, as a multiple of image_size"
    ),
    "data.views": Field(
        "centre",
        one_of(*choices.VIEWS),
        "what evaluation sees of an image: the largest centred square, or squares that cover it,"
        " whose log-probabilities are averaged",
    ),
    "data.classes": Field(0, _CLASSES, "number of classes used, the first by name"),
    "data.on_bad_image": Field(
        "error", one_of("error", "skip"), "whether an unreadable image ends the run"
    ),
    "data.max_bad_percent": Field(
        1.0, within("[0, 100]"), "of a split; more images to skip end the run", effect=False
    ),
    "data.threads": Field(2, _COUNT, "that read and augment images", effect=False),
    "data.folder.val_percent": Field(
        15.0, within("(0, 100)"), "of the groups of each class, where no split is given"
    ),
    "data.folder.test_percent": Field(
        15.0, within("[0, 100)"), "of the groups of each class, where no split is given"
    ),
    "data.synthetic.kinds": Field(5, within("[2, 6]"), "number of classes"),
    "data.synthetic.train_per_kind": Field(400, _COUNT, "images of each class"),
    "data.synthetic.val_per_kind": Field(40, _COUNT, "images of each class"),
    "data.synthetic.test_per_kind": Field(100, _COUNT, "images of each class"),
    "data.tfds.builder": Field("", _ANY, 'such as "imagenet_r" or "my_art:1.0.0"'),
    "data.tfds.class_of": Field(
        "label",
        one_of("label", "builder"),
        "builder: each of several builders is a class, as in"
        ' "domainnet/clipart,domainnet/sketch", and label_key is not read',
    ),
    "data.tfds.train_split": Field("train[:80%]", _GIVEN, "a split of the builder"),
    "data.tfds.val_split": Field("train[80%:]", _GIVEN, "a split of the builder"),
    "data.tfds.test_split": Field("test", _ANY, "a split of the builder; empty for none"),
    "data.tfds.image_key": Field("image", _GIVEN, "name of the image's feature"),
    "data.tfds.label_key": Field("label", _GIVEN, "name of the label's feature"),
    "augment.enabled": Field(True, _ANY, "false: every view is the largest centred square"),
    "augment.crop_area_min": Field(0.3, _SHARE_ABOVE_0, "least share of the image in a crop"),
    "augment.crop_area_max": Field(1.0, _SHARE_ABOVE_0, "largest share of the image in a crop"),
    "augment.flip": Field(0.5, _SHARE, "probability of a left-right flip"),
    "augment.brightness": Field(0.3, _SHARE, "± share"),
    "augment.contrast": Field(0.3, _SHARE, "± share"),
    "augment.saturation": Field(0.3, _SHARE, "± share"),
    "augment.tint": Field(0.1, _SHARE, "± share of each colour channel: the paper's colour"),
    "augment.greyscale": Field(0.1, _SHARE, "probability of dropping colour"),
    "train.batch_size": Field(32, _COUNT, "over all devices and micro-batches"),
    "train.accumulate": Field(
        1,
        _COUNT,
        "micro-batches whose mean gradient makes a step: less memory; a batch norm normalises each"
        " by its own statistics",
    ),
    "train.epochs": Field(30.0, _POSITIVE, "a larger number prolongs a run"),
    "train.label_smoothing": Field(0.1, _SHARE_BELOW_1, "share of the target for all classes"),
    "train.evaluate_every_epochs": Field(1.0, _POSITIVE, "on val; saves a checkpoint"),
    "train.checkpoint_every_steps": Field(200, _COUNT, "saves a checkpoint too", effect=False),
    "devices.fsdp": Field(
        1,
        _COUNT,
        "devices that share a copy of weights and optimiser state; divides their number",
        effect=False,
    ),
    "optimizer.learning_rate": Field(0.1, _POSITIVE, "of SGD, at the end of the warm-up"),
    "optimizer.warmup_percent": Field(
        5.0, within("[0, 100)"), "of all steps, linear; then a cosine to 0"
    ),
    "optimizer.momentum": Field(0.9, _SHARE_BELOW_1, "Nesterov's"),
    "optimizer.pointwise_l2": Field(
        1e-4, _NOT_NEGATIVE, "times the sum of squares of the pointwise kernels"
    ),
    "optimizer.clip_norm": Field(1.0, _NOT_NEGATIVE, "of the whole gradient; 0 for none"),
    "eval.batch_size": Field(64, _COUNT, "over all devices", effect=False),
    "log.tensorboard": Field(True, _ANY, "event files, if tensorboardX is installed", effect=False),
}


def default_config() -> ConfigDict:
    """Returns the config with all defaults."""
    tree: dict[str, Any] = {}
    for name, field in FIELDS.items():
        *sections, key = name.split(".")
        section = tree
        for part in sections:
            section = section.setdefault(part, {})
        section[key] = field.default
    return ConfigDict(tree)


def describe() -> str:
    """Returns all fields as a Markdown table."""
    rows = [
        (name, repr(field.default), field.values, field.comment) for name, field in FIELDS.items()
    ]
    return table(("field", "default", "values", "meaning"), rows)


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
    """Returns the sentence about an unknown name, such as "model.wdth"; None for a field's."""
    if name in FIELDS:
        return None
    names = [f"config.{field}" for field in FIELDS]
    return f"config.{name} is not a field{nearest(f'config.{name}', names)}"


def validate(config: ConfigDict) -> None:
    """Checks presence, type and range of every field, and the compatibility of fields.

    Raises:
        UserError: one sentence for each mistake.
    """
    values = fields(config)
    found = [
        field.mistake(name, values[name]) if name in values else f"config.{name} is missing"
        for name, field in FIELDS.items()
    ]
    found += [unknown_field(name) for name in values]
    mistakes = [sentence for sentence in found if sentence]
    mistakes = mistakes or list(conflicts(values))
    if mistakes:
        raise UserError(*mistakes)


def to_json(config: ConfigDict) -> str:
    """Returns the config as JSON; `from_json` restores it."""
    return json.dumps(config.to_dict(), indent=2, allow_nan=False)


def from_json(text: str) -> ConfigDict:
    """Restores a config from `to_json` of this or an earlier version, validated and locked.

    Raises:
        UserError: damaged JSON, a former field with a value that is no longer supported, or an
            invalid config.
    """

    def restore(tree: dict[str, Any]) -> dict[str, Any]:
        return {key: tuple(v) if isinstance(v, list) else v for key, v in tree.items()}

    try:
        tree = json.loads(text, object_hook=restore)
    except json.JSONDecodeError as error:
        raise UserError(f"the saved config is damaged: {error}") from error
    if not isinstance(tree, dict):
        raise UserError("the saved config is damaged: it holds no fields")
    config = ConfigDict(tree)
    earlier.update(config)
    validate(config)
    return config.lock()


def kept(saved: ConfigDict, new: ConfigDict) -> dict[str, Any]:
    """Returns the fields that a run of `saved` keeps when it is resumed with another config.

    The defaults of later fields would forbid to resume a run of an earlier version by its own
    command. So such a field keeps what earlier versions did, where the new config has its default.
    """
    old_values, new_values = fields(saved), fields(new)
    return {
        name: value
        for name, value in earlier.ADDED.items()
        if old_values[name] == value != new_values[name] == FIELDS[name].default
    }


def differences(saved: ConfigDict, new: ConfigDict) -> list[str]:
    """Returns the differences that forbid to resume a run, as "train.batch_size: 32 -> 64".

    Ignores fields without effect on the results, and a larger train.epochs, which prolongs the
    run. Both configs must be valid.
    """
    old_values, new_values = fields(saved), fields(new)
    return [
        f"{name}: {old_values[name]!r} -> {new_values[name]!r}"
        for name, field in FIELDS.items()
        if field.effect
        and old_values[name] != new_values[name]
        and not (name == "train.epochs" and new_values[name] > old_values[name])
    ]


def steps(config: ConfigDict, examples: int) -> int:
    """Returns the number of training steps for a number of examples, at least 1."""
    return max(1, round(config.train.epochs * examples / config.train.batch_size))
