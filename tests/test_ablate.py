"""The flags of ablate.py, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--table is missing: counts, 1, 2, 3, attention, augmentation, classes or baselines."),
        (["--table=atention"], '--table is "atention"; did you mean "attention"?'),
        (["--table=1"], "--table=1 trains: give --config=FILE, as in configs/art5.py"),
        (
            ["--table=1", "--config=configs/demo.py"],
            "--table=1 trains: give --workdir=DIR, where its runs go",
        ),
        (
            ["--table=1", "--config=configs/demo.py", "--workdir=w", "--seeds=0"],
            "--seeds is 0, but must be at least 1",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_code_2(arguments, sentence):
    ended = subprocess.run(
        [sys.executable, "ablate.py", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (2, f"{sentence}\n")
    assert ended.stdout == ""
