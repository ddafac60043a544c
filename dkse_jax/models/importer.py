"""Import of published weights of torchvision and timm from .safetensors files.

Only names and layouts differ: the networks compute what those libraries compute
(`tests/models/test_importer.py`). Images must be normalised as in the weights' training.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from dkse_jax.errors import UserError, nearest
from dkse_jax.models import alexnet, inception_v4, resnet, vgg

PICKLES = (".pth", ".pt", ".pkl", ".bin", ".ckpt", ".tar")
READABLE = ("F16", "BF16", "F32", "F64")
_COUNTER = "num_batches_tracked"
_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


class Rule(NamedTuple):
    """A mapping of layer names: `ours` matches a whole name, `theirs` may refer to its groups."""

    ours: str
    theirs: str
    grid: int = 1  # side of the map that a fully connected layer flattens, channels first
    convolution: bool = False  # whether a fully connected layer is published as a convolution


class Slot(NamedTuple):
    """The variable of a published tensor."""

    path: tuple[str, ...]  # of the variable, its collection first
    shape: tuple[int, ...]  # of the published tensor
    grid: int


def import_weights(
    network: str, path: Path, template: Mapping[str, Any], *, replace_head: bool = False
) -> dict[str, Any]:
    """Returns the variables of a network, by its name for `create_model`, with a file's values.

    template: variables of the network, or their shapes and dtypes. replace_head: keeps the
    template's last layer, "logits", if the file's has another number of classes. Uses every tensor
    of the file, but the counters of batches, and sets every variable. Raises UserError for a file
    that is missing, damaged, no .safetensors, or does not fit, with the names of all misfits.
    """
    tensors = read_tensors(path)
    try:
        return import_tensors(network, tensors, template, replace_head=replace_head)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def import_tensors(
    network: str,
    tensors: Mapping[str, np.ndarray],
    template: Mapping[str, Any],
    *,
    replace_head: bool = False,
) -> dict[str, Any]:
    """Converts tensors by published names to variables, as `import_weights`."""
    slots = max(layouts(network, template), key=lambda slots: len(slots.keys() & tensors.keys()))
    variables = flatten_dict(template)
    kept = {
        name
        for name, slot in slots.items()
        if replace_head and name in tensors and _is_other_head(tensors[name], slot)
    }
    counters = {f"{name.removesuffix('running_mean')}{_COUNTER}" for name in slots}
    _check(
        network,
        missing=slots.keys() - tensors.keys(),
        unknown=tensors.keys() - slots.keys() - counters,
        misshapen=[
            f"{name} ({_shape(tensors[name].shape)} instead of {_shape(slot.shape)})"
            for name, slot in slots.items()
            if name in tensors and name not in kept and tensors[name].shape != slot.shape
        ],
    )
    for name in slots.keys() - kept:
        path, _, grid = slots[name]
        variables[path] = _converted(tensors[name], variables[path], grid)
    return unflatten_dict(variables)


def export_tensors(network: str, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the variables as torchvision publishes them, without counters.

    A network that only timm publishes is in timm's layout. Raises UserError for an unpublished one.
    """
    flat = flatten_dict(variables)
    return {
        name: _published(np.asarray(flat[slot.path]), slot)
        for name, slot in layouts(network, variables)[0].items()
    }


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Reads a .safetensors file: tensors by name.

    Raises UserError where it cannot be read, or has weights in other dtypes than READABLE, such as
    8-bit ones, which mean nothing without their scales.
    """
    if path.suffix in PICKLES:
        raise UserError(
            f"{path} may be a pickle, which can run any program when it is read: convert it with "
            "scripts/pth_to_safetensors.py, where PyTorch is installed"
        )
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        with safe_open(path, "np") as file:
            dtypes = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        others = [
            name
            for name in sorted(dtypes)
            if dtypes[name] not in READABLE and not name.endswith(_COUNTER)
        ]
        if others:
            raise UserError(
                f"{path} has weights of the dtype {dtypes[others[0]]}, such as {others[0]}; only"
                f" {', '.join(READABLE)} can be read: convert them to one of these"
            )
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read as .safetensors: {error}") from error


def layouts(network: str, template: Mapping[str, Any]) -> list[dict[str, Slot]]:
    """Returns the published layouts of a network, torchvision's first: a slot for each name.

    Raises UserError for an unpublished network.
    """
    if network not in RULES:
        raise UserError(f'no weights are published for "{network}"{nearest(network, RULES)}')
    return [_slots(rules, template) for rules in RULES[network]]


def _slots(rules: Iterable[Rule], template: Mapping[str, Any]) -> dict[str, Slot]:
    slots = {}
    for path, leaf in flatten_dict(template).items():
        layer = "/".join(path[1:-1])
        rule = next(rule for rule in rules if re.fullmatch(rule.ours, layer))
        name = re.sub(rule.ours, rule.theirs, layer)
        shape = leaf.shape
        if len(shape) == 4:
            rows, columns, inputs, outputs = shape
            shape = (outputs, inputs, rows, columns)
        elif len(shape) == 2:
            inputs, outputs = shape
            shape = (outputs, inputs)
            if rule.convolution:
                shape = (outputs, inputs // rule.grid**2, rule.grid, rule.grid)
        slots[f"{name}.{_LEAVES[path[-1]]}"] = Slot(path, shape, rule.grid)
    return slots


def _converted(tensor: np.ndarray, variable: Any, grid: int) -> np.ndarray:
    """Converts a tensor to the variable's layout and dtype: channels last, outputs last of all."""
    if len(variable.shape) == 2:
        tensor = tensor.reshape(len(tensor), -1, grid, grid)
    if tensor.ndim == 4:
        tensor = tensor.transpose(2, 3, 1, 0)
    return np.ascontiguousarray(tensor.reshape(variable.shape), variable.dtype)


