"""Data sets prepared by TensorFlow Datasets, read without TensorFlow."""

import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from configs import base
from dkse_jax.data.sources import load_splits
from dkse_jax.data.sources.tfds import load_tfds
from dkse_jax.errors import UserError
from tests.data.images import png

NAMES = ["oil", "chalk", "ink"]  # not sorted


def jpeg(shade):
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6  # only our decoder applies it
    Image.new("RGB", (64, 32), (shade, 0, 0)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


class TinyArt(tfds.core.GeneratorBasedBuilder):
    """Image i is of class i % 3 and has the shade 5 i; the test images are 40 to 45."""

    VERSION = tfds.core.Version("1.0.0")
    CHANNELS, DTYPE = 3, np.uint8

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, self.CHANNELS), dtype=self.DTYPE),
            "label": tfds.features.ClassLabel(names=NAMES),
            "year": tfds.features.Scalar(np.int64),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._examples(0, 40), "test": self._examples(40, 46)}

    def _generate_examples(self):
        raise NotImplementedError

    def _examples(self, start, end):
        for i in range(start, end):
            yield i, {"image": jpeg(5 * i), "label": i % 3, "year": i}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("tfds")
    TinyArt(data_dir=root, file_format="array_record").download_and_prepare()
    return str(root)


@pytest.fixture
def config():
    config = base.get_config().data.tfds
    config.builder = "tiny_art"
    return config


def test_splits_labels_and_pictures(root, config):
    sources = load_tfds(config, root)
    assert {split: len(source) for split, source in sources.items()} == {
        "train": 32,
        "val": 8,
        "test": 6,
    }
    seen = set()
    for source in sources.values():
        assert source.class_names == ("chalk", "ink", "oil")
        assert source.labels.dtype == np.int32
        assert source.groups == source.ids
        for index, label in enumerate(source.labels):
            image = source.read(index, None)
            assert image.shape == (64, 32, 3)
            assert source.read(index, 8).shape == (16, 8, 3)
            number = round(image[0, 0, 0] / 5)
            assert source.class_names[label] == NAMES[number % 3]
            seen.add(number)
    assert seen == set(range(46))
    assert sources["val"].ids[7] == "train[80%:]/7"
    assert sources["test"].ids[0] == "test/0"


def test_load_splits_follows_the_config(root):
    data_config = base.get_config().data
    data_config.source = "tfds"
    data_config.root = root
    data_config.tfds.builder = "tiny_art:1.0.0"
    data_config.tfds.val_split = "train[29:]"
    data_config.tfds.train_split = "train[:29]"
    assert len(load_splits(data_config, seed=0)["val"]) == 11


def test_prepared_data_need_neither_their_code_nor_tensorflow(root):
    code = (
        "import sys; from configs import base; from dkse_jax.data import sources\n"
        "assert 'tensorflow_datasets' not in sys.modules\n"
        "config = base.get_config().data\n"
        f"config.source, config.root, config.tfds.builder = 'tfds', {root!r}, 'tiny_art'\n"
        "loaded = sources.load_splits(config, 0)\n"
        "print(loaded['test'].read(0, None).shape)\n"
        "print('tensorflow' in sys.modules, 'jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["(64, 32, 3)", "False False"]


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("builder", "", "data.tfds.builder is empty"),
        ("builder", "tiny_rat", 'no data set "tiny_rat", .*; did you mean "tiny_art"'),
        ("builder", "imagenet_s", 'no data set "imagenet_s", .*; did you mean "imagenet_'),
        ("builder", "tiny_art:2.0.0", "cannot be opened: .*2.0.0, only: 1.0.0"),
        ("builder", "tiny_art:x:y", "cannot be opened"),
        ("builder", "cifar10", '"cifar10" is not prepared in .*file_format="array_record"'),
        ("image_key", "imge", 'image_key="imge" is no feature .*; did you mean "image"'),
        ("image_key", "year", 'image_key="year" is not an image in .*; choose one of image'),
        ("label_key", "lable", 'label_key="lable" is no feature .*; did you mean "label"'),
        ("label_key", "year", 'label_key="year" is not a label with class names'),
        ("train_split", "trian[:80%]", 'train_split=.* no split "trian"; did you mean "train"'),
        ("val_split", "train[80%:]+tst", 'val_split=.* no split "tst"; did you mean "test"'),
        ("train_split", "train[:80", r'train_split="train\[:80" is not in the form of'),
        ("val_split", "train[40:]", r'val_split="train\[40:\]" has no examples'),
        ("val_split", "train[70%:]", r"val_split=.* shares examples with train_split="),
        ("test_split", "train[39:]", r"test_split=.* shares examples with val_split="),
    ],
)
def test_mistakes_in_the_config(root, config, field, value, match):
    config[field] = value
    with pytest.raises(UserError, match=match) as caught:
        load_tfds(config, root)
    assert "\n" not in str(caught.value)


