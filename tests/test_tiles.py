"""Views: squares that cover a picture, packed into batches, and the average over them."""

import itertools

import jax
import numpy as np
import pytest
from PIL import Image

from dkse_jax import inference, runtime, sharding
from dkse_jax.data.transform import MAX_TILES, Transform, centre_view, tile_views
from dkse_jax.inference import mean_log_probabilities, stream
from dkse_jax.tiles import over_images, packed, place_tiles

TILES = Transform(4, views="tiles")


def ramp(height, width):
    """Values that rise along the longer side, uint8 (H, W, 3)."""
    values = np.linspace(0, 255, max(height, width)).astype(np.uint8)
    picture = np.broadcast_to(values[:, None], (max(height, width), min(height, width)))
    return np.repeat((picture if height > width else picture.T)[:, :, None], 3, axis=2)


@pytest.mark.parametrize(
    ("longer", "side", "count"),
    [(50, 50, 1), (60, 40, 2), (80, 40, 2), (81, 40, 3), (960, 48, 20), (1000, 10, MAX_TILES)],
)
def test_as_many_squares_as_cover_the_picture(longer, side, count):
    for shape in ((side, longer), (longer, side)):
        views = tile_views(ramp(*shape), side)
        assert views.shape == (count, side, side, 3)
        means = views.mean(axis=(1, 2, 3))
        if count > 1:
            np.testing.assert_allclose(np.diff(means), np.diff(means).mean(), atol=1.5)
            assert views[0].min() == 0
            assert views[-1].max() == 255


