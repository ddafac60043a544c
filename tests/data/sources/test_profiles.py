"""Every source applies ICC profiles, or does not, as the config or the run's transform asks."""

import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from configs import base
from dkse_jax.data.decode import decode_image
from dkse_jax.data.sources import load_all, load_splits
from dkse_jax.data.sources.tfds import load_tfds
from dkse_jax.data.splits import SPLITS
from dkse_jax.data.tools import pack
from dkse_jax.data.transform import Transform
from dkse_jax.evaluation.run import choose_source
from dkse_jax.trained import read_run
from dkse_jax.training.setup import describe_inputs
from dkse_jax.workdir import description
from tests.data.profiles import PROPHOTO, gamma, rgb_profile

PRO = rgb_profile("ProPhoto RGB", PROPHOTO, gamma(1.8))
CLASSES = ("ink", "oil")


def tagged(number):
    buffer = io.BytesIO()
    shades = np.full((8, 8, 3), (60 + number, 120, 180 - number), np.uint8)
    Image.fromarray(shades).save(buffer, "PNG", icc_profile=PRO)
    return buffer.getvalue()


class TaggedArt(tfds.core.GeneratorBasedBuilder):
    """Two images of each class in each split, with the profile in their files."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=CLASSES),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {name: self._examples(4 * i) for i, name in enumerate(SPLITS)}

    def _generate_examples(self):
        raise NotImplementedError

    def _examples(self, first):
        for i in range(first, first + 4):
            yield i, {"image": tagged(i), "label": i % 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("folder")
    lines = ["file_name,label,split"]
    for i in range(12):
        (root / f"{i:02}.png").write_bytes(tagged(i))
        lines.append(f"{i:02}.png,{CLASSES[i % 2]},{SPLITS[i // 4]}")
    (root / "metadata.csv").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="module")
def roots(folder, tmp_path_factory):
    records, prepared = (tmp_path_factory.mktemp(name) for name in ("records", "tfds"))
    pack.pack(str(folder), str(records), seed=0, val_percent=15, test_percent=15)
    TaggedArt(data_dir=prepared, file_format="array_record").download_and_prepare()
    return {"folder": folder, "records": records, "tfds": prepared, "builder": prepared}


def pixels(source):
    return np.array(sorted(source.read(i, None)[0, 0].tolist() for i in range(len(source))))


def expected(numbers, profiles):
    return np.array(
        sorted(decode_image(tagged(i), profiles=profiles)[0, 0].tolist() for i in numbers)
    )


@pytest.mark.parametrize("source", ["folder", "records", "tfds", "builder"])
@pytest.mark.parametrize("profiles", [True, False])
def test_a_source_follows_the_config(roots, source, profiles):
    config = base.get_config().data
    config.source, config.root = source, str(roots[source])
    config.colour_profiles = profiles
    config.tfds.builder, config.tfds.train_split = "tagged_art", "train"
    config.tfds.val_split = "val"
    if source == "builder":
        config.source, config.tfds.class_of = "tfds", "builder"
        splits = load_tfds(config.tfds, config.root, profiles)
    else:
        splits = load_splits(config, 0)
    assert not np.array_equal(expected(range(4), True), expected(range(4), False))
    for i, name in enumerate(SPLITS):
        numbers = range(4 * i, 4 * i + 4)
        np.testing.assert_array_equal(pixels(splits[name]), expected(numbers, profiles))


@pytest.mark.parametrize("profiles", [True, False])
def test_other_images_are_read_by_the_transform_of_the_run(folder, config, tmp_path, profiles):
    config.data.source, config.data.root = "folder", str(folder)
    config.data.colour_profiles = profiles
    inputs = describe_inputs(load_splits(config.data, 0), Transform.of(config.data))
    description.begin(tmp_path, config, inputs)
    _, source = choose_source(read_run(tmp_path), "all", folder)
    np.testing.assert_array_equal(pixels(source), expected(range(12), profiles))
    np.testing.assert_array_equal(
        pixels(load_all(str(folder), CLASSES, profiles)), expected(range(12), profiles)
    )
