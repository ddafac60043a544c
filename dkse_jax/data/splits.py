"""Which groups train, validate and test, where the user did not say."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Set

from dkse_jax.errors import UserError, refuse

SPLITS = ("train", "val", "test")


def assign_splits(
    classes_of_group: Mapping[str, Set[str]],
    seed: int,
    val_percent: float,
    test_percent: float,
    report: Callable[[str], None] = refuse,
) -> dict[str, str]:
    """Puts each group as a whole into train, val or test.

    A group falls where a hash of its own name and the seed says, so that adding groups moves no
    other, and the order in which they come does not matter. The class has no say in the hash: a
    group with examples of several classes stays whole. Where a split would stay empty for a
    class, the group of this class that is nearest to it by hash goes there.

    Args:
        classes_of_group: the classes that each group has examples of.
        seed: another seed, another assignment.
        val_percent: share of the groups that validate, on average; above 0.
        test_percent: share of the groups that test, on average; above 0.
        report: takes a sentence about each class that has too few groups for 3 splits.

    Returns:
        The split ("train", "val" or "test") of each group.

    Raises:
        UserError: the shares leave a split empty; by default also what `report` takes.
    """
    check_shares(val_percent, test_percent)
    ranges = {
        "test": (0.0, test_percent),
        "val": (test_percent, test_percent + val_percent),
        "train": (test_percent + val_percent, 100.0),
    }
    hashes = {group: _hash_percent(group, seed) for group in sorted(classes_of_group)}
    split_of = {
        group: next(split for split, (_, end) in ranges.items() if value < end)
        for group, value in hashes.items()
    }
    _fill_empty_splits(classes_of_group, ranges, hashes, split_of, report)
    return split_of


def check_shares(val_percent: float, test_percent: float) -> None:
    """Raises UserError where the shares leave a split empty."""
    if not (val_percent > 0 and test_percent > 0 and val_percent + test_percent < 100):
        raise UserError(
            f"val_percent={val_percent:g} and test_percent={test_percent:g} must both be above 0 "
            "and leave a part of 100 for train"
        )


def _hash_percent(name: str, seed: int) -> float:
    """A number from 0 to below 100 that only depends on the arguments, on every machine."""
    # In NFC, since the same file has another spelling after a copy from macOS.
    text = f"{seed}/{unicodedata.normalize('NFC', name)}"
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48 * 100


def _fill_empty_splits(
    classes_of_group: Mapping[str, Set[str]],
    ranges: Mapping[str, tuple[float, float]],
    hashes: Mapping[str, float],
    split_of: dict[str, str],
    report: Callable[[str], None],
) -> None:
    """Moves the nearest group into each (class, split) that has none, emptying no other."""
    groups_of: dict[str, list[str]] = {}
    for group in hashes:
        for label in classes_of_group[group]:
            groups_of.setdefault(label, []).append(group)
    count = Counter(
        (label, split_of[group]) for label, groups in groups_of.items() for group in groups
    )

    for label in sorted(groups_of):
        for split, (start, end) in ranges.items():
            if count[label, split]:
                continue
            spare = [
                group
                for group in groups_of[label]
                if all(count[other, split_of[group]] > 1 for other in classes_of_group[group])
            ]
            if not spare:
                report(
                    f'class "{label}" has too few groups ({len(groups_of[label])}) to have one in '
                    f"each of train, val and test"
                )
                break
            group = min(spare, key=lambda g: (max(start - hashes[g], hashes[g] - end), g))
            for other in classes_of_group[group]:
                count[other, split_of[group]] -= 1
                count[other, split] += 1
            split_of[group] = split
