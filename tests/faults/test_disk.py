"""F3, F15, F24, F25, F26: disks that are full or cannot be written, and two runs on one folder."""

import contextlib
import os
import shutil
import subprocess

import pytest

from tests.faults import runs, thin


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MiB; where none can be mounted, the test is skipped."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def last_line(process):
    return process.output.splitlines()[-1]


@pytest.mark.fault("F3", "a disk that fills up during the training")
@pytest.mark.full
def test_a_full_disk(tmp_path, small_disk, assert_as_undisturbed):
    workdir = small_disk / "run"
    process = runs.train(workdir, hooks="hooks.pause_step")
    process.wait_for("PAUSED step")  # the steps 6, 12 and 18 are saved
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    process.kill()
    before = runs.arrays(workdir)
    # With no room left, the next save fails; or already the journal.
    process = runs.train(workdir)
    assert process.end() == 2, process.output
    assert "Traceback" not in process.output
    assert str(workdir) in last_line(process)
    assert "(0 MiB free)" in last_line(process)
    assert "done" not in process.output
    assert runs.arrays(workdir) == before
    filler.unlink()
    process = runs.train(workdir)
    assert process.end() == 0, process.output
    assert process.first_step == 18
    assert_as_undisturbed(workdir)


@pytest.mark.fault("F25", "the very last save fails")
@pytest.mark.parametrize("saboteur", ["-", "saboteurs.failed_saves_unnoticed"])
def test_the_last_save_fails(tmp_path, saboteur):
    workdir = tmp_path / "run"
    once = ("checkpoint_every_steps=1000", "evaluate_every_epochs=20.0")
    flags = [f"--config.train.{field}" for field in once]
    # The journal fits in; a checkpoint, of which there is one, does not.
    process = runs.train(workdir, *flags, hooks=f"hooks.small_files,{saboteur}")
    code = process.end()
    assert runs.last_step(workdir) == thin.STEPS
    with runs.must_fail(saboteur):
        assert code == 2, process.output
        assert "done: " not in process.output
        assert f"cannot save step {thin.STEPS} in {workdir}/checkpoints (" in last_line(process)
        assert "Traceback" not in process.output


@pytest.mark.fault("F15", "a workdir that cannot be written")
def test_a_workdir_that_cannot_be_written(tmp_path, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    (tmp_path / "file").write_text("precious")
    for workdir, cause in [
        (small_disk / "run", "Read-only file system"),
        (tmp_path / "file", "holds something that is not a run"),
        (tmp_path / "file" / "run", "Not a directory"),
    ]:
        process = runs.train(workdir)
        assert process.end() == 2, process.output
        runs.assert_in_time(process, 5)
        assert len(process.output.splitlines()) == 1
        assert str(workdir) in process.output
        assert cause in process.output
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.fault("F15", "a workdir of another owner")
def test_a_workdir_of_another_owner(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o555)
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
    process = runs.train(folder / "run", hooks="hooks.without_privileges")
    assert process.end() == 2, process.output
    assert len(process.output.splitlines()) == 1
    assert f"{folder}: Permission denied" in process.output
    assert not list(folder.iterdir())


@pytest.mark.fault("F24", "two runs on one workdir")
@pytest.mark.parametrize(
    "saboteur", ["-", pytest.param("saboteurs.lock_forgotten", marks=pytest.mark.full)]
)
def test_two_runs_on_one_workdir(tmp_path, assert_as_undisturbed, saboteur):
    workdir = tmp_path / "run"
    first = runs.train(workdir, hooks="hooks.pause_step")
    first.wait_for("PAUSED step")
    second = runs.train(workdir, hooks=saboteur)
    code = second.end()
    with runs.must_fail(saboteur):
        assert code == 2, second.output
        assert second.output.splitlines() == [
            f"--workdir={workdir} is in use by process {first.pid} on {os.uname().nodename};"
            " name a new folder, or wait for it to end"
        ]
    first.kill()
    if saboteur == "-":
        third = runs.train(workdir)  # the lock of a dead owner does not bar
        assert third.end() == 0, third.output
        assert_as_undisturbed(workdir)


@pytest.mark.fault("F26", "the order in which files reach the disk")
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.full
def test_files_are_synced_before_and_after_they_count(tmp_path):
    """As the system sees it; tests/workdir/test_checkpoint.py has it as Python does."""
    workdir, trace = tmp_path / "run", tmp_path / "trace"
    command = ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync,rename,renameat2", "-o", trace]
    launch = [runs.sys.executable, runs.ROOT / "tests/faults/launch.py", "-", "train.py", runs.THIN]
    subprocess.run([*command, *launch, f"--workdir={workdir}"], check=True, capture_output=True)
    lines = trace.read_text().splitlines()
    root = workdir / "checkpoints"
    renamed = [i for i, line in enumerate(lines) if f'"{root}/6.json"' in line and "rename" in line]
    assert len(renamed) == 1
    before, after = lines[: renamed[0]], lines[renamed[0] + 1 :]
    for name in ("6.json.tmp", "6/variables", "6/training", "6"):
        assert any("fsync" in line and f"{root}/{name}>" in line for line in before), name
    assert "fsync" in after[0]
    assert f"{root}>" in after[0]
