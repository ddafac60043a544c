"""The record of a saved step: its metrics, and the SHA-256 of every file and of the record."""

import hashlib
import json
from pathlib import Path
from typing import Any

from dkse_jax.errors import UserError
from dkse_jax.files import digest_of, write_atomically

FOLDER = "checkpoints"  # of a workdir


class DamagedCheckpoint(UserError):
    """A checkpoint whose files differ from what was saved."""


def record_path(root: Path, step: int) -> Path:
    """Returns the path of a step's record, beside the folder of the step."""
    return root / f"{step}.json"


def digests(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file by its path relative to the folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): digest_of(path) for path in paths}


def own_digest(record: dict[str, Any]) -> str:
    """Returns the SHA-256 of a record without its digest."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def digest_of_step(workdir: Path, step: int) -> str:
    """Returns the SHA-256 of a step's record, which has that of every file of the weights."""
    return own_digest(read_record(workdir / FOLDER, step))


def write_record(root: Path, record: dict[str, Any]) -> None:
    """Writes the record with its own digest, atomically."""
    text = json.dumps({**record, "sha256": own_digest(record)}, indent=2, allow_nan=False)
    write_atomically(record_path(root, record["step"]), text)


def read_record(root: Path, step: int) -> dict[str, Any]:
    """Reads a step's record; raises DamagedCheckpoint if it is missing or changed."""
    path = record_path(root, step)
    try:
        record = json.loads(path.read_bytes())
        intact = record.pop("sha256") == own_digest(record) and record["step"] == step
    except FileNotFoundError as error:
        raise DamagedCheckpoint(f"there is no step {step} in {root}") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DamagedCheckpoint(f"step {step} is damaged: {path}") from error
    if not intact:
        raise DamagedCheckpoint(f"step {step} is damaged: {path}")
    return record


def verify(root: Path, step: int) -> None:
    """Raises DamagedCheckpoint if a file of the step differs from what was saved."""
    files = read_record(root, step)["files"]
    found = digests(root / str(step))
    for name in sorted(files):
        if name not in found or found[name] != files[name]:
            raise DamagedCheckpoint(f"step {step} is damaged: {root / str(step) / name}")
