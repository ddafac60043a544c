"""The wheel, away from the checkout: every command runs with what the wheel holds."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
DRIVER = """
import importlib.metadata, sys
import dkse_jax

def command(name, *arguments):
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name=name)
    sys.argv = [name, *arguments]
    try:
        entry.load()()
    except SystemExit as end:
        assert not end.code, (name, end.code)

thin = ["--config.model.width=4", "--config.data.image_size=32", "--config.train.batch_size=8",
        "--config.train.epochs=2", "--config.data.source=records", "--config.data.root=records"]
command("dkse-check", "images")
command("dkse-pack", "images", "records")
command("dkse-train", "--config=dkse:figure10", "--workdir=run", *thin)
command("dkse-eval", "--workdir=run")
command("dkse-ablate", "--table=counts", "--workdir=tables")
print("PACKAGE", dkse_jax.__file__)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder that holds the content of the wheel, as an installation does."""
    folder = tmp_path_factory.mktemp("wheel")
    files = subprocess.run(
        ["git", "ls-files", "-z", "dkse_jax", "pyproject.toml", "README.md", "LICENSE"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    for name in filter(None, files):
        if (ROOT / name).exists():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "source" / name)
    build = "from setuptools import build_meta; build_meta.build_wheel('..')"
    subprocess.run(
        [sys.executable, "-c", build], cwd=folder / "source", check=True, capture_output=True
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_every_command_runs_far_from_the_checkout(site, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("ink", "oil"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"PACKAGE {site / 'dkse_jax' / '__init__.py'}" in done.stdout
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["model"]["positions"] == [6, 9, 12]
    metrics = json.loads((tmp_path / "run" / "eval" / "test" / "metrics.json").read_text())
    assert metrics["classes"] == 2
    assert "14 of 15 parameter cells match" in (tmp_path / "tables" / "table-counts.md").read_text()


def test_the_wheel_is_typed_and_licensed(site):
    assert (site / "dkse_jax" / "py.typed").is_file()
    assert not (site / "configs").exists()
    (metadata,) = site.glob("dkse_jax-*.dist-info")
    assert "License-Expression: Apache-2.0" in (metadata / "METADATA").read_text()
    assert list((metadata / "licenses").glob("LICENSE"))
