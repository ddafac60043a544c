"""Check of the splits of every source, and cautions about what they are too small for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dkse_jax.data.names import check_alike
from dkse_jax.data.splits import SPLITS, Report
from dkse_jax.errors import refuse

if TYPE_CHECKING:
    from dkse_jax.data.sources import Source

LEAST_GROUPS = 30  # of val and of test, below which there is a caution
LEAST_OF_CLASS = 3  # groups
_PART = 5000  # images of a split that are looked at first: mostly they show enough groups
_ODD = np.int64(0x51ED270B7F4A7C15)  # multiplied with labels, distinguishes (label, group) pairs


def check_names(class_names: Sequence[str], where: str, report: Report = refuse) -> None:
    """Reports classes whose names are alike, and fewer than two classes.

    Args:
        class_names: of the data.
        where: the data, for the sentences.
        report: receives a sentence about each mistake.
    """
    check_alike("classes", class_names, where, report)
    if len(class_names) < 2:
        report(f'{where} has only the class "{class_names[0]}"; at least 2 are needed')


def check_splits(splits: Mapping[str, "Source"], where: str, report: Report = refuse) -> None:
    """Reports a train or val without images of a class.

    A test without images, or without those of a class, is allowed: see `cautions`.

    Args:
        splits: "train", "val" and "test".
        where: the data, for the sentences.
        report: receives a sentence about each mistake.
    """
    for name in ("train", "val"):
        lacking = missing_classes(splits[name])
        needed = "train and val each need images of every class, so choose other splits"
        if not len(splits[name]):
            report(f"{where} has no images in {name}: {needed}")
            continue
        for label in lacking:
            report(f'the class "{label}" of {where} has no images in {name}: {needed}')


def check_apart(splits: Mapping[str, "Source"], where: str, report: Report = refuse) -> None:
    """Reports each image and each group that is in two splits; arguments as of `check_splits`."""
    for image, found in _in_several({name: split.ids for name, split in splits.items()}, splits):
        report(f'the image "{image}" of {where} is in {found}: the test measures memory')
    if any(split.groups is not split.ids for split in splits.values()):
        groups = {name: split.groups for name, split in splits.items()}
        for group, found in _in_several(groups, splits):
            report(
                f'the group "{group}" is in {found}: a group must be whole, or the test measures'
                " memory"
            )


def missing_classes(split: "Source") -> list[str]:
    """Returns the names of the classes without images."""
    counts = np.bincount(split.labels, minlength=len(split.class_names))
    return [name for name, count in zip(split.class_names, counts, strict=True) if not count]


def caution_of_missing(split: "Source", where: str) -> list[str]:
    """Returns a caution about the classes without images in a split to be measured, if any.

    Args:
        split: with images of at least one class.
        where: the split or the folder, for the sentence.
    """
    first, *others = missing_classes(split) or [""]
    if not first:
        return []
    more = f" and {len(others)} more" if others else ""
    return [f'caution: {where} has no images of the class "{first}"{more}: "-" in its place']


def cautions(splits: Mapping[str, "Source"]) -> list[str]:
    """Returns a caution, one line, about each thing that val or test is too small for.

    Args:
        splits: "train", "val" and "test", which pass `check_splits`.
    """
    if not len(splits["test"]):
        found = ["caution: there is no test split, and val is no test: it chooses the weights"]
    else:
        found = caution_of_missing(splits["test"], "test")
    for name, use in (("val", "a choice of weights"), ("test", "a comparison")):
        if small := _smallness(splits[name]):
            found.append(f"caution: {name} has {small}: {use} cannot rest on it")
    return found


def _smallness(split: "Source") -> str:
    """Returns how few images or groups there are, in all and of the rarest class; "" if enough."""
    for step in (1 + len(split) // _PART, 1):
        total, of_class = _group_counts(split, step)
        if total >= LEAST_GROUPS and (of_class >= LEAST_OF_CLASS).all():
            return ""
    rare = [i for i, count in enumerate(of_class) if 0 < count < LEAST_OF_CLASS]
    if not total or (total >= LEAST_GROUPS and not rare):
        return ""
    unit = ("image" if total == len(split) else "group") + ("s" if total > 1 else "")
    text = f"{'only ' if total < LEAST_GROUPS else ''}{total:,} {unit}"
    if rare:
        text += f', of the class "{split.class_names[rare[0]]}" only {of_class[rare[0]]}'
    if len(rare) > 1:
        text += f" (and of {len(rare) - 1} more)"
    return text


def _group_counts(split: "Source", step: int) -> tuple[int, np.ndarray]:
    """Returns the number of groups, and those with images of each class, of each step-th image."""
    groups, labels = _hashes(split.groups[::step]), split.labels[::step]
    pairs = np.unique(groups + labels * _ODD, return_index=True)[1]
    of_class = np.bincount(labels[pairs], minlength=len(split.class_names))
    return len(np.unique(groups)), of_class


def _in_several(
    names: Mapping[str, Sequence[str]], splits: Mapping[str, "Source"]
) -> Iterator[tuple[str, str]]:
    """Yields each name that is in several splits, and these, in the order of their first ids.

    Compares hashes first, so that the names of a large split are never all in memory.
    """
    hashes = {split: _hashes(some) for split, some in names.items()}
    every = np.concatenate([np.unique(some) for some in hashes.values()])
    values, counts = np.unique(every, return_counts=True)
    if not (counts > 1).any():
        return
    first_ids: dict[str, dict[str, str]] = {}
    for split in SPLITS:
        for index in np.flatnonzero(np.isin(hashes[split], values[counts > 1])).tolist():
            of_name = first_ids.setdefault(names[split][index], {})
            of_name[split] = min(splits[split].ids[index], of_name.get(split, "\U0010ffff"))
    for name, of_name in first_ids.items():
        if len(of_name) > 1:
            first, second, *more = sorted(of_name, key=of_name.__getitem__)
            both = f"both {first} and {second}" if not more else "train, val and test"
            yield name, both


def _hashes(names: Sequence[str]) -> np.ndarray:
    """Returns (N,) int64 hashes of the names, equal for equal names in this process."""
    return np.fromiter(map(hash, names), np.int64, len(names))