@pytest.mark.parametrize("seed", range(5))
def test_the_squares_are_those_of_the_picture(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(5, 60, 2)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    side, longer = sorted((height, width))
    views = tile_views(image, 9)
    assert side * (len(views) - 1) < longer <= side * len(views) or len(views) == MAX_TILES
    starts = np.linspace(0, longer - side, len(views)) if len(views) > 1 else [(longer - side) / 2]
    for view, start in zip(views, starts, strict=True):
        box = (start, 0, start + side, side)
        if height > width:
            box = (0, start, side, start + side)
        expected = Image.fromarray(image).resize((9, 9), Image.Resampling.BILINEAR, box, 3)
        np.testing.assert_array_equal(view, expected)


def test_a_square_picture_has_the_centred_view_and_levels_are_of_the_whole_picture():
    image = np.random.default_rng(0).integers(50, 100, (30, 30, 3), np.uint8)
    for levels in (False, True):
        transform = Transform(8, levels, views="tiles")
        np.testing.assert_array_equal(transform.tiles(image), transform.view(image)[None])
    np.testing.assert_array_equal(tile_views(image, 8)[0], centre_view(image, 8))
    wide = ramp(20, 60) // 2
    assert Transform(20, levels=True).tiles(wide)[0].max() < 100
    assert Transform(20, levels=True).tiles(wide)[-1].max() == 255


@pytest.mark.parametrize("seed", range(10))
def test_every_tile_has_one_place_and_no_batch_is_needless(seed):
    rng = np.random.default_rng(seed)
    parts = np.split(rng.permutation(24), np.sort(rng.choice(np.arange(1, 24), 2, replace=False)))
    parts = [np.sort(part) for part in parts]
    tiles = rng.integers(0, 6, 24) * (np.arange(24) < 20)
    owners = place_tiles(tiles, parts)
    used = owners[owners >= 0]
    np.testing.assert_array_equal(np.bincount(used, minlength=24), tiles)
    most = max(np.ceil(tiles[part].sum() / len(part)) for part in parts)
    assert len(owners) == most
    for part in parts:
        own = owners[:, part]
        assert set(own[own >= 0]) <= set(part)
        assert (np.diff(own[own >= 0]) >= 0).all()


class Pictures:
    """Pictures of random proportions, some of them square."""

    def __init__(self, count, seed=0):
        rng = np.random.default_rng(seed)
        sizes = [(4, 4 * int(rng.choice([1, 1, 2, 3, 7]))) for _ in range(count)]
        shapes = [size[:: int(rng.choice([1, -1]))] for size in sizes]
        self.pixels = [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]

    def __len__(self):
        return len(self.pixels)

    def read(self, index, min_side):
        assert min_side == 4
        return self.pixels[index]


def colours(pixels):
    """Results of two structures: (B, 3), and (B, 4, 4)."""
    values = np.asarray(pixels, np.float32)
    return values.mean(axis=(1, 2)), {"map": values[:, :, :, 0]}


def expected_of(pictures, mean=np.mean):
    views = [TILES.tiles(picture).astype(np.float32) for picture in pictures.pixels]
    return (
        np.stack([mean(view.mean(axis=(1, 2)), axis=0) for view in views]),
        np.stack([view[:, :, :, 0].mean(axis=0) for view in views]),
    )


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("count", [1, 8, 21])
def test_results_are_averages_over_the_tiles_in_order(devices, count):
    mesh, pictures = sharding.make_mesh(jax.devices()[:devices]), Pictures(count, seed=devices)
    sent = []

    def function(pixels):
        sent.append(pixels.shape)
        return colours(pixels)

    parts = list(stream(function, pictures, TILES, mesh, batch_size=8, threads=2))
    assert set(sent) == {(8, 4, 4, 3)}
    assert [len(part[0]) for part in parts] == [8] * (count // 8) + [count % 8] * (count % 8 > 0)
    for found, wanted in zip(
        (np.concatenate([part[0] for part in parts]), np.concatenate([p[1]["map"] for p in parts])),
        expected_of(pictures),
        strict=True,
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_several_processes_agree_on_the_calls_and_on_the_results(monkeypatch):
    """Three processes, one after another, of which each reads only its own pictures."""
    mesh, count, size = runtime.default_mesh(), 16, 8
    pictures = Pictures(count)
    parts = [np.array(part) for part in ([0, 1, 4], [2, 3], [5, 6, 7])]
    counts = [len(TILES.tiles(picture)) for picture in pictures.pixels]
    whole = [np.array(some) for some in itertools.batched(counts, size)]
    monkeypatch.setattr("dkse_jax.tiles.indices_of_processes", lambda *_: parts)
    batches = []
    for rows in parts:
        gathered = iter(whole)
        monkeypatch.setattr("dkse_jax.tiles.local_indices", lambda *_, rows=rows: rows)
        monkeypatch.setattr(
            "dkse_jax.tiles.processes.merged",
            lambda own, gathered=gathered, rows=rows: check(next(gathered), own, rows),
        )
        tiled = inference.tile_batches(pictures, TILES, batch_size=size, threads=1, rows=rows)
        batches.append(list(packed(tiled, size, mesh)))
    assert len({len(of_process) for of_process in batches}) == 1
    calls = []
    for same in zip(*batches, strict=True):
        image = np.zeros((size, 4, 4, 3), np.uint8)
        for rows, batch in zip(parts, same, strict=True):
            image[rows] = batch["image"]
            np.testing.assert_array_equal(batch["owner"], same[0]["owner"])
        results, maps = colours(image)
        real = same[0]["real"]
        calls.append(((results[real], maps["map"][real]), same[0]))
    found = list(over_images(calls, inference.mean_of_views))
    for i, wanted in enumerate(expected_of(pictures)):
        np.testing.assert_allclose(np.concatenate([part[i] for part in found]), wanted, rtol=1e-6)


def tiled(count):
    """The means over the tiles of `Pictures`, by all devices of all processes; JSON."""
    mesh = runtime.default_mesh()
    placed = {
        "in_shardings": sharding.batch_sharding(mesh),
        "out_shardings": sharding.replicated(mesh),
    }
    function = jax.jit(lambda pixels: pixels.astype(np.float32).mean(axis=(1, 2)), **placed)
    parts = stream(function, Pictures(count), TILES, mesh, batch_size=8, threads=2)
    found = np.concatenate(list(parts))
    assert function._cache_size() == 1  # one compiled shape
    return found.tolist()


def test_one_program_is_compiled_for_any_number_of_tiles():
    np.testing.assert_allclose(tiled(21), expected_of(Pictures(21))[0], rtol=1e-6)


def check(counts, own, rows):
    np.testing.assert_array_equal(own[rows], counts[rows])
    assert own.sum() == counts[rows].sum()
    return counts


def test_log_probabilities_are_averaged_and_sum_to_one_again():
    views = np.log(np.float32([[0.9, 0.1], [0.5, 0.5]]))
    odds = np.sqrt(9)
    found = mean_log_probabilities(views)
    np.testing.assert_allclose(np.exp(found), [odds / (1 + odds), 1 / (1 + odds)], rtol=1e-6)
    assert found.dtype == np.float32
    far = mean_log_probabilities(np.float32([[0, -200], [0, -300]]))
    np.testing.assert_allclose(far, [0, -250], atol=1e-6)


def test_the_centre_is_evaluated_without_any_of_it(monkeypatch):
    for name in ("tile_batches", "packed", "over_images"):
        monkeypatch.setattr(inference, name, None)
    parts = stream(
        lambda pixels: np.asarray(pixels),
        Pictures(9),
        Transform(4),
        runtime.default_mesh(),
        batch_size=8,
        threads=1,
    )
    views = [centre_view(picture, 4) for picture in Pictures(9).pixels]
    np.testing.assert_array_equal(np.concatenate(list(parts)), views)
