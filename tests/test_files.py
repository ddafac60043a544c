import resource
from pathlib import Path

import pytest

from dkse_jax import files
from dkse_jax.files import reserve

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