def test_files_that_need_tensorflow_are_refused(root, config, tmp_path):
    folder = tmp_path / "tiny_art" / "1.0.0"
    folder.mkdir(parents=True)
    for file in (tfds.builder("tiny_art", data_dir=root).data_path).iterdir():
        name = file.name.replace("array_record", "tfrecord")
        (folder / name).write_bytes(file.read_bytes().replace(b"array_record", b"tfrecord"))
    assert json.loads((folder / "dataset_info.json").read_text())["fileFormat"] == "tfrecord"
    with pytest.raises(UserError, match=r'can only be read with TensorFlow.*"array_record"'):
        load_tfds(config, str(tmp_path))


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    root = tmp_path_factory.mktemp("parquet")
    TinyArt(data_dir=root, file_format="parquet").download_and_prepare()
    return str(root)


@pytest.mark.parametrize("class_of", ["label", "builder"])
def test_a_format_whose_slices_are_not_read_is_refused(parquet, config, class_of):
    config.class_of = class_of
    with pytest.raises(UserError, match=r'is in the format parquet, .*file_format="array_record"'):
        load_tfds(config, parquet)


def test_another_number_of_records_than_promised_is_refused(root, config, monkeypatch):
    monkeypatch.setattr(
        tfds.core.DatasetBuilder, "as_data_source", lambda self, split, decoders: range(40)
    )
    with pytest.raises(UserError, match=r'train_split="train\[:80%\]" gives 40 records, .* 32'):
        load_tfds(config, root)


