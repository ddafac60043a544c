"""Source of a data set prepared by TensorFlow Datasets, read without TensorFlow."""

import difflib
import functools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from dkse_jax.data.decode import decode_image
from dkse_jax.data.identity import Contents
from dkse_jax.data.names import clean
from dkse_jax.data.sources import Source
from dkse_jax.data.sources.tfds_records import (
    Joined,
    check_format,
    check_installed,
    open_records,
)
from dkse_jax.errors import UserError, nearest, refuse

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

# tensorflow_datasets is imported inside the functions: it takes half a second.


def load_tfds(tfds_config: ConfigDict, root: str, profiles: bool = True) -> dict[str, Source]:
    """Loads the splits of a prepared data set: all labels now, each image when it is read.

    An example's id is "split/index", and also its group. The files must be in the array_record
    format. An empty test_split gives an empty source.

    Args:
        tfds_config: config.data.tfds. With class_of="builder", the builders, separated by commas,
            are the classes of one data set: each has the name of the builder's config ("clipart"
            of "domainnet/clipart") or else of the builder, and ids begin with it.
        root: the data_dir of the data set; "" for the default of TensorFlow Datasets.
        profiles: as of `decode`.

    Raises:
        UserError: the config field that does not fit the data set, or a damaged file.
    """
    check_installed()
    import tensorflow_datasets as tfds

    expressions = {
        "train": tfds_config.train_split,
        "val": tfds_config.val_split,
        "test": tfds_config.test_split,
    }
    if tfds_config.class_of == "builder":
        return _load_builders(
            tfds_config.builder, root, tfds_config.image_key, expressions, profiles
        )
    builder = _open_builder(tfds_config.builder, root)
    _check_features(builder, tfds_config.image_key, tfds_config.label_key)
    _check_splits(builder, expressions)

    names = [clean(name) for name in builder.info.features[tfds_config.label_key].names]
    class_names = tuple(sorted(names))
    sorted_label = np.array([class_names.index(name) for name in names], np.int32)
    sources = {}
    for split, expression in expressions.items():
        raw = {tfds_config.image_key: tfds.decode.SkipDecoding()}
        records = open_records(builder, f"{split}_split", expression, raw)
        labels = np.array([int(record[tfds_config.label_key]) for record in records], np.int32)
        if (labels < 0).any():
            raise UserError(f'{split}_split="{expression}" has examples without a label')
        ids = tuple(f"{expression}/{index}" for index in range(len(labels)))
        known = Contents.unknown(len(ids))
        sources[split] = Source(
            class_names=class_names,
            ids=ids,
            labels=sorted_label[labels],
            groups=ids,
            read=functools.partial(_read, records, tfds_config.image_key, ids, known, profiles),
            contents=known,
        )
    return sources


def _load_builders(
    names: str, root: str, image_key: str, expressions: Mapping[str, str], profiles: bool
) -> dict[str, Source]:
    """Loads the splits of several builders, each of which is a class; reads no labels."""
    import tensorflow_datasets as tfds

    builders: dict[str, tfds.core.DatasetBuilder] = {}
    for name in names.split(","):
        builder = _open_builder(name.strip(), root)
        _check_features(builder, image_key)
        _check_splits(builder, expressions)
        config = builder.builder_config
        class_name = clean(config.name if config else builder.name)
        if class_name in builders:
            raise UserError(f'data.tfds.builder="{names}" has the class "{class_name}" twice')
        builders[class_name] = builder
    class_names = tuple(sorted(builders))
    raw = {image_key: tfds.decode.SkipDecoding()}
    sources = {}
    for split, expression in expressions.items():
        parts = [
            open_records(builders[name], f"{split}_split", expression, raw) for name in class_names
        ]
        counts = [len(part) for part in parts]
        ids = tuple(
            f"{name}/{expression}/{index}"
            for name, count in zip(class_names, counts, strict=True)
            for index in range(count)
        )
        known = Contents.unknown(len(ids))
        sources[split] = Source(
            class_names=class_names,
            ids=ids,
            labels=np.repeat(np.arange(len(parts), dtype=np.int32), counts),
            groups=ids,
            read=functools.partial(_read, Joined(parts), image_key, ids, known, profiles),
            contents=known,
        )
    return sources


