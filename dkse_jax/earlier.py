"""Fields in which the configs that earlier versions saved differ from those of this one."""

from typing import Any

from ml_collections import ConfigDict

from dkse_jax.errors import UserError

# Former fields that are constants now, with their values; None if no value changed a result.
_RETIRED: dict[str, Any] = {
    "model.gate": "shared_sigmoid",
    "model.branch_norm": "bn_relu",
    "model.norm_placement": "all",
    "augment.crop_ratio": 4 / 3,
    "optimizer.name": "sgd",
    "optimizer.weight_decay": None,
    "eval.bootstrap_samples": 1000,
    "log.progress_seconds": None,
}
# Later fields, with the values that do what versions without them did.
ADDED: dict[str, Any] = {"data.colour_profiles": False, "data.views": "centre"}


def update(config: ConfigDict) -> None:
    """Deletes former fields and adds later ones, so that the config still means what it did.

    Raises:
        UserError: a former field has a value that is no longer supported.
    """
    retired = {name: value for name in _RETIRED if (value := _value(config, name)) is not None}
    mistakes = [
        f"config.{name} is {value!r}, but this version supports only {_RETIRED[name]!r}"
        for name, value in retired.items()
        if _RETIRED[name] not in (None, value)
    ]
    if mistakes:
        raise UserError(*mistakes)
    for name in retired:
        section, key = name.split(".")
        del config[section][key]
    for name, value in ADDED.items():
        section, key = name.split(".")
        if isinstance(config.get(section), ConfigDict) and _value(config, name) is None:
            config[section][key] = value


def _value(config: ConfigDict, name: str) -> Any:
    section, key = name.split(".")
    values = config.get(section)
    return values.get(key) if isinstance(values, ConfigDict) else None
