"""What a folder of predictions was made with, and where its rows are."""

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dkse_jax.data.transform import Transform
from dkse_jax.errors import UserError
from dkse_jax.files import check_room, digest_of, explain_disk_errors, replacing
from dkse_jax.prediction.journal import FILE
from dkse_jax.workdir import calibration_file
from dkse_jax.workdir.checkpoint_digest import digest_of_step

if TYPE_CHECKING:  # the command checks the folder before it imports networks
    from dkse_jax.trained import Trained

FOLDER = "state"  # of the folder of predictions
MADE_WITH = "run.json"
_ROOM = 2**20  # bytes, so that a full disk is known before the first picture
_PART = re.compile(r"part-(\d+)-of-(\d+)")
Part = tuple[int, int]  # (I, N), I from 1 to N


def parse_part(text: str | None) -> Part | None:
    """Returns (I, N) of --part=I/N. Raises UserError for another text."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    number, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= count:
        raise UserError(f"--part is {text}, but must be I/N with I from 1 to N, such as 3/8")
    return number, count


def folder_of(out: Path, part: Part | None) -> Path:
    """Returns the folder of the rows of a part, or of the whole."""
    return out / FOLDER / (f"part-{part[0]}-of-{part[1]}" if part else "")


def parts_of(out: Path) -> dict[Part, Path]:
    """Returns the journals of all parts that have begun."""
    names = sorted(os.listdir(out / FOLDER)) if (out / FOLDER).is_dir() else []
    found = {name: match for name in names if (match := _PART.fullmatch(name))}
    paths = {name: out / FOLDER / name / FILE for name in found}
    return {(int(m[1]), int(m[2])): paths[n] for n, m in found.items() if paths[n].exists()}


def check_out(out: Path) -> None:
    """Checks that predictions may be written in a folder, before anything is read.

    Raises:
        UserError: it is no folder, holds something else, or cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out={out} is a file, but must be a folder")
    own = (out / FOLDER).is_dir()
    if out.exists() and not own and any(not name.startswith(".") for name in os.listdir(out)):
        raise UserError(f"--out={out} holds something that is not predictions; name a new folder")
    with explain_disk_errors("cannot write", out):
        check_room(out, _ROOM)


def begin(out: Path, trained: "Trained") -> None:
    """Writes what predictions are made with, or compares it with what they were begun with.

    Raises:
        UserError: with each difference, or the disk is full.
    """
    step, calibration = trained.step, trained.workdir / calibration_file.FILE
    facts: dict[str, Any] = {
        "weights": f"step {step} ({digest_of_step(trained.workdir, step)[:12]})",
        "classes": list(trained.class_names),
        "transform": dataclasses.asdict(trained.transform),
        "calibration": digest_of(calibration)[:12] if calibration.exists() else "none",
    }
    path = out / FOLDER / MADE_WITH
    with explain_disk_errors("cannot write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with replacing(path, shared=True) as draft:  # parts may begin at the same time
                draft.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8", newline="\n")
            return
    if changed := _differences(_read(path), facts):
        raise UserError(
            f"--out={out} was begun with other {', '.join(changed)}; name a new folder, or the"
            " workdir that it was begun with"
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        saved["transform"] = dataclasses.asdict(Transform.from_json(saved["transform"]))
        ", ".join([saved["weights"], saved["calibration"], *saved["classes"]])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged; name a new --out folder") from error
    return saved


def _differences(saved: dict[str, Any], facts: dict[str, Any]) -> list[str]:
    """Returns what differs, as in: weights (step 3 (0a1b2c), now step 4 (3d4e5f))."""
    changed = []
    for name in ("weights", "classes", "calibration"):
        before, now = saved[name], facts[name]
        if before != now:
            pair = (", ".join(v) if name == "classes" else v for v in (before, now))
            changed.append("{} ({}, now {})".format(name, *pair))
    before, now = saved["transform"], facts["transform"]
    fields = [f"{key} {before[key]}, now {now[key]}" for key in now if before[key] != now[key]]
    return changed + ([f"transform ({'; '.join(fields)})"] if fields else [])
