"""F37: predictions that are killed at any moment end with the tables of one that never was."""

import os
import random
import time

import numpy as np
import pytest
from PIL import Image

from tests.faults import runs

FILES = 60
HOOK = "hooks.predict_slowly"
BATCH, AHEAD = 4, 4 + (os.cpu_count() or 1)  # of the hook


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("killed") / "in"
    root.mkdir()
    rng = np.random.default_rng(0)
    for i in range(FILES):
        pixels = rng.integers(0, 256, (36, 36 + i, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"{i:02}.png")
    for i in (7, 31):
        (root / f"{i:02}.png").write_bytes(b"broken")
    return root


def start(trained, pictures, out, *arguments, saboteur="-"):
    """A prediction that adds the name of each file that it decodes to a file beside its folder."""
    return runs.Process(
        "predict.py",
        f"--workdir={trained}",
        f"--out={out}",
        str(pictures),
        *arguments,
        hooks=f"{HOOK},{saboteur}",
        environment={"DKSE_DECODED": str(decoded_file(out))},
    )


def decoded_file(out):
    return out.with_name(f"{out.name}.decoded")


def decoded(out):
    return decoded_file(out).read_text().split() if decoded_file(out).exists() else []


def rows_on_disk(folder):
    path = folder / "rows.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def contents(out):
    return [(out / f"predictions.{name}").read_bytes() for name in ("csv", "jsonl")]


FORMATS = "--format=csv,jsonl"


@pytest.fixture(scope="module")
def undisturbed(trained, pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    process = start(trained, pictures, out, FORMATS)
    assert process.end() == 0, process.output
    assert sorted(decoded(out)) == [f"{i:02}.png" for i in range(FILES)]
    return contents(out)


@pytest.mark.fault("F37", "SIGKILL of a prediction at random moments: no row lost or made twice")
@pytest.mark.parametrize(
    ("kills", "saboteur"),
    [
        (3, "-"),
        pytest.param(20, "-", marks=pytest.mark.full),
        pytest.param(1, "saboteurs.rows_forgotten", marks=pytest.mark.full),
    ],
)
def test_kills(trained, pictures, undisturbed, tmp_path, kills, saboteur):
    with runs.must_fail(saboteur):
        kill_and_go_on(trained, pictures, undisturbed, tmp_path / "out", kills, saboteur)


def kill_and_go_on(trained, pictures, undisturbed, out, kills, saboteur):
    moments = random.Random(kills)
    found: list[str] = []
    finished: set[str] = set()
    for number in range(kills):
        process = start(trained, pictures, out, FORMATS, saboteur=saboteur)
        target = (number + 1) * (FILES - 10) // kills
        process.wait_for(lambda target=target: rows_on_disk(out / "state") >= target)
        time.sleep(moments.uniform(0, 0.03))
        process.kill()
        before, found = len(found), decoded(out)
        on_disk = rows_on_disk(out / "state")
        assert len(set(found)) - on_disk <= BATCH + AHEAD  # what this kill cost
        assert not set(found[before:]) & finished
        finished = {f"{i:02}.png" for i in range(on_disk)}
        assert not (out / "predictions.csv").exists()
    process = start(trained, pictures, out, FORMATS, saboteur=saboteur)
    assert process.end() == 0, process.output
    again = decoded(out)[len(found) :]
    assert sorted({*again, *finished}) == [f"{i:02}.png" for i in range(FILES)]
    assert not set(again) & finished
    assert contents(out) == undisturbed
