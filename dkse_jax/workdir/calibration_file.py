"""The calibration of a workdir's weights: calibration.json, and an NPZ file that it names.

Both are written whole, the JSON file last: a reader finds an older calibration or the new. The JSON
file has the digest of the step whose weights it is of, of the NPZ file, and of itself.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from dkse_jax.errors import UserError
from dkse_jax.evaluation.calibration import Errors, Thresholds
from dkse_jax.evaluation.distance import Distance
from dkse_jax.files import explain_disk_errors, reason_of, replacing, write_atomically
from dkse_jax.workdir.checkpoint_digest import own_digest

FILE = "calibration.json"
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What was fitted to a val that is large enough.

    Attributes:
        temperature: that log-probabilities are divided by.
        errors: what that changes on val.
        thresholds: of a known picture.
        refused: the share of val that they refuse.
        set_score: up to which a class is in a prediction set: see `calibration.set_scores`.
        distance: of features from the training classes.
    """

    temperature: float
    errors: Errors
    thresholds: Thresholds
    refused: float
    set_score: float
    distance: Distance


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The calibration of one step's weights.

    Attributes:
        weights: the digest of the step: see `checkpoint_digest.digest_of_step`.
        class_names: (K,) in the order of the logits.
        examples: number of pictures in val.
        groups: number of their groups.
        reason: why nothing was fitted; "" where it was.
        fitted: None where nothing was fitted.
    """

    weights: str
    class_names: tuple[str, ...]
    examples: int
    groups: int
    reason: str
    fitted: Fitted | None

    def sentence(self) -> str:
        """Returns one line on what is known of the probabilities."""
        if self.fitted is None:
            return f"uncalibrated: {self.reason}"
        before, after, *_ = self.fitted.errors
        return (
            f"calibrated at temperature {self.fitted.temperature:.3f} on val"
            f" ({self.examples:,} pictures in {self.groups:,} groups): calibration error"
            f" {before:.1%} before, {after:.1%} after, on groups that the fit left out"
        )


def save(workdir: Path, calibration: Calibration) -> None:
    """Replaces the calibration in a workdir.

    Raises:
        UserError: the disk is full or cannot be written; an older calibration is then untouched.
    """
    tree: dict[str, Any] = {
        "version": _VERSION,
        "weights": calibration.weights,
        "class_names": list(calibration.class_names),
        "examples": calibration.examples,
        "groups": calibration.groups,
        "uncalibrated": calibration.reason,
    }
    path, data = workdir / FILE, b""
    if fitted := calibration.fitted:
        data = _packed(fitted.distance)
        digest = hashlib.sha256(data).hexdigest()
        tree |= {
            "temperature": fitted.temperature,
            **fitted.errors._asdict(),
            "known_from_probability": fitted.thresholds.probability,
            "known_up_to_distance": fitted.thresholds.distance,
            "refused": fitted.refused,
            "set_score": fitted.set_score,
            "features": {"file": f"calibration-{digest[:12]}.npz", "sha256": digest},
        }
    tree["sha256"] = own_digest(tree)
    with explain_disk_errors("cannot write", path):
        if data:
            with replacing(workdir / tree["features"]["file"]) as draft:
                draft.write_bytes(data)
        write_atomically(path, json.dumps(tree, indent=2, allow_nan=False) + "\n")
        current = tree["features"]["file"] if data else ""
        for other in workdir.glob("calibration-*.npz*"):
            if other.name != current:
                other.unlink(missing_ok=True)


def load(workdir: Path, weights: str) -> Calibration | None:
    """Reads the calibration of the weights with this digest; None where a workdir has none.

    Raises:
        UserError: it is damaged, or of other weights.
    """
    path = workdir / FILE
    remedy = f"fit it again by dkse-eval --workdir={workdir} --calibrate"
    try:
        tree = json.loads(path.read_bytes())
        if tree.pop("sha256") != own_digest(tree):
            raise ValueError("its checksum is wrong")
        if tree["version"] != _VERSION:
            raise ValueError(f"it is of version {tree['version']}, not {_VERSION}")
        if tree["weights"] != weights:
            raise UserError(f'"{path}" is of other weights than those of {workdir}: {remedy}')
        fitted = None if tree["uncalibrated"] else _fitted(workdir, tree)
    except FileNotFoundError as error:
        if not path.exists():
            return None
        raise UserError(f'"{path}" is incomplete ({error.filename} is gone): {remedy}') from error
    except UserError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f'"{path}" is damaged ({reason_of(error)}): {remedy}') from error
    return Calibration(
        weights,
        tuple(tree["class_names"]),
        tree["examples"],
        tree["groups"],
        tree["uncalibrated"],
        fitted,
    )


def is_current(workdir: Path, weights: str) -> bool:
    """Returns whether a workdir has an undamaged calibration of the weights with this digest."""
    with contextlib.suppress(UserError):
        return load(workdir, weights) is not None
    return False


def _fitted(workdir: Path, tree: dict[str, Any]) -> Fitted:
    data = (workdir / Path(tree["features"]["file"]).name).read_bytes()
    if hashlib.sha256(data).hexdigest() != tree["features"]["sha256"]:
        raise ValueError(f"the checksum of {tree['features']['file']} is wrong")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        distance = Distance(arrays["whitening"], arrays["means"])
    return Fitted(
        tree["temperature"],
        Errors(*(tree[name] for name in Errors._fields)),
        Thresholds(tree["known_from_probability"], tree["known_up_to_distance"]),
        tree["refused"],
        tree["set_score"],
        distance,
    )


def _packed(distance: Distance) -> bytes:
    file = io.BytesIO()
    np.savez(file, **distance._asdict())
    return file.getvalue()
