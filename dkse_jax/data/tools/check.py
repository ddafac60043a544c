"""Checks a folder of images before anything is trained on it."""

import concurrent.futures
import os
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from dkse_jax import markdown
from dkse_jax.console import log, with_progress
from dkse_jax.data.decode import BadImage
from dkse_jax.data.sources.folder import list_folder
from dkse_jax.data.sources.listing import Example, check_root
from dkse_jax.data.splits import SPLITS, check_shares
from dkse_jax.data.tools.duplicates import DuplicateSet, ImageHash, find_duplicates, hash_image
from dkse_jax.errors import UserError
from dkse_jax.text import plain_text

LISTED = 20  # entries of a list; how many more there are is said
MEMBERS = 4  # of one set of copies that are named


def check(root: str, *, seed: int, val_percent: float, test_percent: float, image_size: int) -> int:
    """Checks a folder of images and prints what it finds.

    Args:
        root: as in load_folder, and so are seed, val_percent and test_percent.
        image_size: pictures whose shorter side has fewer pixels are counted.

    Returns:
        The number of problems.

    Raises:
        UserError: there is no such folder, or the shares leave nothing for a split.
    """
    check_root(root)
    check_shares(val_percent, test_percent)
    mistakes: list[str] = []
    examples: list[Example] = []
    try:
        examples, given = list_folder(root, seed, val_percent, test_percent, mistakes.append)
    except UserError as error:
        mistakes.append(str(error))
    else:
        made = f"seed {seed}, val_percent {val_percent:g} and test_percent {test_percent:g}"
        whose = "of its metadata.csv" if given else f"of a training with {made}"
        _say(f'{len(examples):,} images in "{root}"; the splits are those {whose}', "")
        _say(*_class_table(examples))

    looks, refusals = _look_at_all(examples)
    if looks:
        _say("", _sizes(list(looks.values()), image_size))
    readable = [examples[i] for i in looks]
    copies = find_duplicates(list(looks.values()))
    return _say_problems(mistakes, refusals, copies, readable)


def _say_problems(
    mistakes: Sequence[str],
    refusals: Sequence[str],
    copies: Sequence[DuplicateSet],
    examples: Sequence[Example],
) -> int:
    """Prints the problems by kind and returns their number; the copies' members are examples."""
    within, across_splits, across_classes = [], [], []
    for one in copies:
        places = {_place(examples[i]) for i in one.members}
        if len(places) == 1:
            within.append(one)
        if len({split for split, _ in places}) > 1:
            across_splits.append(_named(one, examples))
        if len({label for _, label in places}) > 1:
            across_classes.append(_named(one, examples))
    if within:
        images = sum(len(one.members) for one in within)
        _say(f"copies within one split and class: {images:,} images of {len(within):,} pictures")
    kinds = {
        "mistakes in the folder": mistakes,
        "images that cannot be read": refusals,
        "pictures in more than one split": across_splits,
        "pictures in more than one class": across_classes,
    }
    for title, problems in kinds.items():
        if problems:
            _say("", f"{title}: {len(problems):,}", *(f"  {text}" for text in problems[:LISTED]))
        if len(problems) > LISTED:
            _say(f"  and {len(problems) - LISTED:,} more")
    count = sum(map(len, kinds.values()))
    _say("", "1 problem" if count == 1 else f"{count:,} problems" if count else "no trouble found")
    return count


def _say(*lines: str) -> None:
    for line in lines:
        log(line)


def _look_at_all(examples: Sequence[Example]) -> tuple[dict[int, ImageHash], list[str]]:
    """The looks of the readable images by their places, and a sentence about each other one."""
    looks: dict[int, ImageHash] = {}
    refusals = []
    outcomes = with_progress(_in_threads(examples), len(examples), "reading images")
    for i, outcome in enumerate(outcomes):
        if isinstance(outcome, ImageHash):
            looks[i] = outcome
        else:
            refusals.append(f"{examples[i].split}, {examples[i].label}: {outcome}")
    return looks, refusals


def _in_threads(examples: Sequence[Example]) -> Iterator[ImageHash | BadImage]:
    executor = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    try:
        yield from executor.map(_look_or_refusal, examples)
    finally:  # without it, Ctrl-C would wait for all images
        executor.shutdown(cancel_futures=True)


def _look_or_refusal(example: Example) -> ImageHash | BadImage:
    try:
        return hash_image(example.path, name=example.id)
    except BadImage as refusal:
        return refusal


def _class_table(examples: Sequence[Example]) -> list[str]:
    counts = Counter(_place(example) for example in examples)
    names = sorted({example.label for example in examples})
    rows = [[counts[split, name] for split in SPLITS] for name in names]
    rows.append([sum(column) for column in zip(*rows, strict=True)])
    cells = [
        [plain_text(name), *(f"{n:,}" for n in (*row, sum(row)))]
        for name, row in zip([*names, "all"], rows, strict=True)
    ]
    return markdown.table(["class", *SPLITS, "all"], cells, numbers=range(1, 5)).splitlines()


def _place(example: Example) -> tuple[str, str]:
    return example.split, example.label


def _sizes(looks: Sequence[ImageHash], image_size: int) -> str:
    sides = np.array([min(look.size) for look in looks])
    return (
        f"shorter side in pixels: smallest {sides.min():,}, median {np.median(sides):,.0f}, "
        f"largest {sides.max():,}; {(sides < image_size).sum():,} images below "
        f"image_size {image_size} would be enlarged"
    )


def _named(copies: DuplicateSet, examples: Sequence[Example]) -> str:
    """Such as: a.jpg (train, ink) = b.jpg (test, ink): the same file."""
    seen: set[tuple[str, str]] = set()
    first: list[str] = []  # of its split and class: what differs is to be named
    later: list[str] = []
    for i in copies.members:
        place = _place(examples[i])
        (later if place in seen else first).append(f'"{examples[i].id}" ({", ".join(place)})')
        seen.add(place)
    names = first + later
    if len(names) > MEMBERS:
        names[MEMBERS:] = [f"{len(names) - MEMBERS} more"]
    return " = ".join(names) + f": {copies.how}"
