"""Source of images that `dkse-pack` packed into record files, with random access."""

import bisect
import concurrent.futures
import dataclasses
import functools
import itertools
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from etils import epath

from dkse_jax.data.decode import decode_image
from dkse_jax.data.identity import Contents
from dkse_jax.data.names import split_page
from dkse_jax.data.sources import Source
from dkse_jax.data.sources.record_files import (
    ARRAYS,
    HASHES_ARRAY,
    Manifest,
    array_name,
    id_and_image,
    is_remote,
    mistake_of,
    open_shard,
    read_manifest,
)
from dkse_jax.data.sources.tfds_records import check_installed
from dkse_jax.data.splits import SPLITS
from dkse_jax.errors import UserError, refuse
from dkse_jax.files import cache_folder, digest_of, expanded, reason_of, replacing
from dkse_jax.text import as_text

# Up to this total size, all shards are verified at every start, in about a second. Beyond, only
# their sizes are compared; each record has its own hash, which is checked when it is read.
CHECKED_BYTES = 2**29
_OPEN_SHARDS = 256  # each holds a file descriptor
_copying = threading.Lock()


def load_records(root: str, profiles: bool = True) -> dict[str, Source]:
    """Loads the splits of a folder of records, equal to those of the packed folder of images.

    Reads no record if the shards have more than CHECKED_BYTES together.

    Args:
        root: a local folder, or a remote one that `etils.epath` can read, such as gs://... or
            s3://..., whose files are copied into the user's cache when they are first needed.
        profiles: as of `decode`.

    Returns:
        The sources "train", "val" and "test"; ids and groups are read from disk on access.
        Reading an image raises BadImage if it cannot be decoded, and UserError if its shard
        cannot be read.

    Raises:
        UserError: the folder holds no records, or a file is missing or damaged.
    """
    check_installed()
    folder = epath.Path(expanded(root))
    manifest = read_manifest(folder)
    _check_files(folder, manifest)
    return {split: _make_source(folder, manifest, split, profiles) for split in SPLITS}


def _check_files(folder: epath.Path, manifest: Manifest) -> None:
    """Raises UserError for a file that is missing, of a wrong size or, if checked, damaged."""
    shards = {name for of_split in manifest.shards.values() for name in of_split}
    small = sum(manifest.files[name][0] for name in shards) <= CHECKED_BYTES

    def mistake(name: str) -> str:
        size, digest = manifest.files[name]
        return mistake_of(folder / name, size, digest, through=small or name not in shards)

    with concurrent.futures.ThreadPoolExecutor(16) as executor:  # remote answers are slow
        for sentence in filter(None, executor.map(mistake, manifest.files)):
            refuse(f"{sentence}; dkse-pack packs anew what is not whole")


class Texts(Sequence[str]):
    """The texts of a NumPy file, read from disk on access.

    Args:
        file: an array of bytes, each the `as_bytes` of a text.
    """

    _STRETCH = 2**16  # texts mapped at a time, so that memory is released

    def __init__(self, file: str):
        self._file = file
        self._array = np.load(file, mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return len(self._array)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    def __getitem__(self, index):
        if isinstance(index, slice):
            return tuple(map(as_text, self._array[index].tolist()))
        return as_text(self._array[index])

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), self._STRETCH):
            stretch = np.load(self._file, mmap_mode="r", allow_pickle=False)[
                start : start + self._STRETCH
            ]
            yield from map(as_text, stretch.tolist())


def _make_source(folder: epath.Path, manifest: Manifest, split: str, profiles: bool) -> Source:
    def local(name: str) -> str:
        return _local(folder / name, manifest.files[name][1])

    shards = manifest.shards[split]
    names, ends = list(shards), list(itertools.accumulate(shards.values()))
    labels, ids, groups = (local(array_name(split, array)) for array in ARRAYS)
    known = Contents.unknown(sum(shards.values()))
    if (name := array_name(split, HASHES_ARRAY)) in manifest.files:
        hashes = np.load(local(name), mmap_mode="r", allow_pickle=False)
        known = dataclasses.replace(
            known,
            digests=hashes["content"],
            checked=np.ones(len(hashes), bool),  # the array_record format has hashes of its own
            packed=local(name),
        )

    @functools.lru_cache(_OPEN_SHARDS)
    def reader(shard: int) -> Any:
        return open_shard(local(names[shard]))

    def read_record(index: int) -> bytes:
        shard = bisect.bisect_right(ends, index)
        try:
            start = ends[shard] - shards[names[shard]]
            return reader(shard).read([index - start])[0]
        except UserError:
            raise
        except Exception as error:
            refuse(
                f'"{folder / names[shard]}" is damaged, or gone since the start: '
                f"{reason_of(error)}; dkse-pack packs it anew"
            )

    texts = Texts(ids)
    return Source(
        class_names=tuple(manifest.class_names),
        ids=texts,
        labels=np.load(labels, allow_pickle=False),
        groups=Texts(groups),
        read=functools.partial(_read, read_record, texts, known, profiles),
        contents=known,
    )


def _read(
    read_record: Callable[[int], bytes],
    ids: Texts,
    known: Contents,
    profiles: bool,
    index: int,
    min_side: int | None,
) -> np.ndarray:
    name, image = id_and_image(read_record(index))
    page = split_page(name)[1]
    if name != ids[index]:  # its label would be another image's
        refuse(f'the record of "{ids[index]}" holds "{name}": pack the images into a new folder')
    if not known.matches(index, image, page):
        refuse(
            f'the content of "{name}" changed since the run began; restore the records, or begin a '
            "new run in another --workdir"
        )
    return decode_image(image, min_side, name=name, page=page, profiles=profiles)


def _local(file: epath.Path, digest: str) -> str:
    """Returns the path of a local file, or of a verified copy of a remote one in the cache."""
    if not is_remote(file):
        return os.fspath(file)
    copy = cache_folder("records") / digest
    with _copying:
        if copy.exists():
            return str(copy)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with replacing(copy, shared=True) as draft:
            with file.open("rb") as remote, draft.open("wb") as stream:
                shutil.copyfileobj(remote, stream, 2**20)
            if digest_of(draft) != digest:
                refuse(f'"{file}" is damaged: its checksum is not that of the manifest')
    return str(copy)
