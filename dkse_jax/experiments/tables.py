"""The rows of the tables of training runs: what each row changes in the base config."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from dkse_jax.data.sources.painting import KINDS
from dkse_jax.errors import UserError, nearest
from dkse_jax.experiments.published import TABLES, Cells
from dkse_jax.models import list_models

NAMES = ("counts", *TABLES, "attention", "augmentation", "classes", "baselines")
Variants = Mapping[str, Mapping[str, Any]]


class Row(NamedTuple):
    """One row: its name, the config fields that it sets, and its cells in the paper."""

    name: str
    changes: dict[str, Any]  # "model.positions" -> (6,)
    folder: str  # of its runs; shared by equal rows of several tables
    published: Cells | None = None
    classifier: str = ""  # a traditional classifier instead of config.model


def rows_of(
    table: str, config: ConfigDict, variants: Variants, class_names: Sequence[str]
) -> list[Row]:
    """Returns the rows of a table; the others are compared with the first.

    Args:
        table: 1, 2, 3, attention, augmentation, classes or baselines.
        config: the base config, to which a row's changes apply.
        variants: of configs/dkse.py.
        class_names: of the base config's data.

    Raises:
        UserError: an unknown table, or too few classes for the table classes.
    """
    if table in TABLES:
        return [_variant(variants, name, cells) for name, cells in TABLES[table].items()]
    if table == "attention":
        return [_variant(variants, name) for name in ("best", "se", "sk", "none")]
    if table == "augmentation":
        on = Row("on", {"augment.enabled": True}, "augmentation_on")
        if config.augment.enabled:
            on = on._replace(folder=_base_folder(config, variants) or on.folder)
        return [on, Row("off", {"augment.enabled": False}, "augmentation_off")]
    if table == "classes":
        return _classes(config, class_names)
    if table == "baselines":
        return _baselines(variants)
    raise UserError(f'--table is "{table}"{nearest(table, NAMES)}')


def _variant(variants: Variants, name: str, published: Cells | None = None) -> Row:
    """Builds the row of a variant; equal variants, such as the best one, share a folder."""
    same = next(other for other in variants if variants[other] == variants[name])
    changes = {f"model.{field}": value for field, value in variants[name].items()}
    return Row(name, {"model.name": "dkse_net"} | changes, same, published)


def _base_folder(config: ConfigDict, variants: Variants) -> str:
    """Returns the folder of the variant whose model the base config has; "" without one."""
    for name, fields in variants.items():
        if all(config.model[field] == value for field, value in fields.items()):
            return name if config.model.name == "dkse_net" else ""
    return ""


def _classes(config: ConfigDict, class_names: Sequence[str]) -> list[Row]:
    """Returns rows of three classes up to all, the first by name."""
    if config.data.source == "synthetic":
        field, most = "data.synthetic.kinds", len(KINDS)
    else:
        field, most = "data.classes", len(class_names)
    if most < 3:
        raise UserError(f"--table=classes needs data with 3 classes or more, and these have {most}")
    return [
        Row(f"{number} classes", {field: number}, f"classes_{number}")
        for number in range(3, most + 1)
    ]


def _baselines(variants: Variants) -> list[Row]:
    """Returns rows of DKSE, every other network and every traditional classifier."""
    from dkse_jax.experiments.classical import CLASSIFIERS

    networks = [name for name in list_models() if name != "dkse_net"]
    return [
        _variant(variants, "best"),
        *(Row(name, {"model.name": name}, name) for name in networks),
        *(Row(name, {}, name, classifier=name) for name in CLASSIFIERS),
    ]
