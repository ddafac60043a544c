"""SIGINT and SIGTERM to one of several processes, after which all stop at the same step."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dkse_jax import interrupts, sharding
from dkse_jax.distributed import processes


def make_check(mesh: Mesh) -> Callable[[], None]:
    """Returns a function to call after every step, which raises Interrupted after a signal.

    Collective: all processes raise after the same step, whichever got the signal. The largest
    signal number is computed on the devices and read one step late, like metrics, so that no step
    waits for it. `multihost_utils.reached_preemption_sync_point` supports only SIGTERM, and takes
    it over from `interrupts`.
    """
    if processes.alone():
        return interrupts.check
    largest = jax.jit(jnp.max, out_shardings=sharding.replicated(mesh))
    own = len(sharding.local_indices(mesh, mesh.size))
    pending: jax.Array | None = None

    def check() -> None:
        nonlocal pending
        numbers = np.full(own, interrupts.received(), np.int32)
        before, pending = pending, largest(sharding.to_global_array(numbers, mesh.size, mesh))
        if before is not None and (number := int(before)):
            raise interrupts.Interrupted(number)

    return check
