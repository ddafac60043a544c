"""A run's weights, loaded and used on images of any kind."""

import dataclasses
import io

import jax
import numpy as np
import pytest
from PIL import Image

import dkse_jax
from dkse_jax import sharding
from dkse_jax.data.decode import BadImage, decode_image
from dkse_jax.data.sources import load_splits
from dkse_jax.errors import UserError
from dkse_jax.evaluation.evaluate import predict
from dkse_jax.inference import make_forward, mean_of_views
from dkse_jax.ops.forms import Target
from dkse_jax.training.setup import make_setup
from tests.data.profiles import PROPHOTO, gamma, rgb_profile

pytestmark = pytest.mark.usefixtures("short")


@pytest.fixture(scope="module")
def loaded(trained):
    return dkse_jax.load(trained)


@pytest.fixture(scope="module")
def source(loaded):
    return load_splits(loaded.config.data, loaded.config.seed)["test"]


def test_predictions_are_those_of_the_evaluation(loaded, source):
    expected = predict(
        make_forward(loaded.network, loaded.transform, loaded.mesh),
        loaded.variables,
        source,
        loaded.transform,
        loaded.mesh,
        batch_size=8,
        threads=1,
    )
    answers = list(loaded.predict([source.read(i, None) for i in range(len(source))]))
    assert len(answers) == len(source) == 21
    found = np.stack([answer.probabilities for answer in answers])
    np.testing.assert_allclose(found, np.exp(expected), atol=1e-6)
    for answer, row in zip(answers, expected, strict=True):
        assert answer.class_name == loaded.class_names[row.argmax()]
        assert answer.probability == answer.probabilities.max()


def test_the_network_is_traced_for_the_mesh(trained):
    for count in (1, 8):
        mesh = sharding.make_mesh(jax.devices()[:count])
        assert dkse_jax.load(trained, mesh=mesh).network.target == Target("cpu", count)


def test_files_pil_images_and_arrays_give_the_same(loaded, source, tmp_path):
    pixels = source.read(3, None)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "a.png")
    opened = Image.open(io.BytesIO((tmp_path / "a.png").read_bytes()))
    kinds = [tmp_path / "a.png", str(tmp_path / "a.png"), image, opened, pixels]
    first, *others = loaded.predict(kinds)
    for other in others:
        np.testing.assert_array_equal(other.probabilities, first.probabilities)


def test_a_turned_pil_image_is_made_upright(loaded, source, tmp_path):
    upright = Image.fromarray(source.read(3, None))
    exif = Image.Exif()
    exif[0x0112] = 6  # the stored pixels are to be turned by 270 degrees
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    first, second = loaded.predict([Image.open(tmp_path / "a.png"), upright])
    np.testing.assert_array_equal(first.probabilities, second.probabilities)


@pytest.mark.parametrize("profiles", [True, False])
def test_pictures_are_converted_by_their_profile_if_the_transform_asks(loaded, tmp_path, profiles):
    stored = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    path = tmp_path / "a.png"
    profile = rgb_profile("ProPhoto RGB", PROPHOTO, gamma(1.8))
    Image.fromarray(stored).save(path, icc_profile=profile)
    transform = dataclasses.replace(loaded.transform, colour_profiles=profiles)
    changed = dataclasses.replace(loaded, transform=transform)
    pixels = decode_image(path, profiles=profiles)
    assert np.array_equal(pixels, stored) != profiles
    first, *others = changed.predict([pixels, path, Image.open(path)])
    for other in others:
        np.testing.assert_array_equal(other.probabilities, first.probabilities)


def test_predictions_stream(loaded, source, monkeypatch):
    """The first answers come before the last images are read."""
    from dkse_jax import trained as trained_module

    monkeypatch.setattr(trained_module, "BATCH", 8)
    read = []

    class Images(list):
        def __getitem__(self, index):
            read.append(index)
            return source.read(index % len(source), None)

    images = Images([None] * 400)
    answers = loaded.predict(images)
    next(answers)
    assert max(read) < 200
    assert sum(1 for _ in answers) == 399


