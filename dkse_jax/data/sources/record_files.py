"""The files of a folder of records: their names, format and verification.

Such a folder is a data set of TensorFlow Datasets (shards in the array_record format, with
dataset_info.json and features.json). For a start that reads no record, it also has the labels, ids
and groups of each split as NumPy arrays, and a manifest with the size and the SHA-256 of every
file.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from dkse_jax.data.identity import HASHES, content_digest, text_hashes
from dkse_jax.data.names import page_of, split_page
from dkse_jax.data.sources.example import Example
from dkse_jax.data.sources.tfds_records import check_installed
from dkse_jax.data.splits import SPLITS
from dkse_jax.errors import refuse
from dkse_jax.files import digest_of, reason_of, sync
from dkse_jax.text import as_bytes, as_text, plain_text

NAME = "packed_images"  # of the data set, for TensorFlow Datasets
MANIFEST = "manifest.json"  # written last: a folder with it is complete
JOURNAL = "packing.jsonl"  # of an unfinished packing
ARRAYS = ("labels", "ids", "groups")  # of each split
HASHES_ARRAY = "hashes"  # of each split, identity.HASHES; earlier versions wrote none
Entry = tuple[int, str]  # the size in bytes and the SHA-256 of a file


@dataclasses.dataclass(frozen=True)
class Shard:
    """A file of records: its name, its examples and the sizes of their files in bytes."""

    name: str
    examples: Sequence[Example]
    sizes: Sequence[int]


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The content of a folder of records.

    Attributes:
        class_names: sorted; a label is an index into them.
        shards: split -> shard -> number of records, in order.
        files: name -> size in bytes and SHA-256, of every file but the manifest.
        inputs: the SHA-256 of the list of packed examples.
    """

    class_names: list[str]
    shards: dict[str, dict[str, int]]
    files: dict[str, Entry]
    inputs: str


def read_manifest(folder: epath.Path) -> Manifest:
    """Reads the manifest of a folder of records.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        tree = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        refuse(_why_no_manifest(folder))
    except Exception as error:  # what a remote file system raises can be anything
        refuse(f'"{folder / MANIFEST}" cannot be read: {reason_of(error)}')
    if not _is_manifest(tree):
        refuse(f'"{folder / MANIFEST}" is damaged: it is not what dkse-pack writes')
    return Manifest(**tree)


def _why_no_manifest(folder: epath.Path) -> str:
    if (folder / JOURNAL).exists():
        return f'"{folder}" is not packed to the end: start dkse-pack again'
    if not is_remote(folder) and not folder.exists():
        return f'the folder "{folder}" does not exist'
    return (
        f'"{folder}" holds no records, since it has no {MANIFEST}: '
        "dkse-pack makes them of a folder of images, which data.source=folder reads"
    )


def mistake_of(file: epath.Path, size: int, digest: str, *, through: bool) -> str:
    """Returns a sentence about a file that is missing or damaged; "" for an intact one.

    Args:
        file: its path.
        size: in bytes.
        digest: its SHA-256.
        through: whether to compare the digest too, which reads the file.
    """
    try:
        found = file.stat().length
        if found != size:
            return f'"{file}" is damaged: it has {found:,} bytes instead of {size:,}'
        if through and not is_remote(file) and digest_of(file) != digest:
            return f'"{file}" is damaged: its checksum is not that of the manifest'
    except FileNotFoundError:
        return f'"{file}" is missing'
    except Exception as error:
        return f'"{file}" cannot be read: {reason_of(error)}'
    return ""


def array_name(split: str, array: str) -> str:
    """Returns the file name of one of ARRAYS, or of HASHES_ARRAY."""
    return f"{split}.{array}.npy"


def check_packable(class_names: Sequence[str], examples: Sequence[Example]) -> None:
    """Raises UserError for a name that records cannot hold, or where none can be written."""
    check_installed()
    for name in class_names:
        if name != plain_text(name).strip():  # TensorFlow Datasets stores one name a line
            refuse(f'the class "{name}" cannot be packed: its name is no plain text; rename it')
    for example in examples:
        if split_page(example.id)[1] != page_of(example.id, example.path):
            refuse(f'"{example.path}" cannot be packed: its name means a page of a file; rename it')


def digest_of_inputs(shards: Sequence[Shard]) -> str:
    """Returns the SHA-256 of what is packed: names, labels, groups and sizes, not contents."""
    digest = hashlib.sha256()
    for shard in shards:
        for example, size in zip(shard.examples, shard.sizes, strict=True):
            line = (shard.name, example.id, example.label, example.group, size)
            digest.update(json.dumps(line).encode())
    return digest.hexdigest()


def features(class_names: Sequence[str]):
    """Returns a record's features for TensorFlow Datasets; images keep the bytes of their files."""
    import tensorflow_datasets as tfds  # here, since importing it takes half a second

    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=list(class_names)),
            "group": tfds.features.Text(),
            "id": tfds.features.Text(),
        }
    )


