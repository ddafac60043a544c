"""F4: a checkpoint that is damaged on the disk, in sixty ways."""

import random
import shutil

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
