"""Painting and its cache; layout and texture separate the classes together, but not alone."""

import hashlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from PIL import Image

from dkse_jax import console
from dkse_jax.data.sources import Source, synthetic
from dkse_jax.data.sources.painting import KINDS, PAINTER_VERSION, paint
from dkse_jax.errors import UserError

SMALL = {"train": 3, "val": 1, "test": 2}
# PAINTER_VERSION, and the SHA-256 of a picture of each kind of 64 pixels.
PAINTED = (
    1,
    {
        "hatched_landscape": "833d6b283a13b10e50cb96cd5e30b0165fcec63274c55dbb49f8bea0dfd0f197",
        "stippled_rosette": "c67fdcca1ddd60a68107aa4bbe638b3fe1fe7983584b4fbf32d1db78916ce07e",
        "stippled_landscape": "2b2b664c9793410384e13c0a550f93978b3d9a4ba7b5b6b8d5e086add0a6a208",
        "hatched_rosette": "bc59aea48611b20d2e4b631693f7a480dcf89ad6393f9f7f6da09cb20e8c7776",
        "hatched_forest": "4c9dd2a4ae5ce4435b5d41b695248736be1d65af5101e9e1dcb7e863af903262",
        "stippled_forest": "7d2e8d5622d1774d770eb9f9c82f06000bd2ada21fc6da05c8f859771f00cbde",
    },
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "dkse_jax" / "synthetic"


def pictures(source: Source) -> np.ndarray:
    return np.stack([source.read(index, None) for index in range(len(source))])


@pytest.mark.parametrize("size", [32, 64, 299])
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_a_function_of_kind_size_and_generator(kind, size):
    image = paint(kind, size, np.random.default_rng(5))
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert image.std() > 10
    np.testing.assert_array_equal(image, paint(kind, size, np.random.default_rng(5)))


def test_the_pictures_are_those_that_the_networks_were_trained_on():
    """Other pixels need another PAINTER_VERSION, and `make faults`: it trains on them anew."""
    found = {
        kind: hashlib.sha256(paint(kind, 64, np.random.default_rng(5)).tobytes()).hexdigest()
        for kind in KINDS
    }
    assert (PAINTER_VERSION, found) == PAINTED


def test_the_same_generator_paints_the_same_picture_at_every_size():
    def thumbnail(size: int, seed: int) -> np.ndarray:
        image = Image.fromarray(paint("stippled_rosette", size, np.random.default_rng(seed)))
        return np.asarray(image.resize((16, 16), Image.Resampling.BOX), float).ravel()

    assert np.corrcoef(thumbnail(64, 1), thumbnail(299, 1))[0, 1] > 0.9
    assert abs(np.corrcoef(thumbnail(64, 1), thumbnail(299, 2))[0, 1]) < 0.5


@pytest.mark.parametrize("kinds", [3, 4, 5, 6])
def test_neither_cue_alone_tells_any_number_of_kinds(kinds):
    taken = list(KINDS.values())[:kinds]
    assert len(set(taken)) == kinds
    for cue in zip(*taken, strict=True):
        assert len(set(cue)) / kinds <= 2 / 3


def test_splits_have_ids_labels_and_groups_in_class_order():
    splits = synthetic.load_splits(32, 5, SMALL, seed=0)
    assert list(splits) == ["train", "val", "test"]
    for split, count in SMALL.items():
        source = splits[split]
        assert source.class_names == tuple(sorted(list(KINDS)[:5]))
        assert source.labels.dtype == np.int32
        assert source.labels.tolist() == [label for label in range(5) for _ in range(count)]
        assert len(set(source.ids)) == len(source) == 5 * count
        assert source.groups == source.ids
        assert source.read(len(source) - 1, 8).shape == (32, 32, 3)
        for name, label in zip(source.ids, source.labels, strict=True):
            assert name.split("/")[:2] == [split, source.class_names[label]]
    assert splits["train"].ids[5] == "train/hatched_landscape/00002"
    everything = np.concatenate([pictures(source) for source in splits.values()])
    assert len(np.unique(everything, axis=0)) == 5 * 6


def test_a_picture_depends_on_seed_split_kind_and_index_only():
    small = synthetic.load_splits(32, 2, SMALL, seed=0)
    large = synthetic.load_splits(32, 6, {"train": 5, "val": 2, "test": 2}, seed=0)
    for split, source in small.items():
        for index, name in enumerate(source.ids):
            there = large[split].ids.index(name)
            np.testing.assert_array_equal(
                source.read(index, None), large[split].read(there, None), err_msg=name
            )
    other = synthetic.load_splits(32, 2, SMALL, seed=1)
    for split, source in small.items():
        assert all((pictures(source) != pictures(other[split])).mean(axis=(1, 2, 3)) > 0.5)


def test_painting_in_processes_gives_the_same_pictures_in_order(monkeypatch):
    jobs = [(0, "train", kind, index, 32) for kind in KINDS for index in range(34)]
    monkeypatch.setattr(synthetic.os, "cpu_count", lambda: 2)
    parallel = list(synthetic._paint_all(jobs))
    for job, image in list(zip(jobs, parallel, strict=True))[::7]:
        np.testing.assert_array_equal(image, synthetic._paint_one(*job))


def test_a_painting_process_does_not_import_jax():
    code = "import sys, dkse_jax.data.sources.synthetic; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_pictures_are_painted_once(cache, monkeypatch):
    first = synthetic.load_splits(32, 2, SMALL, seed=0)
    synthetic.load_splits(33, 2, SMALL, seed=0)
    assert len(list(cache.iterdir())) == 2 * 6
    assert {file.suffix for file in cache.iterdir()} == {".npy"}
    monkeypatch.setattr(synthetic, "paint", None)
    second = synthetic.load_splits(32, 2, SMALL, seed=0)
    for split in SMALL:
        np.testing.assert_array_equal(pictures(first[split]), pictures(second[split]))


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"no array", None])
def test_a_damaged_cache_file_is_painted_again(cache, damage):
    whole = pictures(synthetic.load_splits(32, 2, SMALL, seed=0)["train"])
    for file in cache.iterdir():
        content = file.read_bytes()
        file.unlink()  # the pictures above are mapped from it
        file.write_bytes(content[: len(content) // 2] if damage is None else damage)
    again = synthetic.load_splits(32, 2, SMALL, seed=0)["train"]
    np.testing.assert_array_equal(whole, pictures(again))
    assert all(np.load(file).shape[1:] == (32, 32, 3) for file in cache.iterdir())


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    blocked = tmp_path / "a file, not a folder"
    blocked.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    source = synthetic.load_splits(32, 2, SMALL, seed=0)["test"]
    assert pictures(source).shape == (4, 32, 32, 3)


@pytest.mark.parametrize(
    ("kinds", "count", "message"),
    [
        (1, 1, "config.data.synthetic.kinds is 1; choose a number from 2 to 6"),
        (7, 1, "config.data.synthetic.kinds is 7; choose a number from 2 to 6"),
        (5, 0, "config.data.synthetic.val_per_kind is 0; choose 1 or more"),
    ],
)
def test_what_is_out_of_range_is_named(kinds, count, message):
    with pytest.raises(UserError, match=message):
        synthetic.load_splits(32, kinds, {"train": 1, "val": count, "test": 1}, seed=0)


def test_progress_is_shown_when_painting_is_slow(capsys, monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    synthetic.load_splits(32, 2, SMALL, seed=0)
    lines = capsys.readouterr().err.split("\r")
    assert lines[1] == "painting pictures: 3 of 12, 9 s left".ljust(71)
    assert lines[-1] == "painting pictures: 12 of 12, 0 s left".ljust(71) + "\n"


# --- separation of the classes by networks that see everything, one cue, or the colours ---

SIZE = 64


@pytest.fixture(scope="module")
def splits() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    loaded = synthetic.load_splits(SIZE, 5, {"train": 150, "test": 40}, seed=0)
    return {split: (pictures(source), source.labels) for split, source in loaded.items()}


def intact(images: np.ndarray) -> np.ndarray:
    return images


def shuffled(images: np.ndarray) -> np.ndarray:
    """Shuffles each image's 4 x 4 patches, which keeps only the texture."""
    rng, patch = np.random.default_rng(0), SIZE // 4
    grid = images.reshape(-1, 4, patch, 4, patch, 3).swapaxes(2, 3)
    pieces = grid.reshape(-1, 16, patch, patch, 3)
    pieces = np.stack([rng.permutation(picture) for picture in pieces])
    return pieces.reshape(grid.shape).swapaxes(2, 3).reshape(images.shape)


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Scales to 8 x 8 pixels and back, which keeps only the layout."""
    small = (Image.fromarray(image).resize((8, 8), Image.Resampling.BOX) for image in images)
    return np.stack([np.asarray(image.resize((SIZE, SIZE))) for image in small])


class SmallNet(nn.Module):
    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        x = images.astype(jnp.float32) / 128 - 1
        for width, kernel, stride in ((24, 7, 3), (32, 3, 2), (64, 3, 2), (64, 3, 1)):
            x = nn.Conv(width, (kernel, kernel), stride, use_bias=False)(x)
            x = nn.relu(nn.GroupNorm(4)(x))
        return nn.Dense(5)(x.mean((1, 2)))


NET, BATCH, EPOCHS = SmallNet(), 15, 10


@jax.jit
def logits(params, images):
    return NET.apply(params, images)


@pytest.fixture(scope="module")
def fit(splits):
    """Provides view -> the weights of a network trained on that view of the images."""
    images, labels = splits["train"]
    steps = EPOCHS * len(images) // BATCH
    optimizer = optax.adamw(optax.cosine_onecycle_schedule(steps, 8e-3), weight_decay=0.05)
    known = {}

    @jax.jit
    def step(params, moments, images, labels):
        def loss(params):
            return optax.softmax_cross_entropy_with_integer_labels(
                NET.apply(params, images), labels
            ).mean()

        updates, moments = optimizer.update(jax.grad(loss)(params), moments, params)
        return optax.apply_updates(params, updates), moments

    def train(view):
        if view not in known:
            seen, rng = view(images), np.random.default_rng(0)
            params = jax.jit(NET.init)(jax.random.key(0), seen[:1])
            moments = optimizer.init(params)
            for _ in range(EPOCHS):
                for batch in rng.permutation(len(seen)).reshape(-1, BATCH):
                    params, moments = step(params, moments, seen[batch], labels[batch])
            known[view] = params
        return known[view]

    return train


def accuracy(splits, params, view) -> float:
    images, labels = splits["test"]
    return float((np.asarray(logits(params, view(images))).argmax(-1) == labels).mean())


@pytest.mark.full
def test_a_network_that_sees_the_whole_tells_the_kinds_apart(splits, fit):
    reached = accuracy(splits, fit(intact), intact)
    assert reached >= 0.9


@pytest.mark.full
@pytest.mark.parametrize("view", [shuffled, thumbnails])
def test_it_is_lost_with_one_cue_taken_away(splits, fit, view):
    reached = accuracy(splits, fit(intact), view)
    assert reached < 0.65


@pytest.mark.full
@pytest.mark.parametrize(("view", "best"), [(shuffled, 2 / 5), (thumbnails, 3 / 5)])
def test_a_network_trained_on_one_cue_tells_no_more_than_that_cue(splits, fit, view, best):
    reached = accuracy(splits, fit(view), view)
    assert best - 0.15 < reached < best + 0.1


def test_colours_tell_nothing(splits):
    def features(images: np.ndarray) -> np.ndarray:
        pixels = images.reshape(len(images), -1, 3)
        counts = [(pixels // 32 == level).mean(1) for level in range(8)]
        return np.concatenate([pixels.mean(1) / 255, pixels.std(1) / 255, *counts], axis=1)

    (images, labels), (new, truth) = splits["train"], splits["test"]
    known, unknown = features(images), features(new)
    means = np.stack([known[labels == label].mean(0) for label in range(5)])
    nearest = ((unknown[:, None] - means) ** 2).sum(-1).argmin(1)
    weights = np.linalg.lstsq(known - known.mean(0), np.eye(5)[labels] - 0.2, rcond=None)[0]
    linear = ((unknown - known.mean(0)) @ weights).argmax(1)
    assert (nearest == truth).mean() < 0.3
    assert (linear == truth).mean() < 0.3
