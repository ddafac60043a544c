"""What trustworthy checkpoints cost: python -m tests.faults.cost

Times, for a state of 100 MB, a save as a whole and what orbax alone would not do: the check for
values that are not finite, the digests, and their verification before a restore.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from dkse_jax.workdir import checkpoint, checkpoint_leaves

REPEATS = 5


def seconds(function: Callable[[], object]) -> float:
    """The median of REPEATS calls."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Prints the times and their share of a minute, which is one save a minute."""
    noise = np.random.default_rng(0).normal(size=(10, 1250, 1000)).astype(np.float32)
    state = jax.device_put({f"layer{i}": {"kernel": layer} for i, layer in enumerate(noise)})
    half = jax.device_put({f"layer{i}": {"kernel": layer} for i, layer in enumerate(noise)})
    variables, training = {"params": state}, {"opt_state": half}
    with tempfile.TemporaryDirectory() as workdir:
        root = Path(workdir) / "checkpoints"
        save = seconds(lambda: checkpoint.save(workdir, 1, variables, training, {}))
        finite = seconds(lambda: checkpoint_leaves.check_finite({**variables, **training}, 1))
        digests = seconds(lambda: checkpoint.digests(root / "1"))
        verify = seconds(lambda: checkpoint.verify(root, 1))
    print(f"state             {2 * noise.nbytes / 1e6:.0f} MB")
    print(f"save, all of it   {save:.3f} s")
    print(f"  finite values   {finite:.3f} s")
    print(f"  digests         {digests:.3f} s")
    print(f"verification      {verify:.3f} s")
    print(f"both checks at one save a minute: {(finite + digests) / 60:.2%} of the time")


if __name__ == "__main__":
    main()
