"""Validation rules of the config's fields, alone and together, and their error sentences."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

from dkse_jax import choices
from dkse_jax.errors import nearest

_KINDS = {
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    str: "a text",
    tuple: "a tuple of whole numbers such as (3, 5)",
}


@dataclasses.dataclass(frozen=True)
class Rule:
    """The allowed values among those of a field's type.

    Attributes:
        fits: returns whether a value is allowed.
        must: the end of the sentence "config.x is y, but must be ...".
        choices: the allowed texts; empty for any.
    """

    fits: Callable[[Any], bool] = lambda value: True
    must: str = ""
    choices: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of the config.

    Attributes:
        default: of exactly the field's type; the elements of tuples are int.
        rule: its allowed values.
        comment: its meaning.
        effect: whether another value changes what a run computes by more than rounding.
    """

    default: Any
    rule: Rule
    comment: str
    effect: bool = True

    @property
    def kind(self) -> type:
        """The exact type of the field's values."""
        return type(self.default)

    @property
    def values(self) -> str:
        """The allowed values in words."""
        return ", ".join(self.rule.choices) or self.rule.must or _KINDS[self.kind]

    def mistake(self, name: str, value: Any) -> str | None:
        """Returns the sentence about a wrong value, None for a right one."""
        typed = type(value) is self.kind
        if typed and self.kind is tuple:
            typed = all(type(element) is int for element in value)
        if typed and self.kind is float:
            typed = math.isfinite(value)
        if not typed:
            return f"config.{name} is {value!r}, but must be {_KINDS[self.kind]}"
        if self.rule.choices and value not in self.rule.choices:
            hint = nearest(value, self.rule.choices)
            return f"config.{name} is {value!r}, which is no choice{hint}"
        fits = self.rule.fits(value)
        return None if fits else f"config.{name} is {value!r}, but must be {self.rule.must}"


def within(interval: str) -> Rule:
    """Returns the rule of the numbers in an interval such as "[0, 1)", which excludes the 1."""
    low, high = interval[1:-1].split(", ")
    least, most = interval[0] == "[", interval[-1] == "]"

    def fits(value: float) -> bool:
        above = value >= float(low) if least else value > float(low)
        return above and (value <= float(high) if most else value < float(high))

    if least and most:
        return Rule(fits, f"from {low} to {high}")
    must = f"at least {low}" if least else f"above {low}"
    below = f"at most {high}" if most else f"below {high}"
    return Rule(fits, must if high == "inf" else f"{must} and {below}")


def one_of(*names: str) -> Rule:
    """Returns the rule of a text that is one of the names."""
    return Rule(choices=names)


def conflicts(values: dict[str, Any]) -> Iterator[str]:
    """Yields a sentence for each pair of incompatible fields."""
    name, size = values["model.name"], values["data.image_size"]
    if size < (least := choices.LEAST_IMAGE_SIZES[name]):
        yield (
            f"config.data.image_size is {size}, but must be at least {least} for"
            f" config.model.name={name}"
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
    need = needs.get(values["data.source"])
    if need and not values[need]:
        yield f"config.{need} is empty, but config.data.source={values['data.source']} needs it"
    builder, class_of = values["data.tfds.builder"], values["data.tfds.class_of"]
    if builder and ("," in builder) != (class_of == "builder"):
        yield (
            f"config.data.tfds.builder is {builder!r} and config.data.tfds.class_of {class_of!r}: "
            "several builders, with commas between them, go with class_of builder, one with label"
        )


def _conflicts_of_blocks(values: dict[str, Any]) -> Iterator[str]:
    """Yields a sentence for each pair of incompatible fields of the block."""
    if len(values["model.dilations"]) != len(values["model.kernel_sizes"]):
        yield (
            f"config.model.dilations is {values['model.dilations']}, but must have one number "
            f"for each of config.model.kernel_sizes, which is {values['model.kernel_sizes']}"
        )
    for position in values["model.positions"]:
        channels = values["model.width"] * choices.BLOCK_CHANNELS[position]
        if channels % values["model.reduction"]:
            yield (
                f"config.model.reduction is {values['model.reduction']}, but must divide the "
                f"{channels} channels of position {position}"
            )
