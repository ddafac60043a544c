import resource
from pathlib import Path

import pytest

from dkse_jax import files
from dkse_jax.files import replacing, reserve, write_atomically

IO = Path("/proc/self/io")


def written() -> int:
    """Returns the bytes that this process has written to files so far."""
    fields = dict(line.split(": ") for line in IO.read_text().splitlines())
    return int(fields["wchar"])


@pytest.mark.skipif(not IO.exists(), reason="only Linux counts what a process writes")
def test_reserving_writes_nothing_and_leaves_nothing(tmp_path):
    before = written()
    reserve(tmp_path, 2**26)
    assert written() - before < 1000
    assert not list(tmp_path.iterdir())


def test_more_than_a_file_may_have_is_refused(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        reserve(tmp_path, 2**20)
        with pytest.raises(OSError, match="File too large"):
            reserve(tmp_path, 2**20 + 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_more_than_the_disk_has_is_refused_before_it_is_allocated(tmp_path, monkeypatch):
    monkeypatch.delattr(files.os, "posix_fallocate")
    free = files.shutil.disk_usage(tmp_path).free
    reserve(tmp_path, free // 2)
    with pytest.raises(OSError, match="No space left on device"):
        reserve(tmp_path, free + 2**40)
    assert not list(tmp_path.iterdir())


def interrupted(path, write, shared=False):
    with replacing(path, shared=shared) as draft:
        write(draft)
        raise KeyboardInterrupt


@pytest.mark.parametrize("shared", [False, True])
def test_a_file_is_replaced_at_the_end_or_not_at_all(tmp_path, shared):
    path = tmp_path / "a.txt"
    for text in ("old", "new"):
        before = path.read_text() if path.exists() else None
        with replacing(path, shared=shared) as draft:
            draft.write_text(text)
            assert (path.read_text() if path.exists() else None) == before
        assert path.read_text() == text
    with pytest.raises(KeyboardInterrupt):
        interrupted(path, lambda draft: draft.write_text("half"), shared)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_at_the_end_or_not_at_all(tmp_path):
    folder = tmp_path / "report"
    for name in ("old", "new"):
        with replacing(folder) as draft:
            draft.mkdir()
            write_atomically(draft / name, "text")
        assert [path.name for path in folder.iterdir()] == [name]
    with pytest.raises(KeyboardInterrupt):
        interrupted(folder, lambda draft: draft.mkdir())
    assert [path.name for path in tmp_path.rglob("*")] == ["report", "new"]


def test_drafts_of_other_processes_are_not_touched(tmp_path):
    theirs = tmp_path / "a.1.tmp"
    theirs.write_text("theirs")
    with replacing(tmp_path / "a", shared=True) as draft:
        draft.write_text("ours")
    assert theirs.read_text() == "theirs"


def test_files_are_on_the_disk_before_and_after_they_take_their_place(tmp_path, monkeypatch):
    events = []
    monkeypatch.setattr(files, "sync", lambda path: events.append((path, path.exists())))
    with replacing(tmp_path / "a") as draft:
        draft.write_text("text")
    assert events == [(draft, True), (tmp_path, True)]
