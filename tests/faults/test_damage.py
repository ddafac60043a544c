"""F4, F36: a checkpoint, a compiled program or a file of weights that is damaged."""

import json
import os
import random
import shutil
import subprocess
import sys

import pytest

from tests.faults import runs, saboteurs
from tests.short import FULL

MUTATIONS = 60 if FULL else 12


@pytest.fixture(scope="module")
def stopped(baseline, tmp_path_factory):
    """A workdir of the thin run that was killed after step 18, with the steps 12 and 18."""
    workdir = tmp_path_factory.mktemp("stopped") / "run"
    process = runs.train(workdir, hooks="hooks.pause_step")
    process.wait_for("PAUSED step")
    process.kill()
    return workdir


def flip(data, chance):
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


DAMAGES = {
    "a bit": flip,
    "another bit": flip,
    "truncated": lambda data, chance: data[: chance.randrange(len(data))],
    "zeroed": lambda data, chance: bytes(len(data)),
    "empty": lambda data, chance: b"",
    "deleted": lambda data, chance: None,
}


def mutations(workdir, number):
    """(file, damage, its content afterwards), the same ones each time."""
    root = workdir / "checkpoints"
    files = [path for path in sorted((root / "18").rglob("*")) if path.is_file()]
    files.append(root / "18.json")
    chance = random.Random(1)
    pairs = [(file, name) for file in files for name in DAMAGES]
    for file, name in chance.sample(pairs, number):
        yield file, name, DAMAGES[name](file.read_bytes(), chance)


@pytest.mark.fault("F4", "the newest checkpoint damaged: bits, truncated, zeroed, empty, deleted")
@pytest.mark.parametrize("saboteur", ["-", "digest_skipped"])
# What orbax's own threads say of damage, which it is never shown but under the saboteur.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_damage_is_silent(tmp_path, stopped, saboteur, monkeypatch, capfd):
    if saboteur != "-":
        from dkse_jax.workdir import checkpoint

        monkeypatch.setattr(checkpoint, "verify", checkpoint.verify)  # is put back at the end
        getattr(saboteurs, saboteur)()
    whole = runs.arrays(stopped)
    assert whole[0] == 18
    silent = []
    planted = mutations(stopped, MUTATIONS if saboteur == "-" else 6)
    for number, (file, damage, content) in enumerate(planted):
        workdir = shutil.copytree(stopped, tmp_path / str(number))
        file = workdir / file.relative_to(stopped)
        file.unlink() if content is None else file.write_bytes(content)
        capfd.readouterr()
        try:
            found = runs.arrays(workdir)
        except Exception as error:
            found = (None, str(error))
        said = capfd.readouterr().out
        names = {path.name for path in (workdir / "checkpoints").iterdir()}
        if damage == "deleted" and file.name == "18.json":
            good = found[0] == 12  # without its record, a step does not exist
        else:
            told = f"step 18 is damaged: {file}; it is set aside as 18.damaged" in said
            good = found[0] == 12 and told and "18.damaged" in names
        if not good and found != whole:
            silent.append(f"{damage}: {file.name}: {said} {found[0]}")
        shutil.rmtree(workdir)
    with runs.must_fail(saboteur):
        assert not silent


@pytest.mark.fault("F4", "the run goes on from the step before, to the same end")
@pytest.mark.full
@pytest.mark.parametrize("damage", ["a bit", "deleted"])
def test_the_run_goes_on_from_the_step_before(tmp_path, stopped, assert_as_undisturbed, damage):
    workdir = shutil.copytree(stopped, tmp_path / "run")
    file = max((workdir / "checkpoints" / "18").rglob("*"), key=lambda path: path.stat().st_size)
    content = DAMAGES[damage](file.read_bytes(), random.Random(2))
    file.unlink() if content is None else file.write_bytes(content)
    process = runs.train(workdir)
    assert process.end() == 0, process.output
    assert process.first_step == 12
    assert "step 18 is damaged" in process.output
    assert (workdir / "checkpoints" / "18.damaged").is_dir()
    assert_as_undisturbed(workdir)


def compiled_program(cache):
    """What a command prints that compiles a program, or takes it from the user's cache."""
    names = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")
    own = {name: value for name, value in os.environ.items() if name not in names}
    program = (
        "import jax; from dkse_jax import runtime; runtime.configure();"
        "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0);"
        "print(jax.jit(lambda x: x * 3 + 1)(2.0))"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        env=own | {"XDG_CACHE_HOME": str(cache)},
        cwd=runs.ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()


@pytest.mark.fault("F36", "a bit of a compiled program on the disk")
@pytest.mark.full
def test_a_damaged_program_is_noticed_and_compiled_again(tmp_path):
    assert compiled_program(tmp_path) == ["7.0"]
    entries = list(tmp_path.rglob("*-cache"))
    assert entries
    chance = random.Random(0)
    for entry in entries:
        entry.write_bytes(flip(entry.read_bytes(), chance))
    *lines, answer = compiled_program(tmp_path)
    assert answer == "7.0"
    assert len(lines) == len(entries)
    assert all(line.endswith("is damaged; it is compiled again") for line in lines)
    assert compiled_program(tmp_path) == ["7.0"]


@pytest.mark.fault("F36", "published weights of a dtype that NumPy lacks, or cut off")
@pytest.mark.parametrize("cut", [None, 40])
def test_weights_that_cannot_be_read_are_one_sentence(tmp_path, cut):
    file = tmp_path / "r18-f8.safetensors"
    header = json.dumps({"fc.bias": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}})
    content = len(header).to_bytes(8, "little") + header.encode() + bytes(4)
    file.write_bytes(content[:cut])
    flags = ("--config.model.name=resnet18", "--config.data.image_size=64")
    process = runs.train(tmp_path / "run", *flags, f"--config.init_from={file}")
    assert process.end() == 2, process.output
    assert str(file) in process.output.splitlines()[-1]
    assert ("F8_E4M3" in process.output) is (cut is None)
    assert "Traceback" not in process.output
    assert not (tmp_path / "run").exists()
