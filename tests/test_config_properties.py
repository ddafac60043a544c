"""Configs: JSON and differences, for any legal change of any field."""

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from configs import base
from dkse_jax import config as configs
from dkse_jax.errors import UserError

WITHOUT_EFFECT = {
    "data.max_bad_percent",
    "data.root",
    "data.threads",
    "devices.fsdp",
    "eval.batch_size",
    "log.tensorboard",
    "model.remat",
    "train.checkpoint_every_steps",
}
KINDS = {
    bool: st.booleans(),
    int: st.integers(0, 20) | st.integers(0, 2**33),
    float: st.floats(0, 1) | st.floats(1, 4) | st.floats(0, 100) | st.floats(),
    str: st.text(st.characters(), max_size=5),
    tuple: st.lists(st.integers(1, 12), max_size=3).map(tuple),
}


def legal(name: str) -> st.SearchStrategy:
    """Any value that a field may hold, as far as it alone is concerned."""
    field = configs.FIELDS[name]
    choices = field.rule.choices
    values = st.sampled_from(choices) if choices else KINDS[field.kind]
    return values.filter(lambda value: field.mistake(name, value) is None)


CHANGES = st.sets(st.sampled_from(sorted(configs.FIELDS)), min_size=1, max_size=4).flatmap(
    lambda names: st.fixed_dictionaries({name: legal(name) for name in sorted(names)})
)


def start() -> ConfigDict:
    """The base config, but ready for every source."""
    return changed(base.get_config(), {"data.root": "images", "data.tfds.builder": "art"})


def changed(config: ConfigDict, values: dict[str, Any]) -> ConfigDict:
    result = config.copy_and_resolve_references()
    result.update_from_flattened_dict(values)
    return result


def exact(config: ConfigDict) -> dict[str, str]:
    """Also 0.0 and -0.0, 1 and True, are told apart."""
    return {name: repr(value) for name, value in configs.fields(config).items()}


def check(changes: dict[str, Any]) -> None:
    old = start()
    new = changed(old, changes)
    try:
        configs.validate(new)
    except UserError:  # fields that do not go together
        assume(False)
    restored = configs.from_json(configs.to_json(new))
    assert exact(restored) == exact(new)
    assert configs.differences(restored, new) == []

    expected = {
        name
        for name, value in changes.items()
        if value != configs.fields(old)[name] and name not in WITHOUT_EFFECT
    }
    if changes.get("train.epochs", 0) > old.train.epochs:  # it prolongs the run
        expected -= {"train.epochs"}
    found = configs.differences(old, restored)
    assert [line.partition(": ")[0] for line in found] == [
        name for name in configs.FIELDS if name in expected
    ]


@pytest.mark.parametrize("name", sorted(configs.FIELDS))
@settings(max_examples=5, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_change_of_any_field_survives_json_and_is_found(name, data):
    check({name: data.draw(legal(name))})


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(CHANGES)
def test_changes_of_several_fields_survive_json_and_are_found(changes):
    check(changes)
