"""Packing: equal bytes from any number of starts, and never an incomplete folder."""

import fcntl
import json
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from configs import base
from dkse_jax import cli
from dkse_jax.cli import pack as pack_command
from dkse_jax.data.sources import load_splits
from dkse_jax.data.sources.folder import load_folder
from dkse_jax.data.sources.records import load_records
from dkse_jax.data.tools import pack
from dkse_jax.errors import UserError


def make_images(root, count=20):
    """Writes two class folders of JPEGs of noise; the last ink is no image."""
    rng = np.random.default_rng(0)
    for label in ("ink", "oil"):
        (root / label).mkdir(parents=True)
        for i in range(count):
            picture = Image.fromarray(rng.integers(0, 255, (20, 24, 3), np.uint8))
            picture.save(root / label / f"{i:02}.jpg")
    (root / "ink" / f"{count:02}.jpg").write_bytes(b"mud")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    make_images(root)
    return root


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(pack, "SHARD_BYTES", 4000)  # about 3 images


def pack_images(images, out, **splits):
    splits = {"seed": 0, "val_percent": 15, "test_percent": 15} | splits
    pack.pack(str(images), str(out), **splits)
    return contents(out)


def contents(out):
    return {file.name: file.read_bytes() for file in out.iterdir()}


@pytest.fixture
def packed_names(monkeypatch):
    """Records the names of packed shards, in the order in which they were begun."""
    names, whole = [], pack._pack_shard

    def watched(shard, *rest):
        names.append(shard.name)
        return whole(shard, *rest)

    monkeypatch.setattr(pack, "_pack_shard", watched)
    return names


def test_the_same_images_give_the_same_bytes(images, tmp_path):
    first, second = pack_images(images, tmp_path / "a"), pack_images(images, tmp_path / "b")
    assert first == second
    shards = [name for name in first if "array_record" in name]
    assert len([name for name in shards if "-train." in name]) > 3
    assert not [name for name in first if name.endswith(".tmp") or name == "packing.jsonl"]


def test_packing_goes_on_after_a_stop(images, tmp_path, packed_names, monkeypatch):
    expected = pack_images(images, tmp_path / "a")
    total = len(packed_names)
    read, reads = pack.read_image_file, []

    def stopping(path, name):
        reads.append(name)
        if len(reads) == 20:
            raise KeyboardInterrupt
        return read(path, name)

    monkeypatch.setattr(pack, "read_image_file", stopping)
    with pytest.raises(KeyboardInterrupt):
        pack_images(images, tmp_path / "b")
    with pytest.raises(UserError, match=r"not packed to the end: start dkse-pack again"):
        load_records(str(tmp_path / "b"))
    journal = tmp_path / "b" / "packing.jsonl"
    done = [json.loads(line)[0] for line in journal.read_text().splitlines()[1:]]
    assert 2 <= len(done) < total
    with journal.open("a") as file:
        file.write('["packed_ima')  # as a kill leaves it
    packed_names.clear()
    assert pack_images(images, tmp_path / "b") == expected
    assert sorted(packed_names + done) == sorted(name for name in expected if "array_rec" in name)


def test_a_finished_folder_is_verified_and_what_is_not_whole_packed_anew(
    images, tmp_path, packed_names, capsys
):
    expected = pack_images(images, tmp_path)
    packed_names.clear()
    assert pack_images(images, tmp_path) == expected
    assert packed_names == []
    assert "every checksum was verified" in capsys.readouterr().out
    damaged, missing = sorted(name for name in expected if "-train.array_record" in name)[:2]
    data = bytearray(expected[damaged])
    data[70_000] ^= 1
    (tmp_path / damaged).write_bytes(data)
    (tmp_path / missing).unlink()
    (tmp_path / "val.ids.npy").write_bytes(b"")
    assert pack_images(images, tmp_path) == expected
    assert sorted(packed_names) == [damaged, missing]
    out = capsys.readouterr().out
    assert f'{damaged}" is damaged: its checksum' in out
    assert f'{missing}" is missing' in out
    assert 'val.ids.npy" is damaged: it has 0 bytes' in out


def test_other_images_labels_or_splits_are_not_mixed(images, tmp_path):
    before = pack_images(images, tmp_path / "out")
    with pytest.raises(UserError, match=r"was packed from other images, labels or splits than"):
        pack_images(images, tmp_path / "out", seed=1)
    assert before.items() <= contents(tmp_path / "out").items()


def test_mistakes(images, tmp_path):
    (tmp_path / "file").touch()
    for out, sentence in (
        (images / "out", "is inside the folder of the images"),
        (tmp_path, "holds something else than records"),
        (tmp_path / "file", "is not a folder"),
        ("gs://bucket/out", "is not a local folder"),
    ):
        with pytest.raises(UserError, match=sentence):
            pack.pack(str(images), str(out), seed=0, val_percent=15, test_percent=15)
    with pytest.raises(UserError, match="val_percent must be above 0"):
        pack_images(images, tmp_path / "new", val_percent=0)
    assert not (tmp_path / "new").exists()


