"""A shorter form of the network, for the tests of what surrounds it."""

import contextlib
import os
from collections.abc import Iterator

FULL = os.environ.get("DKSE_FAULTS") == "full"  # the whole of `make faults`
LAYERS = ((3, 2, 1), (5, 4, 2), (8, 8, 2), (14, 32, 1))


@contextlib.contextmanager
def short_network() -> Iterator[None]:
    """Leaves out five of the nine separable convolutions inside, but in `make faults`.

    Tracing the network takes most of the time of a test that trains it; layers of every kind stay.
    """
    if FULL:
        yield
        return
    from dkse_jax.models import dkse_net

    whole = dkse_net.SEPARABLE
    dkse_net.SEPARABLE = LAYERS
    try:
        yield
    finally:
        dkse_net.SEPARABLE = whole