def _published(variable: np.ndarray, slot: Slot) -> np.ndarray:
    """Converts a variable to the published layout, channels first: the inverse of `_converted`."""
    if variable.ndim == 2:
        variable = variable.reshape(slot.grid, slot.grid, -1, variable.shape[-1])
    if variable.ndim == 4:
        variable = variable.transpose(3, 2, 0, 1)
    return np.ascontiguousarray(variable.reshape(slot.shape))


def _is_other_head(tensor: np.ndarray, slot: Slot) -> bool:
    """Returns whether the tensor is the last layer's, for another number of classes."""
    same_inputs = tensor.shape[1:] == slot.shape[1:]
    return slot.path[1] == "logits" and same_inputs and tensor.shape != slot.shape


def _check(network: str, missing: set[str], unknown: set[str], misshapen: list[str]) -> None:
    kinds = {"missing": missing, "unknown": unknown, "of another shape": misshapen}
    found = [f"{kind}: {', '.join(sorted(names))}" for kind, names in kinds.items() if names]
    if found:
        raise UserError(f"these are no weights of {network}; {'; '.join(found)}")


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _alexnet() -> list[Rule]:
    grid = alexnet.GRID
    convolutions = [
        Rule(f"conv{i}/conv", f"features.{n}")
        for i, n in enumerate(_convolutions([step[-1] for step in alexnet.CONVOLUTIONS]), start=1)
    ]
    dense = [Rule("fc6/dense", "classifier.1", grid), Rule("fc7/dense", "classifier.4")]
    return [*convolutions, *dense, Rule("logits", "classifier.6")]


def _vgg(depth: int, library: str) -> list[Rule]:
    ends = [
        (f"conv{i}_{j}/conv", j == count)
        for i, count in enumerate(vgg.CONVOLUTIONS[depth], start=1)
        for j in range(1, count + 1)
    ]
    rules = [
        Rule(ours, f"features.{n}")
        for (ours, _), n in zip(ends, _convolutions([end for _, end in ends]), strict=True)
    ]
    if library == "timm":
        names, convolution = ("pre_logits.fc1", "pre_logits.fc2", "head.fc"), True
    else:
        names, convolution = ("classifier.0", "classifier.3", "classifier.6"), False
    return [
        *rules,
        Rule("fc6/dense", names[0], vgg.GRID, convolution),
        Rule("fc7/dense", names[1], 1, convolution),
        Rule("logits", names[2]),
    ]


def _convolutions(pooled: list[bool]) -> list[int]:
    """Returns indices of convolutions among layers: each has a ReLU after it, some a pool."""
    numbers = [0]
    for pool in pooled[:-1]:
        numbers.append(numbers[-1] + 2 + pool)
    return numbers


def _inception_v4() -> list[Rule]:
    rules = []
    for n, name in enumerate([*inception_v4.STEM, *inception_v4.BLOCKS]):
        feature = f"features.{n}"
        if name in inception_v4.STEM:
            rules += _conv_norm(name, feature)
            continue
        for i, branch in enumerate(inception_v4.BLOCKS[name]):
            layer = rf"{name}/branch{i}_(\d\w?)"
            if name in ("mixed3a", "mixed5a"):
                rules += _conv_norm(layer, f"{feature}.conv")
            elif len(branch) == 1:
                rules += _conv_norm(layer, f"{feature}.branch{i}")
            elif isinstance(branch[-1], inception_v4.Fork):
                rules += _conv_norm(layer, rf"{feature}.branch{i}_\1")
            else:
                rules += _conv_norm(layer, rf"{feature}.branch{i}.\1")
    return [*rules, Rule("logits", "last_linear")]


def _conv_norm(ours: str, theirs: str) -> list[Rule]:
    return [Rule(f"{ours}/conv", f"{theirs}.conv"), Rule(f"{ours}/norm", f"{theirs}.bn")]


_RESNET = [
    Rule("stem/conv", "conv1"),
    Rule("stem/norm", "bn1"),
    Rule(r"(layer\d)_(\d+)/conv(\d)/conv", r"\1.\2.conv\3"),
    Rule(r"(layer\d)_(\d+)/conv(\d)/norm", r"\1.\2.bn\3"),
    Rule(r"(layer\d)_(\d+)/downsample/conv", r"\1.\2.downsample.0"),
    Rule(r"(layer\d)_(\d+)/downsample/norm", r"\1.\2.downsample.1"),
    Rule(r"(layer\d)_(\d+)/se/gate/reduce", r"\1.\2.se.fc1", convolution=True),
    Rule(r"(layer\d)_(\d+)/se/gate/expand", r"\1.\2.se.fc2", convolution=True),
    Rule("logits", "fc"),
]
RULES: dict[str, list[list[Rule]]] = {
    "alexnet": [_alexnet()],
    "vgg16": [_vgg(16, "torchvision"), _vgg(16, "timm")],
    "vgg19": [_vgg(19, "torchvision"), _vgg(19, "timm")],
    **{f"resnet{depth}": [_RESNET] for depth in resnet.BLOCKS},
    "se_resnet50": [_RESNET],
    "inception_v4": [_inception_v4()],
}