class SortedArt(TinyArt):
    """The training images are sorted by class."""

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self, features=super()._info().features, disable_shuffling=True
        )

    def _examples(self, start, end):
        for i in range(start, end):
            yield i, {"image": jpeg(5 * i), "label": i // 14 if i < 40 else i % 2, "year": i}


def test_slices_of_sorted_images_that_lack_a_class_are_refused(config, tmp_path):
    SortedArt(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    data_config = base.get_config().data
    data_config.source, data_config.root = "tfds", str(tmp_path)
    data_config.tfds.builder = "sorted_art"

    def choose(train, val, test):
        data_config.tfds.update(train_split=train, val_split=val, test_split=test)
        return load_splits(data_config, 0)

    whole = "train[:8]+train[14:22]+train[28:34]"
    rest = "train[8:14]+train[22:28]+train[34:]"
    for train, val, sentence in (
        ("train[:60%]", "train[60%:80%]", 'class "ink" of "sorted_art" has no images in train'),
        ("train[80%:]", "train[:80%]", 'class "chalk" of "sorted_art" has no images in train'),
        (whole, "train[8:14]", 'class "chalk" of "sorted_art" has no images in val'),
    ):
        with pytest.raises(UserError, match=sentence):
            choose(train, val, "test")
    assert set(choose(whole, rest, "test")["test"].labels) == {0, 2}
    assert len(choose(whole, rest, "")["test"]) == 0


def pixels_of(i, channels, dtype):
    """Values whose high bytes are those of 8 bits, with opaque, transparent and grey pixels."""
    values = np.random.default_rng(i).integers(0, np.iinfo(dtype).max + 1, (6, 7, channels), dtype)
    if channels == 4:
        values[:3, :, 3], values[3:, :, 3] = np.iinfo(dtype).max, 0
    return values


class ArrayArt(TinyArt):
    """Images of other dtypes and channels than those of photographs, as PNG."""

    def _examples(self, start, end):
        for i in range(start, end):
            values = pixels_of(i, self.CHANNELS, self.DTYPE)
            colour_type = {1: 0, 3: 2, 4: 6}[self.CHANNELS]
            bits = 8 * values.itemsize
            rows = [row.astype(f">u{values.itemsize}").tobytes() for row in values]
            image = png(bits, colour_type, rows, values.shape[1::-1])
            yield i, {"image": image, "label": i % 3, "year": i}


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_of_any_integers_and_channels_are_read(
    config, tmp_path, monkeypatch, channels, dtype
):
    monkeypatch.setattr(ArrayArt, "CHANNELS", channels)
    monkeypatch.setattr(ArrayArt, "DTYPE", dtype)
    ArrayArt(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    config.builder = "array_art"
    found = sorted(
        load_tfds(config, str(tmp_path))["test"].read(i, None).tobytes() for i in range(6)
    )
    expected = []
    for i in range(40, 46):
        high = (pixels_of(i, channels, dtype) >> (8 * (np.dtype(dtype).itemsize - 1))).astype(int)
        if channels == 4:
            high[3:] = 255  # transparent pixels are white
        expected.append(np.broadcast_to(high[:, :, :3], (6, 7, 3)).astype(np.uint8).tobytes())
    assert found == sorted(expected)


class FloatArt(TinyArt):
    """Values from 0 to 1, stored as TensorFlow Datasets does it: the bytes of each as RGBA."""

    CHANNELS, DTYPE = 1, np.float32

    def _examples(self, start, end):
        for i in range(start, end):
            yield i, {"image": np.full((6, 7, 1), i / 50, np.float32), "label": i % 3, "year": i}


def encoded_floats(self, values):
    buffer = io.BytesIO()
    Image.fromarray(values.view(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("class_of", ["label", "builder"])
def test_images_of_floats_are_refused(config, tmp_path, monkeypatch, class_of):
    encoder = "tensorflow_datasets.core.features.image_feature._FloatImageEncoder"
    monkeypatch.setattr(f"{encoder}.encode_image_or_path", encoded_floats)
    FloatArt(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    config.builder, config.class_of = "float_art", class_of
    with pytest.raises(UserError) as caught:
        load_tfds(config, str(tmp_path))
    assert str(caught.value) == (
        'image_key="image" of float_art has the dtype float32, whose white is not known: prepare'
        " the data set again with images of uint8 or uint16"
    )


def damage(data, how):
    if how == "a flipped byte":
        held = [place for place, byte in enumerate(data) if byte]
        place = held[len(held) // 2]
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    return {"a byte less": data[:-1], "half": data[: len(data) // 2], "nothing": b""}[how]


@pytest.mark.parametrize("how", ["a flipped byte", "a byte less", "half", "nothing", "no file"])
def test_a_damaged_file_is_named(root, config, tmp_path, how):
    folder = shutil.copytree(root, tmp_path / "copy")
    (file,) = folder.glob("*/*/*-train.array_record*")
    if how == "no file":
        file.unlink()
    else:
        file.write_bytes(damage(file.read_bytes(), how))
    with pytest.raises(UserError, match=f'"{file}" is damaged.*; prepare the data set again$'):
        load_tfds(config, str(folder))
    config.class_of, config.builder = "builder", "tiny_art"
    if how != "a flipped byte":
        with pytest.raises(UserError, match=f'"{file}" is damaged'):
            load_tfds(config, str(folder))
        return
    source = load_tfds(config, str(folder))["train"]
    with pytest.raises(UserError, match=f'"{file}" is damaged, or gone since the start'):
        [source.read(index, None) for index in range(len(source))]


def test_label_names_that_look_alike_are_refused(config, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "NAMES", ["oil", "Ink", "ink"])
    TinyArt(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    data_config = base.get_config().data
    data_config.source, data_config.root = "tfds", str(tmp_path)
    data_config.tfds = config
    with pytest.raises(UserError, match='classes "Ink" and "ink" of "tiny_art" differ only in'):
        load_splits(data_config, 0)


def test_unlabelled_examples_are_refused(config, tmp_path):
    class TinyTest(TinyArt):
        def _examples(self, start, end):
            for i in range(start, end):
                yield i, {"image": jpeg(i), "label": -1 if i > 40 else 0, "year": i}

    TinyTest(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    config.builder = "tiny_test"
    with pytest.raises(UserError, match='test_split="test" has examples without a label'):
        load_tfds(config, str(tmp_path))
