"""F35: no print ends a program: names that the terminal lacks, and readers that are gone."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.faults import runs

fault = pytest.mark.fault("F35", "terminals that lack a name's characters, or are gone")
CLASSES = ("Öffentlich", "oil_\uf022painting", "a\u2028b")


@pytest.fixture
def images(tmp_path):
    """Three classes of 12 small pictures and, in each, a file of the name é, or of the byte E9."""
    root = tmp_path / "images"
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        files = ["é.png", os.fsdecode(b"\xe9.png"), *(f"{i}.png" for i in range(10))]
        for file in files:
            pixels = rng.integers(0, 256, (36, 36, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / file)
    return root


def check(root, terminal, stdout):
    return subprocess.run(
        [sys.executable, "-m", "dkse_jax.cli.check", root],
        cwd=runs.ROOT,
        env={**os.environ, "PYTHONIOENCODING": terminal},
        stdout=stdout,
        stderr=subprocess.STDOUT,
    )


@fault
@pytest.mark.parametrize("encoding", ["ascii", pytest.param("cp1252", marks=pytest.mark.full)])
def test_the_check_prints_every_name(images, encoding):
    (images / CLASSES[0] / "é.png").write_bytes(b"")
    ended = check(images, encoding, subprocess.PIPE)
    assert ended.returncode == 1, ended.stdout
    lines = ended.stdout.decode(encoding).splitlines()
    first = "?ffentlich" if encoding == "ascii" else "Öffentlich"
    assert any(line.startswith(f"| {first} ") for line in lines)
    assert any("it is not a JPEG" in line and first in line for line in lines)
    assert lines[-1] == "1 problem"


@fault
def test_a_reader_that_is_gone_is_no_error(images):
    """As after `| head`: nothing is printed about it, and the code is the command's own."""
    reader, writer = os.pipe()
    os.close(reader)
    ended = check(images, "utf-8", writer)
    os.close(writer)
    assert ended.returncode == 0


@fault
@pytest.mark.full
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_training_and_evaluation_print_every_name(tmp_path, images, encoding):
    bad = [images / CLASSES[0] / name for name in ("é.png", os.fsdecode(b"\xe9.png"))]
    for file in bad:
        file.write_bytes(file.read_bytes()[:60])
    flags = [f"root={images}", "source=folder", "on_bad_image=skip", "max_bad_percent=50.0"]
    environment = {"PYTHONIOENCODING": encoding}
    trained = runs.train(
        tmp_path / "é run",
        *(f"--config.data.{flag}" for flag in flags),
        "--config.train.epochs=4.0",
        environment=environment,
    )
    assert trained.end() == 0, trained.output
    assert "skipped: the image" in trained.output
    name = "? run" if encoding == "ascii" else "\ufffd run"  # the test reads UTF-8
    assert trained.output.splitlines()[-1].endswith(f"{name}'")
    for file in bad:
        file.unlink()
        Image.new("RGB", (36, 36)).save(file)
    flags = [f"--workdir={tmp_path / 'é run'}", f"--root={images}", "--split=all", "--gradcam=1"]
    evaluated = runs.Process("eval.py", *flags, environment=environment)
    assert evaluated.end() == 0, evaluated.output
    assert evaluated.output.splitlines()[-1].startswith("all accuracy ")


@fault
@pytest.mark.full
def test_a_training_goes_on_without_a_reader(tmp_path, assert_as_undisturbed):
    """What `| head` does to it: it ends as ever, and nothing is lost."""
    script = [sys.executable, runs.LAUNCH, "-", "train.py", runs.THIN]
    process = subprocess.Popen(
        [*script, f"--workdir={tmp_path / 'run'}"],
        env={**os.environ, "JAX_NUM_CPU_DEVICES": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.wait() == 0
    assert process.stderr.read() == b""
    process.stderr.close()
    assert_as_undisturbed(tmp_path / "run")