def _read(
    records: Sequence[Mapping[str, Any]],
    image_key: str,
    ids: Sequence[str],
    known: Contents,
    profiles: bool,
    index: int,
    min_side: int | None,
) -> np.ndarray:
    content = records[index][image_key]
    image = decode_image(content, min_side, name=ids[index], profiles=profiles)
    if not known.matches(index, content):
        refuse(
            f'the content of "{ids[index]}" changed since the run began; restore the data, or '
            "begin a new run in another --workdir"
        )
    return image


def _open_builder(name: str, root: str) -> "tfds.core.DatasetBuilder":
    import tensorflow_datasets as tfds

    if not name:
        raise UserError('data.tfds.builder is empty: it must name a data set, such as "imagenet_r"')
    try:
        builder = tfds.builder(name, data_dir=root or None)
    except tfds.core.DatasetNotFoundError as error:
        in_root = os.listdir(root) if os.path.isdir(root) else []
        known = tfds.list_builders(with_community_datasets=False)  # those need the network
        close = difflib.get_close_matches(name, [*known, *in_root], n=1)
        raise UserError(
            f'TensorFlow Datasets has no data set "{name}", nor has "{root}"' + nearest(name, close)
        ) from error
    except (ValueError, AssertionError) as error:  # a version, a config or the name's form
        raise UserError(
            f'data.tfds.builder="{name}" cannot be opened: {str(error).splitlines()[0]}'
        ) from error
    if not builder.is_prepared():
        raise UserError(
            f'"{name}" is not prepared in "{builder.data_dir}": run tfds.builder("{name}", '
            f'data_dir="{root}", file_format="array_record").download_and_prepare() once'
        )
    check_format(builder)
    return builder


def _check_features(
    builder: "tfds.core.DatasetBuilder", image_key: str, label_key: str | None = None
) -> None:
    import tensorflow_datasets as tfds

    kinds: dict[str, tuple[str, type, str]] = {
        "image_key": (image_key, tfds.features.Image, "an image"),
    }
    if label_key is not None:
        kinds["label_key"] = (label_key, tfds.features.ClassLabel, "a label with class names")
    features = builder.info.features
    for field, (key, kind, meaning) in kinds.items():
        fitting = [name for name, feature in features.items() if isinstance(feature, kind)]
        if key not in features:
            raise UserError(
                f'{field}="{key}" is no feature of {builder.name}' + nearest(key, fitting)
            )
        if key not in fitting:
            raise UserError(
                f'{field}="{key}" is not {meaning} in {builder.name}' + nearest(key, fitting)
            )
    dtype = np.dtype(features[image_key].np_dtype)
    if dtype not in (np.uint8, np.uint16):
        raise UserError(
            f'image_key="{image_key}" of {builder.name} has the dtype {dtype}, whose white is not'
            " known: prepare the data set again with images of uint8 or uint16"
        )
    if label_key is not None and not features[label_key].num_classes:
        raise UserError(f'label_key="{label_key}" of {builder.name} has no class names')


def _check_splits(builder: "tfds.core.DatasetBuilder", expressions: Mapping[str, str]) -> None:
    """Raises UserError for unknown, empty and overlapping splits."""
    used: list[tuple[str, str, int, int]] = []  # field, file, first and last record + 1
    for split, expression in expressions.items():
        if not expression:
            continue
        field = f"{split}_split"
        for part in expression.split("+"):
            name = part.split("[")[0].strip()
            if name not in builder.info.splits:
                raise UserError(
                    f'{field}="{expression}": {builder.name} has no split "{name}"'
                    + nearest(name, builder.info.splits)
                )
        try:
            instructions = builder.info.splits[expression].file_instructions
        except (ValueError, AssertionError) as error:
            raise UserError(
                f'{field}="{expression}" is not in the form of "train[:80%]", or asks for more '
                f"examples than {builder.name} has"
            ) from error
        if not sum(instruction.take for instruction in instructions):
            raise UserError(f'{field}="{expression}" has no examples')
        for instruction in instructions:
            file, start = instruction.filename, instruction.skip
            end = start + instruction.take
            for other_field, other_file, other_start, other_end in used:
                if file == other_file and start < other_end and other_start < end:
                    raise UserError(
                        f'{field}="{expression}" shares examples with '
                        f'{other_field}="{expressions[other_field.removesuffix("_split")]}"'
                    )
            used.append((field, file, start, end))
