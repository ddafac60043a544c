"""Commands with what Windows lacks taken away, and without a network: see windows.py, offline.py.

What they print and write is what they print and write here, byte for byte.
"""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dkse_jax.cli.check import FLAGS as CHECK_FLAGS
from dkse_jax.data.tools.check import check
from dkse_jax.prediction.run import predict
from dkse_jax.prediction.write_back import Wish
from dkse_jax.prediction.writing import Format
from tests import offline
from tests.short import FULL

LOCK = "files.sync(Path(sys.argv[1], 'lock')); files.sync(Path(sys.argv[1]))"
PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
import windows
windows.take_away()
from dkse_jax import files
with files.locked(Path(sys.argv[1])):
    {inside}
"""


def windows(folder, *arguments):
    return offline.run(folder, "tests/windows.py", *arguments, PYTHONWARNDEFAULTENCODING="1")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Twenty pictures of two classes, and an empty file."""
    root = tmp_path_factory.mktemp("pictures") / "Bücher [1]"
    pixels = np.random.default_rng(0)
    for name in ("Öl", "ink"):
        (root / name / "a'b").mkdir(parents=True)
        for i in range(10):
            picture = pixels.integers(0, 256, (40, 50, 3), np.uint8)
            Image.fromarray(picture).save(root / name / "a'b" / f"{i}.png")
    (root / "ink" / "empty.jpg").touch()
    return root


def test_check(tmp_path, pictures, capsys):
    process = windows(tmp_path, "check", str(pictures))
    named = {name: CHECK_FLAGS[name].default for name in ("seed", "val_percent", "test_percent")}
    assert check(str(pictures), image_size=CHECK_FLAGS["image_size"].default, **named)
    assert process.stdout == capsys.readouterr().out
    assert process.stderr == ""
    assert process.returncode == 1  # of the empty file


def test_a_lock_holds_against_another_process(tmp_path):
    workdir = tmp_path / "run"
    nested = (
        "import subprocess; sys.exit(subprocess.run([sys.executable, *sys.argv[2:]]).returncode)"
    )
    taking = ["-c", PROGRAM.format(inside=LOCK), str(workdir)]
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(inside=nested), str(workdir), *taking],
        capture_output=True,
        text=True,
        cwd=offline.ROOT,
    )
    assert process.returncode == 1
    owner, last = (workdir / "lock").read_text().strip(), process.stderr.splitlines()[-1]
    assert last.startswith(f"dkse_jax.errors.UserError: --workdir={workdir} is in use by {owner};")
    again = subprocess.run([sys.executable, *taking], capture_output=True, cwd=offline.ROOT)
    assert again.returncode == 0, again.stderr  # the first owner is gone


def test_records_are_refused_by_name(tmp_path, pictures):
    process = windows(tmp_path, "pack", f"--root={pictures}", f"--out={tmp_path / 'out'}")
    assert process.returncode == 2
    assert process.stderr.startswith("records need the package array_record and tensorflow_datas")
    assert process.stderr.count("\n") == 1


def test_predict_and_sort(tmp_path, pictures, trained, short):
    wish = Wish(sort="copy", yes=True)
    predict(trained, tmp_path / "here", [str(pictures)], form=Format(("csv", "jsonl")), wish=wish)
    out = f"--out={tmp_path / 'there'}"
    flags = f"--workdir={trained}", str(pictures), "--format=csv,jsonl", "--sort=copy", "--yes"
    process = windows(tmp_path, "predict", out, *flags)
    assert process.returncode == 0, process.stderr
    here, there = (contents(tmp_path / name) for name in ("here", "there"))
    assert here.keys() == there.keys()
    assert {name for name in here if here[name] != there[name]} <= {"state/lock"}
    assert sum(name.startswith("sorted/") for name in here) == 21
    if not FULL:
        return
    process = windows(tmp_path, "predict", out, *flags)  # all is there already
    assert process.returncode == 0, process.stderr
    assert contents(tmp_path / "there") == there | {
        "state/lock": (tmp_path / "there" / "state" / "lock").read_bytes()
    }


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
