"""Check of a folder of images before training."""

import concurrent.futures
import contextlib
import ctypes
import functools
import os
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from dkse_jax import markdown
from dkse_jax.config import FIELDS
from dkse_jax.console import log, with_progress
from dkse_jax.data.decode import BadImage
from dkse_jax.data.names import page_of
from dkse_jax.data.sources.example import Example
from dkse_jax.data.sources.folder import list_folder, sources_of
from dkse_jax.data.sources.listing import check_root
from dkse_jax.data.sources.roots import roots_of
from dkse_jax.data.split_checks import cautions, check_apart, check_splits
from dkse_jax.data.splits import SPLITS, check_shares
from dkse_jax.data.tools.duplicates import DuplicateSet, ImageHash, find_duplicates, hash_image
from dkse_jax.data.tools.shortcuts import described
from dkse_jax.data.transform import min_side_for_crops
from dkse_jax.errors import UserError
from dkse_jax.text import plain_text

LISTED = 20  # entries printed of a list of problems; the rest is counted
MEMBERS = 4  # images named of one set of duplicates
_MMAP_THRESHOLD = -3  # the parameter of mallopt: bytes of an allocation of its own
NARROW = 3  # longer to shorter side, above which images are counted


def check(root: str, *, seed: int, val_percent: float, test_percent: float, image_size: int) -> int:
    """Checks a folder of images and prints what it finds.

    Args:
        root: as in `load_folder`, like seed, val_percent and test_percent.
        image_size: images whose shorter side has fewer pixels are counted.

    Returns:
        The number of problems.

    Raises:
        UserError: the folder does not exist, or the shares leave train or val empty.
    """
    for one in roots_of(root):
        check_root(one)
    check_shares(val_percent, test_percent)
    mistakes: list[str] = []
    examples: list[Example] = []
    try:
        listing = list_folder(root, seed, val_percent, test_percent, mistakes.append)
    except UserError as error:
        mistakes.append(str(error))
    else:
        made = f"seed {seed}, val_percent {val_percent:g} and test_percent {test_percent:g}"
        examples, given = list(listing.examples), listing.given
        origin = f"of its {given}" if given else f"of a training with {made}"
        _log(f'{len(examples):,} images in "{root}"; the splits are those {origin}', "")
        _log(*_class_table(examples))
        _log(*listing.notes, *listing.left_out.others())
        mistakes += [*listing.left_out.troubles(), *listing.troubles]
        splits = sources_of(examples)
        if given:
            check_splits(splits, f'"{root}"', mistakes.append)
            check_apart(splits, f'"{root}"', mistakes.append)
        _log(*cautions(splits))

    hashes, refusals = _hash_all(examples, image_size)
    if hashes:
        _log("", *_sizes(list(hashes.values()), image_size))
    readable = [examples[i] for i in hashes]
    facts = [one.facts for one in hashes.values()]
    _log(*described([e.id for e in readable], [e.label for e in readable], facts))
    _log(*_further_pictures(readable, list(hashes.values())))
    tones = [
        f'"{example.id}" ({", ".join(_cell(example))}): {one.tone}'
        for example, one in zip(readable, hashes.values(), strict=True)
        if one.tone
    ]
    duplicates = find_duplicates(list(hashes.values()))
    return _log_problems(mistakes, refusals, tones, duplicates, readable)


def _log_problems(
    mistakes: Sequence[str],
    refusals: Sequence[str],
    tones: Sequence[str],
    duplicates: Sequence[DuplicateSet],
    examples: Sequence[Example],
) -> int:
    """Logs the problems by type and returns their number; duplicates are indices of examples."""
    within, across_splits, across_classes = [], [], []
    for one in duplicates:
        cells = {_cell(examples[i]) for i in one.members}
        if len(cells) == 1:
            within.append(one)
        if len({split for split, _ in cells}) > 1:
            across_splits.append(_named(one, examples))
        if len({label for _, label in cells}) > 1:
            across_classes.append(_named(one, examples))
    if within:
        images = sum(len(one.members) for one in within)
        _log(f"copies within one split and class: {images:,} images of {len(within):,} pictures")
    problems_of = {
        "mistakes in the folder": mistakes,
        "images that cannot be read": refusals,
        "pictures that are all but one tone": tones,
        "pictures in more than one split": across_splits,
        "pictures in more than one class": across_classes,
    }
    for title, problems in problems_of.items():
        if problems:
            _log("", f"{title}: {len(problems):,}", *(f"  {text}" for text in problems[:LISTED]))
        if len(problems) > LISTED:
            _log(f"  and {len(problems) - LISTED:,} more")
    count = sum(map(len, problems_of.values()))
    _log("", "1 problem" if count == 1 else f"{count:,} problems" if count else "no trouble found")
    return count


