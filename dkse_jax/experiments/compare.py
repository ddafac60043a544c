"""Comparison of two rows of a table: paired differences and their intervals."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dkse_jax.evaluation.metrics import MIN_GROUPS, has_width, too_few, wilson_interval


class Judged(NamedTuple):
    """One run's predictions on its test split, in the split's order."""

    ids: tuple[str, ...]
    labels: np.ndarray  # (N,) integers
    groups: tuple[str, ...]
    correct: np.ndarray  # (N,) bool


class Difference(NamedTuple):
    """The accuracy of a row minus that of another, its 95 % interval, and the number of groups.

    Fewer than MIN_GROUPS groups have no interval: low and high are NaN.
    """

    mean: float
    low: float
    high: float
    groups: int

    @property
    def verdict(self) -> str:
        """Better, worse, unresolved where the interval contains 0, or why there is none."""
        if self.groups < MIN_GROUPS:
            return too_few(self.groups)
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "unresolved"


def difference(
    row: Sequence[Judged], other: Sequence[Judged], *, samples: int, seed: int
) -> Difference:
    """Computes the paired difference of two rows, each with one run per seed, in the same order.

    The runs of a pair have the same examples, so that examples that are hard for both cancel. The
    interval is a percentile bootstrap over whole groups, drawn with replacement within each class,
    with the same draw for all runs. It does not contain the variance between seeds. Where it has no
    width, since all groups of a class gain alike, it is replaced by the interval from Wilson's
    intervals of the shares that are gained and that are lost, each of as many as there are groups.

    Raises:
        ValueError: the runs of a pair have different examples.
    """
    units: dict[tuple[int, str], list[int]] = {}  # (class, group) -> [gained, total]
    for ours, theirs in zip(row, other, strict=True):
        if ours.ids != theirs.ids or not np.array_equal(ours.labels, theirs.labels):
            raise ValueError("the two runs of a pair evaluated different examples")
        changes = ours.correct.astype(int) - theirs.correct.astype(int)
        for label, group, gain in zip(ours.labels.tolist(), ours.groups, changes, strict=True):
            unit = units.setdefault((label, group), [0, 0])
            unit[0] += int(gain)
            unit[1] += 1
    strata: dict[int, list[list[int]]] = {}
    for (label, _), unit in sorted(units.items()):
        strata.setdefault(label, []).append(unit)

    rng = np.random.default_rng(seed)
    sums = np.zeros((samples, 2))  # gained, total
    for members in strata.values():
        draws = rng.multinomial(len(members), [1 / len(members)] * len(members), size=samples)
        sums += draws @ np.array(members)
    low, high = np.percentile(sums[:, 0] / sums[:, 1], [2.5, 97.5])
    gains, totals = np.array(list(units.values())).T
    groups = len({group for _, group in units})
    if groups < MIN_GROUPS:
        low = high = np.nan
    elif not has_width(low, high):
        up, down = (
            wilson_interval(float(np.maximum(sign * gains, 0).sum() / totals.sum()), groups)
            for sign in (1, -1)
        )
        low, high = up[0] - down[1], up[1] - down[0]
    return Difference(float(gains.sum() / totals.sum()), float(low), float(high), groups)
