"""The description of a run: config.json and inputs.json, written once, before training."""

import importlib.metadata
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dkse_jax.config import differences, fields, from_json, kept, to_json
from dkse_jax.console import log
from dkse_jax.data.transform import Transform
from dkse_jax.errors import UserError
from dkse_jax.files import LOCK_FILE, check_unlocked, explain_disk_errors, write_atomically

CONFIG_FILE = "config.json"
INPUTS_FILE = "inputs.json"
# Files of a run that was killed before it began.
_NOTHING = {LOCK_FILE, INPUTS_FILE, f"{INPUTS_FILE}.tmp", f"{CONFIG_FILE}.tmp"}


def as_begun(workdir: Path, config: ConfigDict) -> ConfigDict:
    """Returns the config with which the run in a folder, if there is one, goes on: see `kept`."""
    if not (workdir / CONFIG_FILE).exists():
        return config
    fields_kept = kept(load_config(workdir), config)
    for name, value in fields_kept.items():
        log(f"config.{name} stays {value!r}, with which {workdir} was begun")
    config = config.copy_and_resolve_references().unlock()
    config.update_from_flattened_dict(fields_kept)
    return config.lock()


def begun_arithmetic(workdir: Path) -> Any:
    """Returns the recorded arithmetic of the run in a folder: see `arithmetic.choose`."""
    exists = (workdir / CONFIG_FILE).exists()
    return load_inputs(workdir).get("arithmetic") if exists else None


def check_workdir(workdir: Path, config: ConfigDict) -> None:
    """Checks that a run may begin or resume in a folder; changes nothing.

    Args:
        workdir: a new or empty folder, or the workdir of the same run.
        config: the run's config.

    Raises:
        UserError: the folder cannot be written, is in use, or holds a run of another config or
            something else.
    """
    check_unlocked(workdir)
    if (workdir / CONFIG_FILE).exists():
        changed = differences(load_config(workdir), config)
        if changed:
            raise UserError(
                f"--workdir={workdir} was begun with another config; name a new folder, or undo: "
                + ", ".join(changed)
            )
    elif workdir.exists() and not (workdir.is_dir() and set(os.listdir(workdir)) <= _NOTHING):
        raise UserError(f"--workdir={workdir} holds something that is not a run; name a new folder")
    folder = next(path for path in (workdir, *workdir.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"--workdir={workdir} cannot be written in {folder}: {error.strerror}"
        ) from error


def begin(workdir: Path, config: ConfigDict, inputs: dict[str, Any]) -> None:
    """Writes the description of a new run, or checks that a resumed run has the same inputs.

    Args:
        workdir: a folder that passes `check_workdir`.
        config: the run's config; it replaces that of a resumed run.
        inputs: class_names, transform, splits and arithmetic, as a JSON tree.

    Raises:
        UserError: the data, the class names or the transform changed.
    """
    if (workdir / CONFIG_FILE).exists():
        check_inputs(workdir, inputs)
    with explain_disk_errors("cannot write", workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        write_atomically(workdir / INPUTS_FILE, json.dumps(inputs, indent=2) + "\n")
        write_atomically(workdir / CONFIG_FILE, to_json(config))


def facts(config: ConfigDict, inputs: dict[str, Any]) -> dict[str, str]:
    """Returns what must be equal in all processes of a run, by name, thus without data.root."""
    own = ("data.root", "data.threads", "log.")
    values = {f"config.{name}": repr(value) for name, value in fields(config).items()}
    return {
        **{name: value for name, value in values.items() if not name[7:].startswith(own)},
        "the list of classes": ", ".join(inputs["class_names"]),
        **{
            f"the {name} data": f"{split['examples']} examples ({split['fingerprint'][:12]})"
            for name, split in inputs["splits"].items()
        },
        "the arithmetic of bfloat16": inputs.get("arithmetic", "that of the device"),
        "the version of JAX": importlib.metadata.version("jax"),
    }


def load_config(workdir: Path) -> ConfigDict:
    """Reads the config of the run in a workdir."""
    return from_json(_read(workdir, CONFIG_FILE))


def load_inputs(workdir: Path) -> dict[str, Any]:
    """Reads the class names, transform and splits of the run in a workdir."""
    return json.loads(_read(workdir, INPUTS_FILE))


def _read(workdir: Path, name: str) -> str:
    try:
        return (workdir / name).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{workdir} is not a run: {name} cannot be read ({error.strerror})"
        ) from error


def check_inputs(workdir: Path, inputs: dict[str, Any]) -> None:
    """Compares inputs but the arithmetic with those of a run. Raises UserError as `begin`."""
    saved, inputs = (
        tree | {"transform": Transform.from_json(tree["transform"]), "arithmetic": None}
        for tree in (load_inputs(workdir), inputs)
    )
    for name, split in inputs["splits"].items():
        if saved["splits"][name] != split:
            raise UserError(
                f"the {name} data changed since --workdir={workdir} was begun with"
                f" {saved['splits'][name]['examples']} examples (now {split['examples']});"
                " restore it, or name a new folder"
            )
    if saved != inputs:
        raise UserError(f"--workdir={workdir} was begun with other class names or transform")
