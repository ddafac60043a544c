"""F31, F34: reports claim no more than they know, and replace nothing that is not theirs."""

import json
import shutil
import subprocess

import pytest
from PIL import Image

from tests.faults import runs, thin
from tests.faults.test_disk import small_disk as small_disk

reports = pytest.mark.fault("F34", "reports on two folders, beside a user's files, on bad disks")


@pytest.fixture
def run(baseline, tmp_path):
    return shutil.copytree(baseline, tmp_path / "run")


@pytest.fixture
def images(run, tmp_path):
    """`images(name, each, side)`: a folder of plain pictures of the first two classes."""

    def paint(name, each):
        root = tmp_path / name / "art"
        for label in json.loads((run / "inputs.json").read_text())["class_names"][:2]:
            (root / label).mkdir(parents=True)
            for i in range(each):
                colour = (20 * i + 9, len(label), each)
                Image.new("RGB", (40, 40), colour).save(root / label / f"{i}.png")
        return root

    return paint


def evaluate(run, *flags, **named):
    process = runs.Process("eval.py", f"--workdir={run}", *flags, **named)
    return process.end(within=120), process.output.splitlines()


@pytest.mark.fault("F31", "few groups, and all or none right: no interval of width nought")
@pytest.mark.parametrize("each", [1, pytest.param(4, marks=pytest.mark.full)])
def test_few_pictures_have_an_honest_interval(run, images, each):
    code, lines = evaluate(run, f"--root={images('few', each)}", "--split=all")
    assert code == 0, lines
    (folder,) = run.glob("eval/art-*")
    metrics = json.loads((folder / "metrics.json").read_text())
    (line,) = (line for line in lines if line.startswith("accuracy "))
    if each == 1:
        assert metrics["interval95"] is None
        assert "(too few groups (2) for an interval)" in line
    else:
        low, high = metrics["interval95"]
        assert high - low > 0.1
    assert sum(line.startswith("caution: ") and "groups" in line for line in lines) == 1
    *_, missing = metrics["per_class"].values()
    assert missing == {"n": 0, "precision": None, "recall": None, "f1": None}


@reports
@pytest.mark.full
def test_two_folders_have_two_reports_and_a_users_files_stay(run, images):
    for name, each in (("a", 1), ("b", 3)):
        assert evaluate(run, f"--root={images(name, each)}", "--split=all")[0] == 0
    folders = list(run.glob("eval/art-*"))
    numbers = {json.loads((folder / "metrics.json").read_text())["n"] for folder in folders}
    assert numbers == {2, 6}
    for folder in folders:
        (folder / "notes.txt").write_text("mine")
    assert evaluate(run, f"--root={run.parent / 'a' / 'art'}", "--split=all")[0] == 0
    assert all((folder / "notes.txt").read_text() == "mine" for folder in folders)


@reports
@pytest.mark.parametrize("problem", ["read-only", "full"])
def test_a_report_that_cannot_be_kept_is_refused_before_the_work(baseline, small_disk, problem):
    """The hook never answers: what evaluates before it refuses hangs."""
    (small_disk / "run").mkdir()
    for name in ("config.json", "inputs.json", "checkpoints"):
        copy = shutil.copytree if (baseline / name).is_dir() else shutil.copy
        copy(baseline / name, small_disk / "run" / name)
    if problem == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, lines = evaluate(small_disk / "run", hooks="hooks.pause_judging")
    assert code == 2, lines
    reason = {"read-only": "Read-only file system", "full": "No space left on device"}[problem]
    assert lines[-1].startswith(f"cannot write a report to {small_disk}/run/eval/test (")
    assert reason in lines[-1]
    assert "Traceback" not in "\n".join(lines)


@reports
def test_a_table_that_cannot_be_kept_is_refused(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    process = runs.Process("ablate.py", "--table=counts", f"--workdir={small_disk / 'new'}")
    assert process.end() == 2, process.output
    (line,) = process.output.splitlines()
    assert line.startswith(f"cannot write a table to {small_disk / 'new'} (")
    assert "Read-only file system" in line


@reports
@pytest.mark.full
def test_one_bad_image_among_many_is_a_row(run, images):
    root = images("many", thin.STEPS // 4)
    bad = sorted(root.rglob("*.png"))[3]
    bad.write_bytes(bad.read_bytes()[:40])
    flags = (f"--root={root}", "--split=all")
    code, lines = evaluate(run, *flags)
    assert code == 2
    assert f'"{bad}" cannot be read' in lines[-1]
    code, lines = evaluate(run, *flags, "--on_bad_image=skip")
    assert code == 0, lines
    assert any("; 1 could not be read" in line for line in lines)
