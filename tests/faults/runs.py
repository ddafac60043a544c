"""Processes of the project's scripts, to be killed, starved and signalled."""

import contextlib
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dkse_jax import runtime
from dkse_jax.config import from_json
from dkse_jax.data.sources import load_splits
from dkse_jax.training.loop import restored_state
from dkse_jax.training.setup import make_setup
from tests.faults.forks import LAUNCH, Fork
from tests.short import FULL, short_network

ROOT = Path(__file__).parents[2]
THIN = f"--config={ROOT}/tests/faults/thin.py"
LIMIT = 600  # seconds, after which a process counts as hanging


class Process:
    """A running script with one device; its output is read as it comes.

    It is forked from a process that has the imports behind it, in `make faults` a new interpreter.

    Args:
        arguments: the script and its flags, such as "train.py", "--workdir=W".
        hooks: see launch.py.
        environment: on top of the caller's.
    """

    def __init__(
        self,
        *arguments: str,
        hooks: str = "-",
        environment: dict[str, str] | None = None,
    ):
        self.started = time.monotonic()
        own = {**os.environ, "JAX_NUM_CPU_DEVICES": "1", **(environment or {})}
        self._process = _start([hooks, *arguments], own)
        os.set_blocking(self._process.stdout.fileno(), False)
        self.pid = self._process.pid
        self.output = ""

    def wait_for(self, text: str | Callable[[], Any]) -> None:
        """Waits for a text in the output, or for a condition."""
        condition = text if callable(text) else lambda: text in self.output
        while not condition():
            self._read()
            if self._process.poll() is not None:
                self._read()
                assert condition(), f"ended with {self._process.returncode}:\n{self.output}"
                break
            if time.monotonic() - self.started > LIMIT:
                self.kill()
                raise AssertionError(f"hangs:\n{self.output}")
            time.sleep(0.005)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and waits until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.end()

    def end(self, within: float = LIMIT) -> int:
        """Waits for the end; returns the exit code, negative if a signal ended it."""
        start = time.monotonic()
        while self._process.poll() is None:
            self._read()
            if time.monotonic() - start > within:
                os.kill(self.pid, signal.SIGKILL)
                self._process.wait()
                self._process.stdout.close()
                raise AssertionError(f"still there after {within} s:\n{self.output}")
            time.sleep(0.005)
        self._read()
        self._process.stdout.close()
        return self._process.returncode

    def _read(self) -> None:
        if not self._process.stdout.closed:
            self.output += (self._process.stdout.read() or b"").decode(errors="replace")

    @property
    def first_step(self) -> int:
        """The step that the training goes on after; 0 of a fresh one."""
        found = re.search(r"training goes on after step (\d+) of", self.output)
        return int(found[1]) if found else 0


def _start(arguments: list[str], environment: dict[str, str]) -> Any:
    if not FULL:
        return Fork(arguments, environment)
    return subprocess.Popen(
        [sys.executable, str(LAUNCH), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def assert_in_time(process: Process, seconds: float) -> None:
    """Asserts, in `make faults` alone, how long ago it was started; more at a higher load."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    assert not FULL or time.monotonic() - process.started < seconds * max(1.0, load)


def train(workdir: Path, *arguments: str, **named: Any) -> Process:
    """A training of the thin config."""
    return Process("train.py", THIN, f"--workdir={workdir}", *arguments, **named)


def journal(workdir: Path) -> bytes:
    path = workdir / "metrics.jsonl"
    return path.read_bytes() if path.exists() else b""


def last_step(workdir: Path) -> int:
    """The last step whose line is whole in the journal."""
    lines = journal(workdir).rpartition(b"\n")[0].splitlines()
    return json.loads(lines[-1])["step"] if lines else 0


def arrays(workdir: Path) -> tuple[int, dict[str, bytes]]:
    """The newest step of a workdir, and every array of its state, as bytes by name."""
    state, step = restored_state(workdir, _abstract_state((workdir / "config.json").read_text()))
    assert state is not None, "no checkpoint can be restored"
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return step, {jax.tree_util.keystr(path): np.asarray(leaf).tobytes() for path, leaf in leaves}


@functools.cache
def _abstract_state(config_json: str) -> Any:
    """What a checkpoint of that config is restored into; traced once."""
    config = from_json(config_json)
    mesh = runtime.default_mesh(config.devices.fsdp)
    with short_network():
        return make_setup(config, load_splits(config.data, config.seed), mesh).abstract_state()


def writing(workdir: Path) -> bool:
    """Whether a checkpoint is being written: a folder without its record."""
    root = workdir / "checkpoints"
    names = set(os.listdir(root)) if root.exists() else set()
    return any(
        "tmp" in name or (name.isdecimal() and f"{name}.json" not in names) for name in names
    )


@contextlib.contextmanager
def must_fail(saboteur: str) -> Iterator[None]:
    """Inside, a test's own assertions must fail where a saboteur is at work ("-" is none)."""
    if saboteur == "-":
        yield
        return
    try:
        yield
    except AssertionError:
        return
    raise RuntimeError(f"the saboteur {saboteur} was not noticed")
