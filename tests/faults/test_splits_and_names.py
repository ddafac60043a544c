"""F29, F30: splits that cannot train or measure, and two spellings of one name."""

import random
import shlex
import unicodedata

import numpy as np
import pytest
from PIL import Image

from dkse_jax.data.sources import load_splits
from dkse_jax.errors import UserError
from dkse_jax.training.loop import train
from tests.data.sources.test_tfds import SortedArt, TinyArt
from tests.faults import runs, thin
from tests.short import FULL

ENDS = (" ", "\u00a0", "\u200b", "\ufeff", "\u3000", "\t")


def make_images(root, labels=("ink", "oil"), each=20, columns="file_name,label,split"):
    """Writes a metadata.csv of small pictures, of each class half in train, a quarter in val."""
    rng = np.random.default_rng(0)
    rows = []
    root.mkdir(parents=True, exist_ok=True)
    for number in range(len(labels) * each):
        name = f"{number:03}.png"
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8)).save(root / name)
        place = number // len(labels)
        split = "train" if place < each // 2 else "val" if place < 3 * each // 4 else "test"
        rows.append([name, labels[number % len(labels)], split])
    write(root, rows, columns)
    return rows


def write(root, rows, columns="file_name,label,split"):
    text = "\n".join([columns, *(",".join(row) for row in rows)])
    (root / "metadata.csv").write_text(text, encoding="utf-8")


def config_of(source, root, **fields):
    config = thin.get_config()
    config.data.source, config.data.root = source, str(root)
    config.update_from_flattened_dict(fields)
    return config


