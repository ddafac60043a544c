"""Duplicates are found after any re-encoding; different images, also blank ones, are not."""

import numpy as np
import pytest
from PIL import Image

from dkse_jax.data.sources.painting import KINDS, paint
from dkse_jax.data.tools import duplicates
from dkse_jax.data.tools.duplicates import DuplicateSet, find_duplicates, hash_image

RESIZED = Image.Resampling.BICUBIC


@pytest.fixture(scope="module")
def painted():
    return [
        Image.fromarray(paint(list(KINDS)[i % len(KINDS)], 160, np.random.default_rng(i)))
        for i in range(12)
    ]


@pytest.fixture
def look(tmp_path):
    """Saves an image and hashes it."""

    def save_and_look(image, name="a.png", **options):
        image.save(tmp_path / name, **options)
        return hash_image(str(tmp_path / name), name)

    return save_and_look


def test_a_look_is_small(look):
    one = look(Image.new("RGB", (40, 30), "red"))
    assert one.size == (30, 40)
    assert one.thumbnail.shape == (32, 32)
    assert one.thumbnail.dtype == np.uint8


@pytest.mark.parametrize("turn", [1, 6])
def test_a_look_is_at_what_training_would_read(tmp_path, turn):
    """The image is decoded reduced, and its size is that of the whole."""
    exif = Image.Exif()
    exif[274] = turn
    image = Image.fromarray(paint(next(iter(KINDS)), 640, np.random.default_rng(0)))
    image = image.crop((0, 0, 640, 480))
    image.save(tmp_path / "a.jpg", exif=exif)
    whole = hash_image(str(tmp_path / "a.jpg"), "a")
    reduced = hash_image(str(tmp_path / "a.jpg"), "a", min_side=100)
    assert whole.size == reduced.size == ((480, 640) if turn == 1 else (640, 480))
    assert whole.pixel_hash != reduced.pixel_hash
    assert whole.file_hash == reduced.file_hash
    assert find_duplicates([whole, reduced]) == [DuplicateSet([0, 1], "the same file")]
    assert np.abs(whole.thumbnail.astype(int) - reduced.thumbnail).max() <= 4


def test_a_thumbnail_is_the_same_in_parts(look):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (600, 50, 3), np.uint8))
    expected = image.convert("L").resize((32, 32), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(look(image).thumbnail, np.asarray(expected))


def test_strangers_are_no_copies(painted, look):
    assert find_duplicates([look(image) for image in painted]) == []
    assert find_duplicates([]) == []


def test_exact_copies_say_how(painted, look):
    looks = [look(image) for image in painted[:3]]
    looks += [look(painted[0]), look(painted[2], "a.bmp")]
    assert find_duplicates(looks) == [
        DuplicateSet([0, 3], "the same file"),
        DuplicateSet([2, 4], "the same pixels"),
    ]


def test_blank_pictures_are_copies_only_if_exact(look):
    blank = Image.new("RGB", (40, 40), "white")
    looks = [look(blank), look(blank, "a.bmp"), look(blank.resize((40, 41)))]
    assert find_duplicates(looks) == [DuplicateSet([0, 1], "the same pixels")]


@pytest.mark.parametrize(
    ("change", "name", "options"),
    [
        (lambda image: image, "a.jpg", {"quality": 40}),
        (lambda image: image.resize((80, 80), RESIZED), "a.jpg", {"quality": 70}),
        (lambda image: image.resize((331, 331), RESIZED), "a.webp", {"quality": 60}),
        (lambda image: image.resize((160, 120), RESIZED), "a.png", {}),
        (lambda image: image.convert("L"), "a.png", {}),
    ],
    ids=["jpeg", "half", "double", "stretched", "grey"],
)
def test_near_copies_are_found(painted, look, change, name, options):
    looks = [look(image) for image in painted]
    changed = [look(change(image), name, **options) for image in painted]
    found = find_duplicates(looks + changed)
    assert found == [DuplicateSet([i, i + 12], "nearly the same") for i in range(12)]


def test_copies_of_copies_are_one_set(painted, look):
    exact, near = look(painted[0]), look(painted[0], "a.jpg", quality=40)
    looks = [near, look(painted[1]), exact, exact]
    assert find_duplicates(looks) == [DuplicateSet([0, 2, 3], "nearly the same")]


def shaded(seed):
    """Draws a blank sheet, darker at one side, with the grain of a scan."""
    grain = np.random.default_rng(seed).normal(0, 2, (64, 64, 1))
    sheet = np.linspace(236, 244, 64)[:, None, None] + grain
    return Image.fromarray(sheet.astype(np.uint8).repeat(3, axis=-1))


def test_blank_pictures_are_no_copies(look):
    looks = [look(shaded(seed)) for seed in range(4)]
    looks += [look(Image.new("RGB", (64, 64), (v, v, v))) for v in (0, 1, 254, 255)]
    assert find_duplicates(looks) == []


def test_a_hash_alone_does_not_decide(look):
    """Images with equal hashes, but another contrast and other details."""
    rng = np.random.default_rng(0)
    cells = np.kron(rng.permutation(64).reshape(8, 8), np.ones((8, 8)))
    strong = Image.fromarray((3 * cells + 30).astype(np.uint8))
    weak = Image.fromarray((1.5 * cells + 80).astype(np.uint8))
    marks = 3 * cells + 30 + np.tile([[60, -60], [-60, 60]], (16, 16)).repeat(2, 0).repeat(2, 1)
    marked = Image.fromarray(np.clip(marks, 0, 255).astype(np.uint8))
    looks = [look(image) for image in (strong, weak, marked)]
    thumbnails = np.stack([one.thumbnail for one in looks])
    bits = duplicates._difference_bits(thumbnails)
    assert (bits != bits[:1]).sum(axis=1).max() <= duplicates._NEAR_BITS
    assert find_duplicates(looks) == []


def test_whichever_bits_differ_one_part_of_the_hash_is_equal():
    rng = np.random.default_rng(0)
    most = 0
    for _ in range(200):
        cells = rng.integers(100, 160, (8, 8))
        pair = np.stack([cells, cells + rng.normal(0, 3, (8, 8))]).astype(np.uint8)
        pair = pair.repeat(4, axis=1).repeat(4, axis=2)
        bits = duplicates._difference_bits(pair)
        differing = (bits[0] != bits[1]).sum()
        alike = duplicates._look_alike(pair[0], pair[1:])[0]
        found = {(i, *others) for i, others in duplicates._near_pairs(pair) if len(others)}
        near = alike and differing <= duplicates._NEAR_BITS
        assert found == ({(0, 1)} if near else set())
        most = max(most, differing if found else 0)
    assert most == duplicates._NEAR_BITS
