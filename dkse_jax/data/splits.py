"""Assignment of groups to train, val and test, where the user gives none."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Set

from dkse_jax.errors import UserError, refuse

SPLITS = ("train", "val", "test")
Report = Callable[[str], None]


def assign_splits(
    classes_of_group: Mapping[str, Set[str]],
    seed: int,
    val_percent: float,
    test_percent: float,
    report: Report = refuse,
) -> dict[str, str]:
    """Assigns each group as a whole to train, val or test.

    A hash of the group's name and the seed decides, so that adding groups moves no other and
    their order does not matter. It does not depend on the class: a group with examples of several
    classes stays whole. If a class has no group in a split, its group with the nearest hash is
    moved there.

    Args:
        classes_of_group: the classes of each group's examples.
        seed: of the hash.
        val_percent: expected share of the groups in val, above 0.
        test_percent: expected share of the groups in test; 0 for no test split.
        report: receives a sentence about each class that has too few groups for the splits.

    Returns:
        The split ("train", "val" or "test") of each group.

    Raises:
        UserError: the shares leave train or val empty; by default also in place of a report.
    """
    check_shares(val_percent, test_percent)
    ranges = {
        "test": (0.0, test_percent),
        "val": (test_percent, test_percent + val_percent),
        "train": (test_percent + val_percent, 100.0),
    }
    if not test_percent:
        del ranges["test"]
    hashes = {group: _hash_percent(group, seed) for group in sorted(classes_of_group)}
    split_of = {
        group: next(split for split, (_, end) in ranges.items() if value < end)
        for group, value in hashes.items()
    }
    _fill_empty_splits(classes_of_group, ranges, hashes, split_of, report)
    return split_of


def check_shares(val_percent: float, test_percent: float) -> None:
    """Raises UserError where the shares leave train or val empty."""
    if not (val_percent > 0 and test_percent >= 0 and val_percent + test_percent < 100):
        raise UserError(
            f"val_percent={val_percent:g} and test_percent={test_percent:g} must leave a part of "
            "100 for train; val_percent must be above 0, and test_percent too or 0 for no test"
        )


def _hash_percent(name: str, seed: int) -> float:
    """Hashes to a number in [0, 100), equal on every machine."""
    # In NFC, since a copy from macOS spells the same name differently.
    text = f"{seed}/{unicodedata.normalize('NFC', name)}"
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48 * 100


def _fill_empty_splits(
    classes_of_group: Mapping[str, Set[str]],
    ranges: Mapping[str, tuple[float, float]],
    hashes: Mapping[str, float],
    split_of: dict[str, str],
    report: Report,
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
                    f"each of {'train, val and test' if 'test' in ranges else 'train and val'}"
                )
                break
            group = min(spare, key=lambda g: (max(start - hashes[g], hashes[g] - end), g))
            for other in classes_of_group[group]:
                count[other, split_of[group]] -= 1
                count[other, split] += 1
            split_of[group] = split
