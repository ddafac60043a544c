"""Joining the other processes of a run, and leaving them."""

import contextlib
import os
import socket
import time
import traceback
from collections.abc import Iterator

import jax

from dkse_jax import interrupts
from dkse_jax.console import tell
from dkse_jax.distributed import processes, watch
from dkse_jax.errors import UserError

CONNECT_SECONDS = 30  # limit for the coordinator to answer
JOIN_SECONDS = 120  # limit for all processes to join


@contextlib.contextmanager
def join(
    distributed: bool, coordinator: str | None, count: int | None, index: int | None
) -> Iterator[None]:
    """Joins this process and the others into one run over the devices of all.

    No device may have been used before. At the end all leave together; if one ends early, the
    others end too, and report why.

    Args:
        distributed: whether there are other processes.
        coordinator: HOST:PORT of process 0. Without it and the rest, JAX detects the cluster: Cloud
            TPU, Slurm, Open MPI, Kubernetes.
        count: number of processes.
        index: of this process, from 0.

    Raises:
        UserError: inconsistent arguments, or the others cannot be reached.
    """
    _check(distributed, coordinator, count, index)
    if not distributed:
        yield
        return
    _initialise(coordinator, count, index)
    try:
        with watch.watching():
            yield
            processes.barrier("the end of the run")
    except interrupts.Interrupted:
        jax.distributed.shutdown()
        raise
    except UserError as error:
        tell(error)
        os._exit(2)  # at its own exit JAX would wait for the others, which may be gone
    except Exception:
        traceback.print_exc()
        os._exit(1)
    jax.distributed.shutdown()


def _check(
    distributed: bool, coordinator: str | None, count: int | None, index: int | None
) -> None:
    """Raises UserError for inconsistent arguments."""
    values = {"coordinator": coordinator, "processes": count, "process": index}
    given = [f"--{name}={value}" for name, value in values.items() if value is not None]
    if given and not distributed:
        raise UserError(f"{given[0]} needs --distributed")
    if given and len(given) < len(values):
        missing = next(name for name, value in values.items() if value is None)
        raise UserError(f"{given[0]} needs --{missing}: name all three of them, or none")
    if coordinator is not None and not coordinator.rpartition(":")[2].isdecimal():
        raise UserError(f"--coordinator is {coordinator}, but must be HOST:PORT")
    if count is not None and index is not None and not 0 <= index < count:
        raise UserError(f"--process is {index}, but must be from 0 to {count - 1}")


def _initialise(coordinator: str | None, count: int | None, index: int | None) -> None:
    jax.config.update("jax_enable_preemption_service", False)  # it would take over SIGTERM
    if coordinator and index:
        _wait_for(coordinator)
    try:
        jax.distributed.initialize(
            coordinator,
            count,
            index,
            initialization_timeout=JOIN_SECONDS,
            heartbeat_timeout_seconds=60,  # `watch` is faster
            shutdown_timeout_seconds=60,
        )
    except ValueError as error:
        raise UserError(
            f"--distributed finds no cluster here ({error}); name --coordinator=HOST:PORT,"
            " --processes=N and --process=I"
        ) from error
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"the processes did not all join within {JOIN_SECONDS} s: {reason}"
        ) from error


def _wait_for(coordinator: str) -> None:
    """Raises UserError unless the address answers in time; JAX would abort without a message."""
    host, _, port = coordinator.rpartition(":")
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            with socket.create_connection((host, int(port)), timeout=5):
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise UserError(
                    f"no answer from --coordinator={coordinator} within {CONNECT_SECONDS} s"
                    f" ({error.strerror or error}); process 0 must run there"
                ) from error
        time.sleep(0.2)
