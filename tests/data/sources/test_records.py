"""Records equal the folder from which they were packed; a damaged shard is reported."""

import json
import shutil
import subprocess
import sys

import fsspec
import numpy as np
import pytest
import tensorflow_datasets as tfds
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from dkse_jax.data.decode import BadImage
from dkse_jax.data.pipeline import batch_hash, fingerprint
from dkse_jax.data.sources import load_splits, records
from dkse_jax.data.sources.folder import load_folder
from dkse_jax.data.sources.records import load_records
from dkse_jax.data.splits import SPLITS
from dkse_jax.data.tools import pack
from dkse_jax.errors import UserError
from dkse_jax.files import cache_folder

ODD = "no\udce9text.png"  # a byte that is not valid text


def make_images(root):
    """Writes three classes in all splits, with groups; the first file of train is no image."""
    rng = np.random.default_rng(0)
    lines = ["file_name,label,group,split"]
    root.mkdir()
    for split in SPLITS:
        for i in range(12):
            name = f"{split}{i:02}.{'png' if i % 2 else 'jpg'}"
            side = 30 + i
            Image.fromarray(rng.integers(0, 255, (side, 40, 3), np.uint8)).save(root / name)
            group = "" if i % 3 else f"Mappe {i} von {split}, grün"
            lines.append(f'{name},{["oil", "ink", "Öl"][i % 3]},"{group}",{split}')
    (root / "train00.jpg").write_bytes(b"mud")
    (root / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images") / "in"
    make_images(root)
    return root


@pytest.fixture(scope="module")
def packed(images, tmp_path_factory):
    out = tmp_path_factory.mktemp("records") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack, "SHARD_BYTES", 10_000)  # several shards for train
        pack.pack(str(images), str(out), seed=0, val_percent=15, test_percent=15)
    return out


@pytest.fixture
def copy(packed, tmp_path):
    return shutil.copytree(packed, tmp_path / "copy")


def train_shards(folder):
    return sorted(folder.glob("*-train.array_record*"))


def test_every_field_and_picture_is_the_folders(images, packed):
    ours, theirs = load_records(str(packed)), load_folder(str(images), 0, 15, 15)
    assert len(train_shards(packed)) > 1
    assert list(ours) == list(theirs)
    for split, source in ours.items():
        expected = theirs[split]
        assert len(source) == len(expected) == 12
        assert source.class_names == expected.class_names == ("ink", "oil", "Öl")
        assert tuple(source.ids) == source.ids[:] == expected.ids
        assert tuple(source.groups) == source.groups[:] == expected.groups
        assert source.labels.dtype == np.int32
        np.testing.assert_array_equal(source.labels, expected.labels)
        assert fingerprint(source) == fingerprint(expected)
        index = np.array([3, 1, 11])
        assert batch_hash(source, index) == batch_hash(expected, index)
        for i in range(split == "train", 12):
            for min_side in (None, 8):
                np.testing.assert_array_equal(source.read(i, min_side), expected.read(i, min_side))


def test_an_unreadable_image_is_a_bad_image_with_its_id(packed):
    with pytest.raises(
        BadImage, match=r'^the image "train00.jpg" cannot be read: it is not a JPEG'
    ):
        load_records(str(packed))["train"].read(0, None)


def test_the_config_leads_to_it(packed, config):
    config.data.source, config.data.root = "records", str(packed)
    assert load_splits(config.data, seed=5)["val"].ids[2] == "val02.jpg"
    config.data.classes = 2
    fewer = load_splits(config.data, seed=5)["val"]
    assert len(fewer) == 8
    assert fewer.ids[2] == "val03.png"


def test_names_that_are_no_text_come_back(tmp_path):
    for label in ("ink", "oil"):
        (tmp_path / "in" / label).mkdir(parents=True)
        for name in ("a.png", "b.png", ODD):
            Image.new("RGB", (9, 9)).save(tmp_path / "in" / label / name)
    pack.pack(str(tmp_path / "in"), str(tmp_path / "out"), seed=0, val_percent=15, test_percent=15)
    expected = load_folder(str(tmp_path / "in"), 0, 15, 15)
    for split, source in load_records(str(tmp_path / "out")).items():
        assert tuple(source.ids) == expected[split].ids
        assert [source.read(i, None).shape for i in range(2)] == [(9, 9, 3)] * 2