def test_a_class_name_that_is_no_plain_text_is_refused(tmp_path):
    make_images(tmp_path / "in", count=3)
    (tmp_path / "in" / "ink").rename(tmp_path / "in" / "in\nk")
    with pytest.raises(UserError, match=r'the class "in\ufffdk" cannot be packed'):
        pack_images(tmp_path / "in", tmp_path / "out")


def test_what_training_takes_is_packed_with_the_same_names(tmp_path):
    names = ("ink\u00a0", " Du\u0308rer", "zero\u200bwidth")
    for name in names:
        (tmp_path / "in" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (9, 9)).save(tmp_path / "in" / name / f"{i}.png")
    pack_images(tmp_path / "in", tmp_path / "out")
    expected = load_folder(str(tmp_path / "in"), 0, 15, 15)
    for split, source in load_records(str(tmp_path / "out")).items():
        assert source.class_names == ("D\u00fcrer", "ink", "zerowidth")
        assert tuple(source.ids) == expected[split].ids
        assert source.labels.tolist() == expected[split].labels.tolist()


def test_names_that_look_alike_are_not_packed(tmp_path):
    make_images(tmp_path / "in", count=3)
    (tmp_path / "in" / "oil").rename(tmp_path / "in" / "Ink")
    with pytest.raises(UserError, match='the classes "Ink" and "ink" of'):
        pack_images(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_images_without_a_test_split_are_packed(images, tmp_path, config):
    pack_images(images, tmp_path / "out", test_percent=0)
    config.data.source, config.data.root = "records", str(tmp_path / "out")
    splits = load_splits(config.data, 0)
    expected = load_folder(str(images), 0, 15, 0)
    for split, source in splits.items():
        assert tuple(source.ids) == tuple(source.groups) == expected[split].ids
        assert source.labels.tolist() == expected[split].labels.tolist()
    assert len(splits["test"]) == 0
    before = contents(tmp_path / "out")
    assert pack_images(images, tmp_path / "out", test_percent=0) == before
    builder = tfds.builder_from_directory(str(tmp_path / "out"))
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        split: len(source) for split, source in splits.items() if len(source)
    }


def test_an_image_that_changes_meanwhile_is_named(tmp_path, monkeypatch):
    make_images(tmp_path / "in")
    measured, changed = pack._shards, tmp_path / "in" / "oil" / "03.jpg"

    def measure_and_change(split, examples):
        shards = measured(split, examples)
        if split == "test":
            changed.write_bytes(b"")
        return shards

    monkeypatch.setattr(pack, "_shards", measure_and_change)
    with pytest.raises(UserError, match=r'oil/03.jpg" changed while it was packed'):
        pack_images(tmp_path / "in", tmp_path / "out")


def test_two_at_once_are_refused(images, tmp_path):
    with (tmp_path / "packing.jsonl").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is packing into"):
            pack_images(images, tmp_path)


def test_a_full_disk_is_told(images, tmp_path, monkeypatch):
    from array_record.python import array_record_module

    class Full:
        def __init__(self, path, options):
            raise RuntimeError("No space left on device\nat once")

    monkeypatch.setattr(array_record_module, "ArrayRecordWriter", Full)
    with pytest.raises(UserError, match=r"cannot pack into .*MiB free\): No space left on dev"):
        pack_images(images, tmp_path / "out")


def call(monkeypatch, capsys, *arguments):
    """Returns (exit code, stdout, stderr)."""
    monkeypatch.setattr(sys, "argv", ["prepare", *map(str, arguments)])
    pack_command.FLAGS.unparse_flags()
    for flag in pack_command.FLAGS:
        pack_command.FLAGS[flag].unparse()
    try:
        cli.run(pack_command.main, pack_command.FLAGS, positional=("root", "out"))
        code = 0
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


def test_exit_codes(images, tmp_path, monkeypatch, capsys):
    code, out, err = call(monkeypatch, capsys, images, tmp_path / "out")
    assert (code, err) == (0, "")
    assert 'out" holds 41 images in' in out
    for arguments, sentence in (
        ([], "name the folder of the images and a new one"),
        ([images], "name the folder of the images and a new one"),
        ([images, tmp_path / "out", "more"], '"more" is not a flag'),
        ([tmp_path / "gone", tmp_path / "new"], "does not exist"),
    ):
        code, out, err = call(monkeypatch, capsys, *arguments)
        assert (code, out) == (2, "")
        assert sentence in err
        assert err.count("\n") == 1


def test_the_defaults_are_those_of_a_training():
    config = base.get_config()
    shares = config.data.folder
    assert pack_command.FLAGS["seed"].default == config.seed
    assert pack_command.FLAGS["val_percent"].default == shares.val_percent
    assert pack_command.FLAGS["test_percent"].default == shares.test_percent


def test_an_image_that_is_gone_is_named(tmp_path, monkeypatch):
    make_images(tmp_path / "images", count=9)
    checked = pack.check_packable

    def check_and_remove(*arguments):
        checked(*arguments)
        (tmp_path / "images" / "oil" / "03.jpg").unlink()

    monkeypatch.setattr(pack, "check_packable", check_and_remove)
    with pytest.raises(
        UserError, match=r'^the image "\S+/oil/03.jpg" cannot be read: No such file'
    ):
        pack_images(tmp_path / "images", tmp_path / "out")