def _log(*lines: str) -> None:
    for line in lines:
        log(line)


def _hash_all(
    examples: Sequence[Example], image_size: int
) -> tuple[dict[int, ImageHash], list[str]]:
    """Returns the hashes of the readable images by index, and a sentence about each other one."""
    hashes: dict[int, ImageHash] = {}
    refusals = []
    # As a training with the default crops reads them, so that it reads what is read here.
    min_side = min_side_for_crops(image_size, FIELDS["augment.crop_area_min"].default)
    outcomes = with_progress(_in_threads(examples, min_side), len(examples), "reading images")
    for i, outcome in enumerate(outcomes):
        if isinstance(outcome, ImageHash):
            hashes[i] = outcome
        else:
            refusals.append(f"{examples[i].split}, {examples[i].label}: {outcome}")
    return hashes, refusals


def _in_threads(examples: Sequence[Example], min_side: int) -> Iterator[ImageHash | BadImage]:
    _return_memory()
    executor = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    try:
        yield from executor.map(functools.partial(_hash_or_refusal, min_side), examples)
    finally:  # without this, Ctrl-C would wait for all images
        executor.shutdown(cancel_futures=True)


def _return_memory() -> None:
    """Lets glibc return freed memory of large images, which it keeps for each thread otherwise."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # other libraries of C
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 2**20)


def _hash_or_refusal(min_side: int, example: Example) -> ImageHash | BadImage:
    try:
        page = page_of(example.id, example.path)
        return hash_image(example.path, example.id, page, min_side)
    except BadImage as refusal:
        return refusal


def _class_table(examples: Sequence[Example]) -> list[str]:
    counts = Counter(_cell(example) for example in examples)
    names = sorted({example.label for example in examples})
    rows = [[counts[split, name] for split in SPLITS] for name in names]
    rows.append([sum(column) for column in zip(*rows, strict=True)])
    cells = [
        [plain_text(name), *(f"{n:,}" for n in (*row, sum(row)))]
        for name, row in zip([*names, "all"], rows, strict=True)
    ]
    return markdown.table(["class", *SPLITS, "all"], cells, numbers=range(1, 5)).splitlines()


def _cell(example: Example) -> tuple[str, str]:
    return example.split, example.label


def _sizes(hashes: Sequence[ImageHash], image_size: int) -> list[str]:
    sides = np.array([sorted(one.size) for one in hashes])
    shorter, longer = sides.T
    lines = [
        f"shorter side in pixels: smallest {shorter.min():,}, median {np.median(shorter):,.0f}, "
        f"largest {shorter.max():,}; {(shorter < image_size).sum():,} images below "
        f"image_size {image_size} would be enlarged"
    ]
    if narrow := int((longer > NARROW * shorter).sum()):
        lines.append(
            f"longer than {NARROW} times their width: {narrow:,}; of these, evaluation sees only "
            "the square in the middle, but with config.data.views=tiles all"
        )
    return lines


def _further_pictures(examples: Sequence[Example], hashes: Sequence[ImageHash]) -> list[str]:
    """Returns a line about the pictures that files have beyond those that are examples."""
    pictures = {e.path: one.facts.pictures for e, one in zip(examples, hashes, strict=True)}
    rest = Counter(pictures) - Counter(example.path for example in examples)
    if not rest:
        return []
    first = next(example.id for example in examples if example.path in rest)
    return [
        f"files of several pictures, of which not all are read: {len(rest):,}, with "
        f'{rest.total():,} more pictures (first: "{first}")'
    ]


def _named(duplicates: DuplicateSet, examples: Sequence[Example]) -> str:
    """Formats a set as in: a.jpg (train, ink) = b.jpg (test, ink): the same file."""
    seen: set[tuple[str, str]] = set()
    first: list[str] = []  # in their split and class; named first, to show what differs
    later: list[str] = []
    for i in duplicates.members:
        cell = _cell(examples[i])
        (later if cell in seen else first).append(f'"{examples[i].id}" ({", ".join(cell)})')
        seen.add(cell)
    names = first + later
    if len(names) > MEMBERS:
        names[MEMBERS:] = [f"{len(names) - MEMBERS} more"]
    return " = ".join(names) + f": {duplicates.how}"
