"""The source of a split: class names, ids, labels, groups, and a reader of image i."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from ml_collections import ConfigDict

from dkse_jax.choices import SOURCES
from dkse_jax.data.identity import Contents
from dkse_jax.data.split_checks import check_apart, check_names, check_splits
from dkse_jax.data.transform import Transform
from dkse_jax.errors import UserError, nearest
from dkse_jax.files import expanded


@dataclasses.dataclass(frozen=True)
class Source:
    """One split of a data set.

    Attributes:
        class_names: sorted by name; a label is an index into it.
        ids: the stable name of each example, such as a path relative to the root; ids and groups
            may be sequences that read from disk on access.
        labels: (N,) int32.
        groups: of each example; examples of one group (a book, a series) are not independent.
        read: (index, min_side) -> uint8 (H, W, 3). The result may be smaller than the original
            while its shorter side is at least min_side pixels; None for the original size.
        contents: of the encoded images; None where ids determine the images.
        remarks: lines on what else was found where the examples were, of any split.
    """

    class_names: tuple[str, ...]
    ids: Sequence[str]
    labels: np.ndarray
    groups: Sequence[str]
    read: Callable[[int, int | None], np.ndarray]
    contents: Contents | None = None
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)


def load_splits(data_config: ConfigDict, seed: int) -> dict[str, Source]:
    """Loads the sources "train", "val" and "test" of config.data.

    Args:
        data_config: config.data.
        seed: of the synthetic images, and of splits that a folder does not give.

    Returns:
        Splits with images of every class in train and val, and without a common image or group;
        test may lack classes, or be empty.

    Raises:
        UserError: the data do not match the config, or see `split_checks`.
    """
    splits = _load_whole(data_config, seed)
    names = splits["train"].class_names
    where = data_config.tfds.builder if data_config.source == "tfds" else data_config.root
    where = f'"{where or data_config.source}"'
    check_names(names, where)
    if data_config.classes:
        splits = _of_first_classes(splits, data_config.classes)
    check_splits(splits, where)
    if data_config.source != "records":  # dkse-pack has checked it
        check_apart(splits, where)
    return splits


def _of_first_classes(splits: dict[str, Source], classes: int) -> dict[str, Source]:
    """Returns the splits with the examples of the first classes by name alone."""
    names = splits["train"].class_names
    if classes > len(names):
        raise UserError(
            f"config.data.classes is {classes}, but the data have only {len(names)}:"
            f" {', '.join(names)}"
        )
    return {name: _first_classes(split, classes) for name, split in splits.items()}


def subset(source: Source, indices: np.ndarray) -> Source:
    """Returns the source of the examples at `indices`, in that order."""
    return dataclasses.replace(
        source,
        ids=tuple(source.ids[i] for i in indices),
        labels=source.labels[indices],
        groups=tuple(source.groups[i] for i in indices),
        read=lambda index, min_side: source.read(int(indices[index]), min_side),
        contents=source.contents and source.contents.of(indices),
    )


def _load_whole(data_config: ConfigDict, seed: int) -> dict[str, Source]:
    # Imported here: each source imports this module, and unused ones would slow the start.
    if data_config.source == "synthetic":
        from dkse_jax.data.sources import synthetic

        sizes = data_config.synthetic
        return synthetic.load_splits(
            size=Transform.of(data_config).size,
            kinds=sizes.kinds,
            per_kind={
                "train": sizes.train_per_kind,
                "val": sizes.val_per_kind,
                "test": sizes.test_per_kind,
            },
            seed=seed,
        )
    if data_config.source == "folder":
        from dkse_jax.data.sources.folder import load_folder

        shares = data_config.folder
        return load_folder(
            data_config.root,
            seed,
            shares.val_percent,
            shares.test_percent,
            data_config.colour_profiles,
        )
    root = expanded(data_config.root)
    if data_config.source == "records":
        from dkse_jax.data.sources.records import load_records

        return load_records(root, data_config.colour_profiles)
    if data_config.source == "tfds":
        from dkse_jax.data.sources.tfds import load_tfds

        return load_tfds(data_config.tfds, root, data_config.colour_profiles)
    hint = nearest(data_config.source, SOURCES)
    raise UserError(f'there is no data source "{data_config.source}"{hint}')


def _first_classes(source: Source, classes: int) -> Source:
    """Returns the source of the examples of the first classes by name."""
    chosen = subset(source, np.flatnonzero(source.labels < classes))
    return dataclasses.replace(chosen, class_names=source.class_names[:classes])


def load_all(root: str, class_names: Sequence[str], profiles: bool = True) -> Source:
    """Loads every image of a folder, of any split, labelled in the class order of the weights.

    Args:
        root: the folder.
        class_names: of the weights.
        profiles: as of `decode`.

    Raises:
        UserError: a mistake in the folder, or a class in it that is not among class_names.
    """
    from dkse_jax.data.sources import folder

    return folder.load_all(root, class_names, profiles)
