"""configs/domainnet_media.py on synthetic data written by the builder of TensorFlow Datasets."""

import io
import re
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from configs import base, domainnet_media
from dkse_jax.config import validate
from dkse_jax.data.sources import load_splits
from dkse_jax.errors import UserError

MEDIA = domainnet_media.MEDIA
DOCS = Path(__file__).parents[3] / "docs" / "tfds.md"
TRAIN, TEST = 10, 3


def jpeg(shade):
    buffer = io.BytesIO()
    Image.new("RGB", (12, 12), (shade, shade, shade)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Writes images whose shade is 50 times the medium's index, plus 1 for each image."""
    root = tmp_path_factory.mktemp("tfds")
    for place, medium in enumerate(MEDIA):
        builder = tfds.builder(f"domainnet/{medium}", data_dir=root, file_format="array_record")

        def examples(start, count, place=place):
            for i in range(start, start + count):
                yield i, {"image": jpeg(50 * place + i), "label": i}

        splits = {"train": examples(0, TRAIN), "test": examples(TRAIN, TEST)}
        with mock.patch.object(type(builder), "_split_generators", lambda *_, made=splits: made):
            builder.download_and_prepare()
    return str(root)


@pytest.fixture
def config(root):
    config = domainnet_media.get_config()
    config.data.root = root
    config.data.tfds.train_split = "train[:80%]"
    config.data.tfds.val_split = "train[80%:]"
    config.data.tfds.test_split = "test"
    return config


def test_each_medium_is_a_class_of_its_own_pictures(config):
    validate(config)
    shades = []
    for split, source in load_splits(config.data, 0).items():
        assert source.class_names == tuple(sorted(MEDIA)) == MEDIA
        count = {"train": 8, "val": 2, "test": 3}[split]
        assert source.labels.tolist() == [label for label in range(5) for _ in range(count)]
        assert source.labels.dtype == np.int32
        assert len(set(source.ids)) == len(source) == 5 * count
        assert source.groups == source.ids
        for index, label in enumerate(source.labels):
            assert source.ids[index].startswith(f"{MEDIA[label]}/t")
            shade = int(source.read(index, None)[0, 0, 0])
            assert shade // 50 == label
            shades.append(shade)
    assert sorted(shades) == [50 * label + i for label in range(5) for i in range(TRAIN + TEST)]


def test_the_published_config_refuses_fewer_pictures_than_it_takes(root):
    config = domainnet_media.get_config()
    config.data.root = root
    validate(config)
    with pytest.raises(UserError, match=r"train_split=.* asks for more examples than dom"):
        load_splits(config.data, 0)


def test_the_builder_of_the_docs_is_trained_on(tmp_path, monkeypatch):
    for i, split in enumerate(["train"] * 21 + ["test"]):
        file = tmp_path / "prints" / split / ("woodcut", "etching")[i % 2] / f"{i}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg(i))
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(DOCS), "exec"), {"__name__": "docs"})
    config = base.get_config()
    config.data.source, config.data.root = "tfds", "TFDS_DATA"
    config.data.tfds.builder = "my_prints"
    splits = load_splits(config.data, 0)
    assert {split: len(source) for split, source in splits.items()} == {
        "train": 17,
        "val": 4,
        "test": 1,
    }
    assert splits["test"].class_names == ("etching", "woodcut")
    assert splits["test"].labels.tolist() == [0]
    assert splits["test"].read(0, None)[0, 0, 0] == 21


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("builder", "domainnet/clipart,domainnet/clipart", 'has the class "clipart" twice'),
        ("builder", "domainnet/clipart,domainnet/real", '"domainnet/real" is not prepared'),
        ("builder", "domainnet/clipart,domainet/sketch", 'no data set "domainet/sketch"'),
        ("image_key", "imge", 'image_key="imge" is no feature of domainnet; did you mean "image"'),
        ("test_split", "tst", 'domainnet has no split "tst"; did you mean "test"'),
    ],
)
def test_mistakes(config, field, value, sentence):
    config.data.tfds[field] = value
    with pytest.raises(UserError, match=sentence):
        load_splits(config.data, 0)


@pytest.mark.parametrize(
    ("builder", "class_of"), [("domainnet/clipart", "builder"), ("cifar10,mnist", "label")]
)
def test_several_builders_and_classes_of_builders_go_together(config, builder, class_of):
    config.data.tfds.builder, config.data.tfds.class_of = builder, class_of
    with pytest.raises(UserError, match=r"several builders, .* go with class_of builder"):
        validate(config)
