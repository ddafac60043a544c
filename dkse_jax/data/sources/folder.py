"""Source of a folder of images: one folder for each class, or a metadata.csv beside the images."""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence

import numpy as np

from dkse_jax.data.decode import BadImage, decode_image, read_image_file
from dkse_jax.data.identity import Contents
from dkse_jax.data.names import check_alike, clean, page_of
from dkse_jax.data.sources import Source
from dkse_jax.data.sources.example import Example
from dkse_jax.data.sources.listing import Listing
from dkse_jax.data.sources.roots import list_roots
from dkse_jax.data.split_checks import check_names
from dkse_jax.data.splits import SPLITS, Report, assign_splits
from dkse_jax.errors import nearest, refuse
from dkse_jax.text import plain_text


def load_folder(
    root: str, seed: int, val_percent: float, test_percent: float, profiles: bool = True
) -> dict[str, Source]:
    """Loads the splits of a folder of images; reads only file names and metadata.

    The folder has one folder of images for each class, nested folders included; or folders of
    splits that hold class folders; or a table of metadata with the columns file_name and label, and
    optionally group and split, or such a table in each folder of a split. The splits are not
    checked: `sources.load_splits` does.

    Args:
        root: the folder, or several, separated by commas (see `roots.list_roots`).
        seed: of the hash that assigns the splits, where the folder does not give them.
        val_percent: share of the groups (files, where there are no groups) for val.
        test_percent: share of the groups for test.
        profiles: as of `decode`.

    Returns:
        The sources "train", "val" and "test", with equal class names and with examples sorted by
        id, which is the path relative to the root.

    Raises:
        UserError: the first mistake in the folder.
    """
    listing = list_folder(root, seed, val_percent, test_percent, refuse)
    return sources_of(listing.examples, listing.remarks(), profiles)


def sources_of(
    examples: Sequence[Example], remarks: Sequence[str] = (), profiles: bool = True
) -> dict[str, Source]:
    """Returns the sources "train", "val" and "test" of listed examples."""
    class_names = tuple(sorted({example.label for example in examples}))
    return {
        split: _make_source(
            class_names, [e for e in examples if e.split == split], remarks, profiles
        )
        for split in SPLITS
    }


def list_folder(
    root: str, seed: int, val_percent: float, test_percent: float, report: Report
) -> Listing:
    """Lists the examples of a folder of images, each with its group and split, sorted by id.

    Where train and test are given but no val, groups of train are assigned to val. Where no groups
    are given, each file is one, and so are files of one folder whose names differ in the suffix
    alone, unless the metadata give the splits.

    Args:
        root: as in `load_folder`, like seed, val_percent and test_percent.
        report: receives a sentence about each mistake; the example concerned is left out.

    Raises:
        UserError: a mistake after which nothing can be listed.
    """
    listing = list_roots(root, report, check_folders=True)
    check_names(sorted({example.label for example in listing.examples}), f'"{root}"', report)
    given = {example.split for example in listing.examples}
    if given == {"train", "test"}:
        note = f"val is made of groups of train, by seed {seed} and val_percent {val_percent:g}"
        listing = dataclasses.replace(listing, notes=(*listing.notes, note))
        open_, test_percent = "train", 0.0
    elif given == {""}:
        open_ = ""
    else:
        return listing
    classes_of_group: dict[str, set[str]] = {}
    for example in listing.examples:
        if example.split == open_:
            classes_of_group.setdefault(example.group, set()).add(example.label)
    split_of = assign_splits(classes_of_group, seed, val_percent, test_percent, report)
    assigned = [
        Example(e.id, e.path, e.label, e.group, split_of[e.group]) if e.split == open_ else e
        for e in listing.examples
    ]
    return dataclasses.replace(listing, examples=assigned)


def load_all(root: str, class_names: Sequence[str], profiles: bool = True) -> Source:
    """Loads every image of a folder, of any split, labelled in the class order of the weights.

    Raises:
        UserError: as `load_folder`, or the folder has a class that is not among class_names.
    """
    listing = list_roots(root, refuse)
    names = tuple(map(clean, class_names))
    check_alike("classes", names, "the weights")
    for example in listing.examples:
        if example.label not in names:
            refuse(
                f'"{root}" has the class "{example.label}", which the weights do not know'
                + nearest(example.label, names)
            )
    source = _make_source(names, listing.examples, listing.remarks(), profiles)
    return dataclasses.replace(source, class_names=tuple(class_names))


def _make_source(
    class_names: tuple[str, ...],
    examples: Sequence[Example],
    remarks: Sequence[str],
    profiles: bool,
) -> Source:
    label_of = {name: label for label, name in enumerate(class_names)}
    paths = tuple(example.path for example in examples)
    sizes, times = np.array([_version(path) for path in paths], np.int64).reshape(-1, 2).T
    pages = {i: page for i, e in enumerate(examples) if (page := page_of(e.id, e.path)) > 1}
    known = dataclasses.replace(Contents.unknown(len(paths)), sizes=sizes, times=times)
    return Source(
        class_names=class_names,
        ids=tuple(example.id for example in examples),
        labels=np.array([label_of[example.label] for example in examples], np.int32),
        groups=tuple(example.group for example in examples),
        read=functools.partial(_read, paths, pages, known, profiles),
        contents=known,
        remarks=tuple(remarks),
    )


def _read(
    paths: Sequence[str],
    pages: Mapping[int, int],
    known: Contents,
    profiles: bool,
    index: int,
    min_side: int | None,
) -> np.ndarray:
    path, page = paths[index], pages.get(index, 1)
    name = path if page == 1 else f"{path}#{page}"
    content = read_image_file(path)
    image = decode_image(content, min_side, name=name, page=page, profiles=profiles)
    if _version(path) != (known.sizes[index], known.times[index]):
        raise BadImage(
            plain_text(f'the image "{path}" cannot be read: it changed since the run began')
        )
    if not known.matches(index, content, page):
        refuse(
            f'the content of "{path}" changed since the run began; restore it, or begin a new run '
            "in another --workdir"
        )
    return image


def _version(path: str) -> tuple[int, int]:
    """Returns a file's size and time of change in nanoseconds; (-1, 0) if it is gone."""
    try:
        status = os.stat(path)
    except OSError:
        return -1, 0
    return status.st_size, status.st_mtime_ns