def refused(config, tmp_path):
    """Returns the sentence that refuses a training; nothing is left behind."""
    with pytest.raises(UserError) as caught:
        train(config, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
    return str(caught.value)


@pytest.mark.fault("F29", "a class that train or val lacks, in a folder and in a TFDS data set")
def test_a_class_that_a_split_lacks_is_refused(tmp_path):
    rows = make_images(tmp_path / "images")
    for split in ("train", "val"):
        write(tmp_path / "images", [row for row in rows if row[1:] != ["oil", split]])
        sentence = refused(config_of("folder", tmp_path / "images"), tmp_path)
        assert sentence.startswith('the class "oil" of "')
        assert f"has no images in {split}: train and val each need" in sentence
    SortedArt(data_dir=tmp_path / "tfds", file_format="array_record").download_and_prepare()
    slices = {
        "data.tfds.builder": "sorted_art",
        "data.tfds.train_split": "train[:60%]",
        "data.tfds.val_split": "train[60%:80%]",
        "data.tfds.test_split": "train[80%:]",
    }
    sentence = refused(config_of("tfds", tmp_path / "tfds", **slices), tmp_path)
    assert sentence.startswith('the class "ink" of "sorted_art" has no images in train')


@pytest.mark.fault("F29", "TFDS files of which slices are not read: each split is the whole set")
def test_parquet_files_are_refused(tmp_path):
    TinyArt(data_dir=tmp_path / "tfds", file_format="parquet").download_and_prepare()
    config = config_of("tfds", tmp_path / "tfds", **{"data.tfds.builder": "tiny_art"})
    sentence = refused(config, tmp_path)
    assert "is in the format parquet" in sentence
    assert sentence.endswith('file_format="array_record"')


@pytest.mark.fault("F29", "TFDS files with a byte flipped, cut off or gone")
@pytest.mark.parametrize("seed", range(10 if FULL else 1))
def test_a_damaged_array_record_is_named(tmp_path, seed):
    TinyArt(data_dir=tmp_path / "tfds", file_format="array_record").download_and_prepare()
    (file,) = (tmp_path / "tfds").glob("*/*/*-train.array_record*")
    data, rng = file.read_bytes(), random.Random(seed)
    held = [place for place, byte in enumerate(data) if byte]
    place = rng.choice(held[len(held) // 4 : len(held) // 2])
    flipped = bytearray(data)
    flipped[place] ^= 1 << rng.randrange(8)
    config = config_of("tfds", tmp_path / "tfds", **{"data.tfds.builder": "tiny_art"})
    for damaged in (flipped, data[: rng.randrange(len(data))], data + b"\0"):
        file.write_bytes(damaged)
        assert refused(config, tmp_path).startswith(f'"{file}" is damaged')
    file.unlink()
    assert refused(config, tmp_path).startswith(f'"{file}" is damaged or missing')


@pytest.mark.fault("F29", "data without a test split: trained, and no number of a test")
@pytest.mark.full
def test_no_test_split(tmp_path):
    rows = make_images(tmp_path / "images")
    write(tmp_path / "images", [row for row in rows if row[2] != "test"])
    flags = ["--config.data.source=folder", f"--config.data.root={tmp_path}/images"]
    process = runs.train(tmp_path / "my run 1", *flags, "--config.train.epochs=1")
    assert process.end() == 0, process.output
    assert process.output.count("caution: there is no test split") == 1
    command = shlex.split(process.output.splitlines()[-1])
    assert command == ["done:", "dkse-eval", f"--workdir={tmp_path}/my run 1", "--split=val"]
    process = runs.Process("eval.py", command[2])
    assert process.end() == 2, process.output
    assert process.output.startswith("the run's data have no test split: name --split=val")
    process = runs.Process("eval.py", *command[2:])
    assert process.end() == 0, process.output


@pytest.mark.fault("F30", "spaces, invisible characters and Unicode forms in labels and splits")
@pytest.mark.parametrize("seed", range(10 if FULL else 2))
def test_spellings_that_look_the_same_are_one_name(tmp_path, seed):
    rng, labels = random.Random(seed), ("D\u00fcrer", "oil painting")
    rows = make_images(tmp_path / "images", labels)
    config = config_of("folder", tmp_path / "images")
    expected = load_splits(config.data, 0)
    for row in rows:
        form = rng.choice(("NFC", "NFD"))
        word = rng.choice((str.lower, str.upper, str.title))(row[2])
        row[1:] = [
            rng.choice(ENDS) + text + rng.choice(ENDS)
            for text in (unicodedata.normalize(form, row[1]), word)
        ]
    write(tmp_path / "images", rows)
    for split, source in load_splits(config.data, 0).items():
        assert source.class_names == labels
        assert source.ids == expected[split].ids
        assert source.labels.tolist() == expected[split].labels.tolist()


@pytest.mark.fault("F30", "labels and groups that differ only in case, inner spaces or a dot")
@pytest.mark.parametrize("seed", range(10 if FULL else 1))
def test_spellings_that_look_alike_are_refused(tmp_path, seed):
    rng = random.Random(seed)
    columns = "file_name,label,split,group"
    for other in ("Oil painting", "oil  painting", "oil painting.", "oil\u00a0painting"):
        rows = make_images(tmp_path / "images", ("ink", "oil painting"))
        row = rng.choice([row for row in rows if row[1] != "ink"])
        row[1] = other
        write(tmp_path / "images", rows)
        sentence = refused(config_of("folder", tmp_path / "images"), tmp_path)
        assert f'"{other}"' in sentence
        assert '"oil painting"' in sentence
        row[1] = "oil painting"
        book = [[*each, f"book {each[0]}"] for each in rows]
        book[0][3], book[-1][3] = "oil painting", other
        write(tmp_path / "images", book, columns)
        sentence = refused(config_of("folder", tmp_path / "images"), tmp_path)
        assert sentence.startswith('the groups "oil painting" and "')


@pytest.mark.fault("F30", "a path with ~, which no shell expands in a flag")
def test_a_tilde_is_the_home_folder(tmp_path):
    home = {"HOME": str(tmp_path)}
    process = runs.Process("eval.py", "--workdir=~/gone", environment=home)
    assert process.end() == 2
    assert process.output.startswith(f"{tmp_path}/gone is not a run")
    flag = "--config.data.root=~/pics"
    process = runs.train("~/run", "--config.data.source=folder", flag, environment=home)
    assert process.end() == 2
    assert process.output.startswith(f'the folder "{tmp_path}/pics" does not exist')