def test_tensorflow_datasets_reads_it_without_tensorflow(images, packed):
    code = (
        "import sys, tensorflow_datasets as tfds\n"
        f"builder = tfds.builder_from_directory({str(packed)!r})\n"
        "raw = {'image': tfds.decode.SkipDecoding()}\n"
        "example = builder.as_data_source('val', decoders=raw)[2]\n"
        "print(example['id'], example['label'], 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["b'val02.jpg'", "2", "False"]
    builder = tfds.builder_from_directory(packed)
    assert builder.info.features["label"].names == ["ink", "oil", "Öl"]
    assert [builder.info.splits[split].num_examples for split in SPLITS] == [12, 12, 12]
    raw = {"image": tfds.decode.SkipDecoding()}
    source = load_records(str(packed))["train"]
    for index, example in enumerate(builder.as_data_source("train", decoders=raw)):
        assert example["image"] == (images / source.ids[index]).read_bytes()
        assert example["id"].decode() == source.ids[index]
        assert example["group"].decode() == source.groups[index]
        assert example["label"] == source.labels[index]


def test_a_missing_or_cut_shard_is_named_before_it_is_read(copy, monkeypatch):
    monkeypatch.setattr(records, "CHECKED_BYTES", 0)  # as of a large folder
    shard = train_shards(copy)[1]
    data = shard.read_bytes()
    shard.write_bytes(data[:-1])
    with pytest.raises(UserError, match=rf"{shard.name}. is damaged: it has 131,071 bytes instead"):
        load_records(str(copy))
    shard.unlink()
    with pytest.raises(UserError, match=rf"{shard.name}. is missing; .*dkse-pack packs anew"):
        load_records(str(copy))


def test_a_changed_byte_is_named_at_the_start_or_else_when_read(copy, images, monkeypatch):
    shard = train_shards(copy)[1]
    data = bytearray(shard.read_bytes())
    counts = json.loads((copy / "manifest.json").read_text())["shards"]["train"]
    first = counts[train_shards(copy)[0].name]
    name = load_records(str(copy))["train"].ids[first]
    data[data.index((images / name).read_bytes()) + 50] ^= 1
    shard.write_bytes(data)
    with pytest.raises(UserError, match=rf"{shard.name}. is damaged: its checksum"):
        load_records(str(copy))
    monkeypatch.setattr(records, "CHECKED_BYTES", 0)
    source = load_records(str(copy))["train"]
    with pytest.raises(UserError, match=rf"{shard.name}. is damaged, or gone since") as caught:
        source.read(first, None)
    assert not isinstance(caught.value, BadImage)  # which may be skipped
    assert "\n" not in str(caught.value)
    assert source.read(first - 1, None).ndim == 3


def test_changed_labels_are_named_even_of_a_large_folder(copy, monkeypatch):
    monkeypatch.setattr(records, "CHECKED_BYTES", 0)
    file = copy / "val.labels.npy"
    labels = np.load(file)
    np.save(file, labels[::-1])
    with pytest.raises(UserError, match=r'val.labels.npy" is damaged: its checksum'):
        load_records(str(copy))


def test_a_shard_under_the_name_of_another_is_found_out(copy, monkeypatch):
    monkeypatch.setattr(records, "CHECKED_BYTES", 0)
    first, second = train_shards(copy)[:2]
    shutil.copy(second, first)
    assert first.stat().st_size == second.stat().st_size
    with pytest.raises(UserError, match=r'the record of "train01.png" holds "train'):
        load_records(str(copy))["train"].read(1, None)


def test_folders_without_a_good_manifest(copy, images):
    for root, sentence in (
        (copy.parent / "gone", "does not exist"),
        (images, r"holds no records, since it has no manifest.json: dkse-pack"),
    ):
        with pytest.raises(UserError, match=sentence):
            load_records(str(root))
    manifest = copy / "manifest.json"
    tree = json.loads(manifest.read_text())
    for text in (
        "",
        "{}",
        "[]",
        json.dumps(tree | {"files": {}}),
        json.dumps(tree | {"shards": []}),
    ):
        manifest.write_text(text)
        with pytest.raises(UserError, match=r'manifest.json" (cannot be read|is damaged)'):
            load_records(str(copy))


@pytest.fixture
def bucket(packed, monkeypatch):
    """Provides a bucket, s3://art, in memory, as a dict of files by address."""
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(fsspec, "filesystem", lambda name, **_: MemoryFileSystem())
    for file in packed.iterdir():
        MemoryFileSystem().pipe(f"s3://art/{file.name}", file.read_bytes())
    return MemoryFileSystem.store


def test_a_bucket_is_read_file_by_file_through_the_users_cache(bucket, packed):
    cache = cache_folder("records")
    shutil.rmtree(cache, ignore_errors=True)
    source = load_records("s3://art")["train"]
    before = len(list(cache.iterdir()))  # the arrays, and no shard
    expected = load_records(str(packed))["train"]
    assert tuple(source.ids) == tuple(expected.ids)
    np.testing.assert_array_equal(source.read(1, None), expected.read(1, None))
    assert len(list(cache.iterdir())) == before + 1
    bucket.clear()  # what was read once is not fetched again
    np.testing.assert_array_equal(source.read(1, None), expected.read(1, None))


def test_mistakes_in_a_bucket_are_named(bucket):
    shutil.rmtree(cache_folder("records"), ignore_errors=True)
    shards = sorted(address for address in bucket if "-train.array_record" in address)
    whole = bucket[shards[0]]
    MemoryFileSystem().pipe(shards[0], b"x" * len(whole.getvalue()))
    source = load_records("s3://art")["train"]
    with pytest.raises(UserError, match=rf'"{shards[0]}" is damaged: its checksum'):
        source.read(0, None)
    assert all(len(file.name) == 64 for file in cache_folder("records").iterdir())  # no draft
    del bucket[shards[1]]
    with pytest.raises(UserError, match=rf'"{shards[1]}" is missing'):
        load_records("s3://art")
    with pytest.raises(UserError, match=r'"s3://music" holds no records'):
        load_records("s3://music")
