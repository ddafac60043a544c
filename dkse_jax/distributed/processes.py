"""Communication between the processes of a run: barriers and small JSON values.

All processes must call functions marked "Collective", in the same order. A single process gets its
own answer at once, without importing or starting JAX.
"""

import json
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dkse_jax.errors import UserError

if TYPE_CHECKING:
    import numpy as np


def alone() -> bool:
    """Returns whether this process is the whole run."""
    jax = sys.modules.get("jax")
    return jax is None or not jax.distributed.is_initialized()


def is_first() -> bool:
    """Returns whether this is process 0, which alone prints and writes files for all."""
    return index() == 0


def index() -> int:
    """Returns the index of this process, from 0; with several processes, starts the devices."""
    return 0 if alone() else sys.modules["jax"].process_index()


def count() -> int:
    """Returns the number of processes; with several, starts the devices."""
    return 1 if alone() else sys.modules["jax"].process_count()


def barrier(name: str) -> None:
    """Returns once every process has called it with this name. Collective."""
    if not alone():
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def allgather(value: Any) -> list[Any]:
    """Returns the JSON values of all processes, of any size, by index. Collective."""
    text = json.dumps(value).encode()
    if alone():
        return [json.loads(text)]
    import numpy as np
    from jax.experimental import multihost_utils

    sizes = multihost_utils.process_allgather(np.int32(len(text)))
    # Powers of two, since each length compiles a program.
    padded = np.zeros(1 << max(8, int(sizes.max()).bit_length()), np.uint8)
    padded[: len(text)] = np.frombuffer(text, np.uint8)
    rows = multihost_utils.process_allgather(padded)
    return [json.loads(row[:size].tobytes()) for row, size in zip(rows, sizes, strict=True)]


def broadcast[T](decide: Callable[[], T]) -> T:
    """Returns on every process the JSON value that `decide` returns on process 0. Collective."""
    return allgather(decide() if is_first() else None)[0]


def merged(array: "np.ndarray") -> "np.ndarray":
    """Returns the element-wise maximum of the arrays of all processes. Collective."""
    if alone():
        return array
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(array).max(axis=0)


def check_agreed(facts: dict[str, str]) -> None:
    """Compares facts, by name, between the processes. Collective.

    Raises:
        UserError: on all processes, with the first fact and process that differ from process 0.
    """
    (first, host), *others = allgather((facts, socket.gethostname()))
    for number, (other, other_host) in enumerate(others, 1):
        for name in sorted(first.keys() | other.keys()):
            here, there = first.get(name, "none"), other.get(name, "none")
            if here != there:
                raise UserError(
                    f"{name} is {there} to process {number} on {other_host}, but {here} to"
                    f" process 0 on {host}; all processes of a run need the same"
                )
