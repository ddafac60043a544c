"""What the processes of a run tell each other beside their arrays: short texts, and barriers.

They go through the key-value store of jax.distributed, which process 0 keeps. Alone, a process
needs none of it, and every function here answers at once.
"""

import itertools
import json
import socket
from collections.abc import Callable
from typing import Any

from dkse_jax.errors import UserError

_A_DAY = 24 * 3600 * 1000  # ms: `watch` ends a run whose processes do not come
_calls = itertools.count()


def _state() -> Any:
    """What jax.distributed knows. It has no public name; orbax uses this one too."""
    from jax._src import distributed  # here: what is told before JAX is imported is told at once

    return distributed.global_state


def alone() -> bool:
    """Whether this process is the whole run."""
    return _state().client is None


def is_first() -> bool:
    """Whether this process is the one that speaks and writes for all."""
    return index() == 0


def index() -> int:
    """The number of this process, from 0."""
    return _state().process_id


def count() -> int:
    """How many there are."""
    return _state().num_processes


def put(key: str, text: str) -> None:
    """Lets all read a text of this process's own, in place of the one before."""
    client().key_value_set(f"{key}/{index()}", text, allow_overwrite=True)


def texts(key: str) -> dict[int, str]:
    """The texts that are there now, by process."""
    found = client().key_value_dir_get(f"{key}/")
    return {int(name.rpartition("/")[2]): text for name, text in found}


def client() -> Any:
    """The connection to the store."""
    return _state().client


def coordinator() -> str:
    """HOST:PORT of process 0."""
    return _state().coordinator_address or ""


def name_of(number: int) -> str:
    """Such as "process 3 on host-b"."""
    host = texts("host").get(number, "an unknown host")
    return f"process {number} on {host}"


def introduce() -> None:
    """Tells the others where this process runs."""
    put("host", socket.gethostname())


def barrier() -> None:
    """Returns once every process is here; all of them come here in the same order."""
    if not alone():
        client().wait_at_barrier(f"barrier-{next(_calls)}", _A_DAY)


def allgather(text: str) -> list[str]:
    """The texts of all processes, each of which calls this, in the order of their numbers."""
    if alone():
        return [text]
    key = f"said-{next(_calls)}"
    put(key, text)
    barrier()
    said = texts(key)
    return [said[number] for number in range(count())]


def broadcast[T](decide: Callable[[], T]) -> T:
    """What process 0 decides, a JSON value, on every process, each of which calls this."""
    return json.loads(allgather(json.dumps(decide() if is_first() else None))[0])


def check_agreed(facts: dict[str, str]) -> None:
    """Sees to it that all processes, each of which calls this, have the same facts by name.

    Raises:
        UserError: on all of them; it names the first fact and process that differ from process 0's.
    """
    first, *others = (json.loads(said) for said in allgather(json.dumps(facts)))
    for number, other in enumerate(others, 1):
        for name in sorted(first.keys() | other.keys()):
            here, there = first.get(name, "none"), other.get(name, "none")
            if here != there:
                raise UserError(
                    f"{name} is {there} to {name_of(number)}, but {here} to {name_of(0)};"
                    " all processes of a run need the same"
                )
