"""Processes without a network."""

import functools
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
GUARD = Path(__file__).parent / "guarded"
NAMESPACE = ["unshare", "--map-root-user", "--net"]  # has not even a loopback interface


@functools.cache
def has_namespaces() -> bool:
    """Whether the system lets this process make a network of its own."""
    try:
        return subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def run(folder: Path, *arguments: str, namespace: bool = True, guard: bool = True, **environment):
    """Runs Python in a network namespace where there are such, and under the guard; asserts that
    it tried no connection.

    The guard sees what Python connects to, and the namespace stops what libraries of C do.
    """
    attempts = folder / "connections.txt"
    attempts.write_text("")
    named = {"CONNECTIONS": str(attempts)}
    if guard:
        named["PYTHONPATH"] = str(GUARD)
    process = subprocess.run(
        [*(NAMESPACE if namespace and has_namespaces() else []), sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | named | environment,
        capture_output=True,
        text=True,
    )
    assert not attempts.read_text(), attempts.read_text()
    return process