def id_and_image(record: bytes) -> tuple[str, bytes]:
    """Parses the id and the image file's content from a record.

    Skips the other work of `features`, which takes as long as reading the record.
    """
    from tensorflow_datasets.proto import tf_example_pb2

    held = tf_example_pb2.Example.FromString(record).features.feature
    name, image = (held[key].bytes_list.value[0] for key in ("id", "image"))
    return as_text(name), image


def serialiser(class_names: Sequence[str]) -> Callable[[Example, bytes], bytes]:
    """Returns a function that makes a record of an example and the content of its file."""
    from tensorflow_datasets.core.example_serializer import ExampleSerializer

    label_of = {name: label for label, name in enumerate(class_names)}
    connector = features(class_names)
    to_bytes = ExampleSerializer(connector.get_serialized_info()).serialize_example

    def serialise(example: Example, content: bytes) -> bytes:
        fields = {
            "image": content,
            "label": label_of[example.label],
            "group": as_bytes(example.group),
            "id": as_bytes(example.id),
        }
        return to_bytes(connector.encode_example(fields))

    return serialise


def write_arrays(
    folder: Path,
    class_names: Sequence[str],
    shards: Mapping[str, Sequence[Shard]],
    digests: Mapping[str, Sequence[bytes]],
) -> list[str]:
    """Writes the ARRAYS and HASHES_ARRAY of each split; returns their file names.

    Args:
        folder: of the records.
        class_names: sorted.
        shards: of each split.
        digests: of the contents of each shard's images.
    """
    label_of = {name: label for label, name in enumerate(class_names)}
    names = []
    for split, of_split in shards.items():
        examples = [example for shard in of_split for example in shard.examples]
        hashes = np.zeros(len(examples), HASHES)
        hashes["id"] = text_hashes((example.id for example in examples), 16)
        hashes["group"] = text_hashes((example.group for example in examples), 8)
        hashes["content"] = [digest for shard in of_split for digest in digests[shard.name]]
        arrays = {
            "labels": np.array([label_of[example.label] for example in examples], np.int32),
            "ids": np.array([as_bytes(e.id) for e in examples], bytes),  # as wide as the longest
            "groups": np.array([as_bytes(e.group) for e in examples], bytes),
            HASHES_ARRAY: hashes,
        }
        for name, array in arrays.items():
            names.append(array_name(split, name))
            np.save(folder / names[-1], array)
            sync(folder / names[-1])
    return names


def read_digests(shard: Path) -> list[bytes]:
    """Reads the records of a packed shard; returns the digest of each image's content."""
    reader = open_shard(shard)
    held = (id_and_image(reader.read([index])[0]) for index in range(reader.num_records()))
    return [content_digest(content, split_page(name)[1]) for name, content in held]


def open_shard(file: str | os.PathLike[str]) -> Any:
    """Returns a reader of single records, without read-ahead."""
    from array_record.python import array_record_module

    return array_record_module.ArrayRecordReader(
        os.fspath(file), "readahead_buffer_size:0", file_reader_buffer_size=2**15
    )


def write_metadata(
    folder: Path, class_names: Sequence[str], shards: Mapping[str, Sequence[Shard]]
) -> list[str]:
    """Writes the metadata of TensorFlow Datasets with its own code; returns the file names."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.dataset_info import DatasetIdentity

    infos = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[len(shard.examples) for shard in of_split],
            num_bytes=sum(sum(shard.sizes) for shard in of_split),
            filename_template=tfds.core.ShardedFileTemplate(
                data_dir=epath.Path(folder),
                dataset_name=NAME,
                split=split,
                filetype_suffix="array_record",
            ),
        )
        for split, of_split in shards.items()
        if of_split
    ]
    version = tfds.core.Version("1.0.0")
    info = tfds.core.DatasetInfo(
        builder=DatasetIdentity(NAME, version, os.fspath(folder), module_name=""),
        features=features(class_names),
        disable_shuffling=True,  # the records are in the order of their ids
    )
    info.set_file_format("array_record")
    info.set_splits(tfds.core.splits.SplitDict(infos))
    info.write_to_directory(folder)
    return ["dataset_info.json", "features.json", "label.labels.txt"]


def is_remote(file: epath.Path) -> bool:
    """Returns whether a path is one that `open` cannot read."""
    return "://" in os.fspath(file)


def _is_manifest(tree: Any) -> bool:
    names = [field.name for field in dataclasses.fields(Manifest)]
    try:
        needed = [name for split in SPLITS for name in tree["shards"][split]]
        needed += [array_name(split, array) for split in SPLITS for array in ARRAYS]
        return sorted(tree) == sorted(names) and all(name in tree["files"] for name in needed)
    except (LookupError, TypeError):
        return False
