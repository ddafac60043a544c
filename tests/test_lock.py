import os
import subprocess
import sys

import pytest

from dkse_jax.errors import UserError
from dkse_jax.files import check_unlocked, locked


def test_one_at_a_time(tmp_path):
    workdir = tmp_path / "deep" / "run"
    with locked(workdir):
        sentence = rf"^--workdir={workdir} is in use by process {os.getpid()} on .+; name a new"
        with pytest.raises(UserError, match=sentence), locked(workdir):
            pass
        with pytest.raises(UserError, match=sentence):
            check_unlocked(workdir)
    check_unlocked(workdir)
    with locked(workdir):
        named = pytest.raises(UserError, match=rf"^--out=o is in use by process {os.getpid()} on")
        with named, locked(workdir, "--out=o"):
            pass


def test_asking_creates_nothing(tmp_path):
    check_unlocked(tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_dead_owner_does_not_bar(tmp_path):
    program = (
        "import os; from pathlib import Path; from dkse_jax.files import locked\n"
        f"with locked(Path({str(tmp_path)!r})): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 9
    assert (tmp_path / "lock").read_text().startswith("process ")
    with locked(tmp_path):
        pass