def test_features_and_explanations(loaded, source):
    images = [source.read(i, None) for i in range(5)]
    features = loaded.features(images)
    assert features.shape == (5, 4 * 32)
    maps = loaded.features(images, "dkse_6")
    logits = loaded.features(images, "logits")
    best = logits.argmax(axis=1).tolist()
    heat = loaded.explain(images, stage="dkse_6")
    assert heat.shape == maps.shape[:3]
    assert heat.min() >= 0
    chosen = loaded.explain(images, loaded.class_names[best[0]], stage="dkse_6")
    np.testing.assert_allclose(chosen[0], heat[0], atol=1e-6)
    answers = loaded.predict(images)
    assert [loaded.class_names.index(answer.class_name) for answer in answers] == best


@pytest.fixture(scope="module")
def tiled(loaded):
    transform = dataclasses.replace(loaded.transform, views="tiles")
    return dataclasses.replace(loaded, transform=transform)


def test_predictions_are_averages_over_all_tiles(loaded, tiled):
    rng = np.random.default_rng(0)
    image, square = (rng.integers(0, 256, (40, width, 3), np.uint8) for width in (110, 40))
    tiles = list(tiled.transform.tiles(image))
    assert len(tiles) == 3
    *of_tiles, alone = loaded.predict([*tiles, square])
    mean = np.exp(np.log([answer.probabilities for answer in of_tiles]).mean(axis=0))
    wide, other = tiled.predict([image, square])
    np.testing.assert_allclose(wide.probabilities, mean / mean.sum(), rtol=1e-4)
    np.testing.assert_allclose(other.probabilities, alone.probabilities, rtol=1e-5)


def test_features_are_averages_over_tiles_and_explanations_of_the_centre(tiled, monkeypatch):
    found = []

    def stream(function, images, transform, mesh, *, mean, **options):
        found.append((transform.views, mean))
        return iter([np.zeros(1)])

    monkeypatch.setattr("dkse_jax.trained.stream", stream)
    tiled.features([np.zeros((4, 9, 3), np.uint8)])
    tiled.explain([np.zeros((4, 9, 3), np.uint8)], stage="dkse_6")
    assert found == [("tiles", mean_of_views), ("centre", mean_of_views)]


def test_training_and_evaluation_average_over_the_tiles_of_the_config(config, loaded):
    config.data.views = "tiles"
    splits = load_splits(config.data, config.seed)
    setup = make_setup(config, splits, loaded.mesh)
    assert setup.transform == dataclasses.replace(loaded.transform, views="tiles")
    wide = dataclasses.replace(
        splits["val"],
        read=lambda i, size: np.concatenate(
            [splits["val"].read((i + k) % 15, size) for k in (0, 7)], 1
        ),
    )
    forward = make_forward(setup.model, setup.transform, loaded.mesh)
    options = {"batch_size": 8, "threads": 2}
    both, alone = (
        predict(forward, loaded.variables, source, transform, loaded.mesh, **options)
        for source, transform in ((wide, setup.transform), (splits["val"], loaded.transform))
    )
    expected = (alone + np.roll(alone, -7, axis=0)) / 2
    expected -= np.log(np.exp(expected).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(both, expected, atol=1e-4)


def test_mistakes_are_named(loaded, tmp_path):
    (tmp_path / "no.jpg").write_bytes(b"no picture")
    with pytest.raises(BadImage, match=r"no\.jpg"):
        list(loaded.predict([tmp_path / "no.jpg"]))
    with pytest.raises(UserError, match=r"image 1 is an array float32\(4, 4, 3\); give uint8"):
        list(loaded.predict([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.float32)]))
    pixels = [np.zeros((4, 4, 3), np.uint8)]
    with pytest.raises(UserError, match=r'no stage "dkse_7"; did you mean "dkse_6"'):
        loaded.features(pixels, "dkse_7")
    with pytest.raises(UserError, match=r'no class "x"'):
        loaded.explain(pixels, "x")
    with pytest.raises(UserError, match="is not a run"):
        dkse_jax.load(tmp_path)
