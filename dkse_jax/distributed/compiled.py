"""Programs that process 0 compiled at an earlier start, for the others too."""

from functools import cache
from typing import Any

import numpy as np


def find_those_of_first() -> None:
    """Lets this process find the programs in the compilation cache that process 0 has put there.

    JAX names a program by the machine it is for, among other things. On a CPU that holds the
    process's number too, so that all but process 0, which alone adds to the cache, would compile
    theirs at every start. With a JAX that has other names inside they still do.
    """
    from jax._src import cache_key as names  # has no public name

    cache_key: Any = names
    original = getattr(cache_key, "_hash_accelerator_config", None)
    if original is None:
        return

    def hash_machine(digest: Any, devices: np.ndarray) -> None:
        original(digest, _alone() if devices.flat[0].platform == "cpu" else devices)

    cache_key._hash_accelerator_config = hash_machine


@cache
def _alone() -> np.ndarray:
    """This machine's CPU as a process sees it that has no others: with the number 0."""
    from jaxlib import xla_client

    client: Any = xla_client.make_cpu_client()
    return np.array(client.devices()[:1])
