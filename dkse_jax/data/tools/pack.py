"""Packing of a folder of images into verified record files."""

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
from etils import epath

from dkse_jax.console import log, with_progress
from dkse_jax.data.decode import read_image_file
from dkse_jax.data.identity import content_digest
from dkse_jax.data.names import split_page
from dkse_jax.data.sources.example import Example
from dkse_jax.data.sources.folder import list_folder, sources_of
from dkse_jax.data.sources.record_files import (
    HASHES_ARRAY,
    JOURNAL,
    MANIFEST,
    NAME,
    Entry,
    Manifest,
    Shard,
    array_name,
    check_packable,
    digest_of_inputs,
    mistake_of,
    read_digests,
    read_manifest,
    serialiser,
    write_arrays,
    write_metadata,
)
from dkse_jax.data.sources.roots import roots_of
from dkse_jax.data.split_checks import check_apart, check_splits
from dkse_jax.data.splits import SPLITS, check_shares
from dkse_jax.errors import refuse
from dkse_jax.files import (
    digest_of,
    expanded,
    explain_disk_errors,
    replacing,
    try_lock,
    write_atomically,
)

SHARD_BYTES = 2**28  # of images, approximately


def pack(root: str, out: str, *, seed: int, val_percent: float, test_percent: float) -> None:
    """Packs a folder of images, or resumes an interrupted packing, and verifies the files.

    Args:
        root: as in `load_folder`, like seed, val_percent and test_percent.
        out: a local folder.

    Raises:
        UserError: a mistake in the folder, an image file that cannot be read (files that cannot be
            decoded are packed), or an `out` that holds something else.
    """
    check_shares(val_percent, test_percent)
    folder = _check_out(root, out)
    listing = list_folder(root, seed, val_percent, test_percent, refuse)
    examples = listing.examples
    class_names = sorted({example.label for example in examples})
    check_packable(class_names, examples)
    sources = sources_of(examples)
    check_splits(sources, f'"{root}"')
    check_apart(sources, f'"{root}"')
    splits = {split: [e for e in examples if e.split == split] for split in SPLITS}
    for line in listing.remarks():
        log(line)
    with explain_disk_errors("cannot pack into", folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _journal(folder) as journal:
            _pack_and_verify(root, folder, class_names, splits, journal)


def _check_out(root: str, out: str) -> Path:
    if "://" in out:
        refuse(f'"{out}" is not a local folder: pack into one, and copy that with its own tool')
    folder = Path(expanded(out))
    if any(folder.resolve().is_relative_to(Path(one).resolve()) for one in roots_of(root)):
        refuse(f'"{out}" is inside the folder of the images: name a folder elsewhere')
    if folder.exists() and not folder.is_dir():
        refuse(f'"{out}" is not a folder')
    ours = any((folder / name).exists() for name in (MANIFEST, JOURNAL))
    if folder.exists() and not ours and any(folder.iterdir()):
        refuse(f'"{out}" holds something else than records: name a new folder')
    return folder


@contextlib.contextmanager
def _journal(folder: Path) -> Iterator[TextIO]:
    """Opens the journal of finished shards, locked against other processes."""
    path = folder / JOURNAL
    with path.open("a+", encoding="utf-8") as file:
        if not try_lock(file.fileno()):
            refuse(f'another process is packing into "{folder}": wait for it to end')
        yield file
        path.unlink()  # kept after an error, for the next start to resume


def _pack_and_verify(
    root: str,
    folder: Path,
    class_names: Sequence[str],
    splits: dict[str, list[Example]],
    journal: TextIO,
) -> None:
    shards = {split: _shards(split, examples) for split, examples in splits.items()}
    every = [shard for split in SPLITS for shard in shards[split]]
    inputs = digest_of_inputs(every)
    known = _known_files(folder, journal, inputs, root)
    finished = all(array_name(split, HASHES_ARRAY) in known for split in SPLITS)
    whole = _whole_files(folder, known)
    if not (finished and len(whole) == len(known)):
        digests: dict[str, list[bytes]] = {}
        missing = [shard for shard in every if shard.name not in whole]
        whole |= _pack_all(missing, folder, class_names, journal, digests)
        files = {shard.name: whole[shard.name] for shard in every}
        for shard in every:
            if shard.name not in digests:  # packed by an earlier start
                digests[shard.name] = read_digests(folder / shard.name)
        names = write_arrays(folder, class_names, shards, digests)
        for name in (*names, *write_metadata(folder, class_names, shards)):
            files[name] = (folder / name).stat().st_size, digest_of(folder / name)
        counts = {split: {s.name: len(s.examples) for s in shards[split]} for split in SPLITS}
        manifest = Manifest(list(class_names), counts, files, inputs)
        write_atomically(folder / MANIFEST, json.dumps(dataclasses.asdict(manifest), indent=1))
    size = sum(whole[shard.name][0] for shard in every) / 2**20
    what = f"{sum(map(len, splits.values())):,} images in {len(every)} shards, {size:,.0f} MiB"
    log(f'"{folder}" holds {what}; every checksum was verified: data.source=records reads it')


def _shards(split: str, examples: Sequence[Example]) -> list[Shard]:
    """Divides a split into shards of about as many bytes each."""
    if not examples:
        return []
    sizes = np.array([_size(example.path) for example in examples], np.int64)
    before, total = np.cumsum(sizes) - sizes, max(1, int(sizes.sum()))
    count = -(-total // SHARD_BYTES)
    starts = np.unique(before * count // total, return_index=True)[1].tolist()
    ends = [*starts[1:], len(examples)]
    return [
        Shard(
            f"{NAME}-{split}.array_record-{number:05d}-of-{len(starts):05d}",
            examples[start:end],
            sizes[start:end].tolist(),
        )
        for number, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:  # of the image, not of the folder that is packed into
        refuse(f'the image "{path}" cannot be read: {error.strerror}')


def _known_files(folder: Path, journal: TextIO, inputs: str, root: str) -> dict[str, Entry]:
    """Returns the files of the manifest, or else of the journal; begins an empty journal."""
    if (folder / MANIFEST).exists():
        manifest = read_manifest(epath.Path(folder))
        packed, known = manifest.inputs, manifest.files
    else:
        packed, known = _read_journal(journal) or (inputs, {})
    if packed != inputs:
        refuse(
            f'"{folder}" was packed from other images, labels or splits than "{root}" has now: '
            "name a new folder, or remove that one"
        )
    if os.fstat(journal.fileno()).st_size == 0:
        print(inputs, file=journal, flush=True)
    return dict(known)


def _read_journal(journal: TextIO) -> tuple[str, dict[str, Entry]] | None:
    """Returns an unfinished folder's digest of inputs and its shards; None for a new folder."""
    journal.seek(0)
    first, *lines = journal.read().splitlines(keepends=True) or [""]
    if not first.endswith("\n"):
        journal.truncate(0)
        return None
    if lines and not lines[-1].endswith("\n"):  # a kill cut it off
        lines.pop()
        print(file=journal)
    shards = [json.loads(line) for line in lines if line.strip()]
    return first.strip(), {name: (size, digest) for name, size, digest in shards}


def _whole_files(folder: Path, known: dict[str, Entry]) -> dict[str, Entry]:
    """Returns the intact files; logs a sentence about each other one."""
    whole = {}
    for name, (size, digest) in with_progress(known.items(), len(known), "verifying files"):
        if mistake := mistake_of(epath.Path(folder / name), size, digest, through=True):
            log(mistake)
        else:
            whole[name] = (size, digest)
    return whole


def _pack_all(
    shards: Sequence[Shard],
    folder: Path,
    class_names: Sequence[str],
    journal: TextIO,
    digests: dict[str, list[bytes]],
) -> dict[str, Entry]:
    """Packs the shards in threads, and writes each finished one to the journal.

    Adds the digests of its images' contents to `digests`.
    """
    entries: dict[str, Entry] = {}
    images = sum(len(shard.examples) for shard in shards)
    packing = _packing(shards, folder, class_names, digests)
    for news in with_progress(packing, images, "packing images"):
        if news:
            name, size, digest = news
            entries[name] = (size, digest)
            print(json.dumps(news), file=journal, flush=True)
            os.fsync(journal.fileno())
    return entries


def _packing(
    shards: Sequence[Shard],
    folder: Path,
    class_names: Sequence[str],
    digests: dict[str, list[bytes]],
) -> Iterator[tuple[str, int, str] | None]:
    """Yields for each image None, or, for a shard's last, the shard's name, size and SHA-256."""
    news: queue.SimpleQueue[tuple[str, int, str] | BaseException | None] = queue.SimpleQueue()
    stop = threading.Event()
    serialise = serialiser(class_names)

    def pack_shard(shard: Shard) -> None:
        digests[shard.name] = []
        add = digests[shard.name].append

        def write(example: Example, content: bytes) -> bytes:
            add(content_digest(content, split_page(example.id)[1]))
            return serialise(example, content)

        try:
            news.put(_pack_shard(shard, folder, write, lambda: news.put(None), stop))
        except BaseException as error:
            news.put(error)

    executor = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    try:
        for shard in shards:
            executor.submit(pack_shard, shard)
        for _ in range(sum(len(shard.examples) for shard in shards)):
            one = news.get()
            if isinstance(one, BaseException):
                raise one
            yield one
    finally:
        stop.set()
        executor.shutdown(cancel_futures=True)


def _pack_shard(
    shard: Shard,
    folder: Path,
    serialise: Callable[[Example, bytes], bytes],
    packed_one: Callable[[], None],
    stop: threading.Event,
) -> tuple[str, int, str]:
    """Writes a shard, under a draft's name until complete; returns its name, size and SHA-256."""
    from array_record.python import array_record_module

    with replacing(folder / shard.name) as draft:
        try:
            # Images are compressed already, and random access needs one record a group.
            writer = array_record_module.ArrayRecordWriter(str(draft), "group_size:1,uncompressed")
            for number, (example, size) in enumerate(zip(shard.examples, shard.sizes, strict=True)):
                if stop.is_set():
                    raise concurrent.futures.CancelledError
                content = read_image_file(example.path, name=example.id)
                if len(content) != size:
                    refuse(
                        f'the image "{example.path}" changed while it was packed: start once more'
                    )
                writer.write(serialise(example, content))
                if number:
                    packed_one()
            writer.close()
        except RuntimeError as error:  # of the writer, such as a full disk
            raise OSError(str(error)) from error
        return shard.name, draft.stat().st_size, digest_of(draft)
