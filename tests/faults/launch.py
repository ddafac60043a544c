"""Runs a script of the project under planted hooks: launch.py HOOK,HOOK SCRIPT ARGUMENT ...

HOOK names a function of saboteurs.py or hooks.py, which changes the product before the script
starts; "-" is none. The product itself has no such switches.

launch.py --serve DESCRIPTOR imports the product once and forks a process for each request: see
`serve` and tests/faults/forks.py.
"""

import gc
import importlib
import json
import os
import runpy
import socket
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRELOADED = (
    "dkse_jax.cli.eval",
    "dkse_jax.cli.predict",
    "dkse_jax.cli.train",
    "dkse_jax.distributed.join",
    "dkse_jax.evaluation.run",
    "dkse_jax.prediction.run",
    "dkse_jax.training.loop",
)


def serve(connection: socket.socket) -> list[str]:
    """Forks a process for each request; returns in that process, with its arguments.

    A request is the JSON list [arguments, environment, folder] with two descriptors: the process
    writes to the first; its number, and later its exit code, are written to the second. No JAX
    backend has been started before the fork.
    """
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()
    # Of the threads of NumPy's BLAS, which end before a fork.
    warnings.filterwarnings("ignore", ".* is multi-threaded", DeprecationWarning)
    own = dict(os.environ)
    while True:
        request, descriptors, *_ = socket.recv_fds(connection, 2**20, 2)
        if not request:  # the tests are over
            os._exit(0)
        output, status = descriptors
        if os.fork() == 0:
            arguments, environment, folder = json.loads(request)
            _report_exit(output, status)
            connection.close()
            _become(output, environment, folder, own)
            return arguments
        os.close(output)
        os.close(status)
        os.waitpid(-1, os.WNOHANG)


def _report_exit(output: int, status: int) -> None:
    """Returns in a child of this process, which stays to report the child's exit code."""
    if pid := os.fork():
        os.close(output)
        os.write(status, b"%d\n" % pid)
        _, code = os.waitpid(pid, 0)
        os.write(status, b"%d\n" % os.waitstatus_to_exitcode(code))
        os._exit(0)
    os.close(status)


def _become(output: int, environment: dict[str, str], folder: str, before: dict[str, str]) -> None:
    """Gives this process its output, environment and folder, as if it had started with them."""
    import jax

    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    sys.stdout = os.fdopen(1, "w", encoding=encoding)
    sys.stderr = os.fdopen(2, "w", 1, encoding=encoding, errors="backslashreplace")
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for name, value in environment.items():
        if name.startswith("JAX_") and value != before.get(name):
            jax.config.update(name.lower(), json.loads(value))


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
    if sys.argv[1] == "--serve":
        sys.argv[1:] = serve(socket.socket(fileno=int(sys.argv[2])))
    names, script = sys.argv[1:3]
    for name in names.split(","):
        if name != "-":
            module, _, function = name.partition(".")
            getattr(importlib.import_module(f"tests.faults.{module}"), function)()
    sys.argv = [script, *sys.argv[3:]]
    with importlib.import_module("tests.short").short_network():
        runpy.run_path(str(ROOT / script), run_name="__main__")
