import jax
import numpy as np
import pytest
from PIL import Image

from dkse_jax import runtime
from dkse_jax.data.sources import Source
from dkse_jax.data.transform import Transform, normalise
from dkse_jax.evaluation import overlays
from dkse_jax.evaluation.gradcam import grad_cam
from dkse_jax.evaluation.overlays import choose_examples, file_names, overlay, write_overlays
from dkse_jax.models.dkse_net import DKSENet


def test_chosen_examples_are_spread_from_the_most_to_the_least_probable():
    scores = np.log([0.9, 0.1, 0.8, 0.3, 0.7, 0.2, 0.6, 0.99])
    of_class = np.array([True] * 7 + [False])
    assert choose_examples(scores, of_class, 1) == [0]
    assert choose_examples(scores, of_class, 2) == [0, 1]
    assert choose_examples(scores, of_class, 3) == [0, 6, 1]
    assert choose_examples(scores, of_class, 5) == [0, 4, 6, 3, 1]
    assert choose_examples(scores, of_class, 99) == [0, 2, 4, 6, 3, 5, 1]
    assert choose_examples(scores, ~of_class, 3) == [7]
    assert choose_examples(scores, np.zeros(8, bool), 3) == []
    assert choose_examples(np.zeros(8), of_class, 2) == [0, 6]  # equals keep their order


def test_right_and_wrong_ones_come_as_often_as_in_the_class():
    scores = np.random.default_rng(0).uniform(0.5, 1, 1000)
    scores[::4] -= 0.5
    wrong = scores[choose_examples(np.log(scores), np.ones(1000, bool), 20)] < 0.5
    assert wrong.sum() == 5


def test_an_ordinary_class_names_its_own_file():
    names = ["Oil painting", "浮世绘", "caf\u00e9", "a-b_c"]
    assert file_names(names) == [f"{name}.png" for name in names]


def test_any_class_has_a_file_of_its_own(tmp_path):
    names = ["", ".", "..", "a/b", "a\\b", "a_b", "A_b", "-rf", " x", "x ", "x", "\x00", "\udce9"]
    names += ["con:", "x" * 400, "浮" * 400, "0.", "2._.png", "e\u0301", "/etc/passwd", "a\nb"]
    files = file_names(names)
    assert len({file.casefold() for file in files}) == len(names)
    for file in files:
        (tmp_path / file).touch()  # no name is refused
        assert file[0] not in ".- "
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(files)


def test_a_picture_turns_red_where_its_map_is_high_and_grey_where_it_is_zero():
    picture = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    heat = np.zeros((2, 3))
    heat[0, 2] = 1e-9  # the maximum decides, not the unit
    result = overlay(picture, heat).astype(int)
    assert result.shape == (60, 60, 3)
    left, corner = result[:, :10], result[:15, 50:]
    assert (np.ptp(left, axis=2) == 0).all()
    grey = np.asarray(Image.fromarray(picture).convert("L"), int)[:, :10]
    assert (np.diff(left[:, :, 0].ravel()[np.argsort(grey.ravel())]) >= 0).all()
    assert np.ptp(left) > 0.6 * np.ptp(grey)
    assert (corner[:, :, 0] > 2 * corner[:, :, 1]).all()
    nothing = overlay(picture, np.zeros((2, 3)))
    assert (np.ptp(nothing, axis=2) == 0).all()
    np.testing.assert_array_equal(nothing[:, :10], left)


@pytest.fixture(scope="module")
def judged(variables_of):
    """30 pictures of three classes, none of the last one, a thin network, and any judgement."""
    net = DKSENet(4, width=4)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 50, 3), dtype=np.uint8)
    names = tuple(map(str, range(30)))
    labels = np.arange(30, dtype=np.int32) % 3
    source = Source(("a", "b/c", "d", "none"), names, labels, names, lambda i, side: pixels[i])
    variables = variables_of(net, np.zeros((1, 32, 32, 3), np.float32))
    scores = np.random.default_rng(1).standard_normal((30, 4))
    return net, variables, source, scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


def test_each_map_is_that_of_its_picture_and_its_predicted_class(judged, tmp_path, monkeypatch):
    net, variables, source, scores = judged
    drawn = {}
    monkeypatch.setattr(
        overlays.pictures,
        "examples_png",
        lambda path, examples, *, titles, columns: drawn.update({path.name: (examples, titles)}),
    )
    heats = []
    monkeypatch.setattr(
        overlays, "overlay", lambda picture, heat: heats.append(heat) or np.zeros_like(picture)
    )
    explain = overlays.make_explain(net, variables, Transform(32), "dkse_6", runtime.default_mesh())
    write_overlays(
        tmp_path / "gradcam",
        explain=explain,
        stage="dkse_6",
        source=source,
        log_probabilities=scores,
        transform=Transform(32),
        count=9,  # more than a batch
        threads=2,
        mesh=runtime.default_mesh(),
    )
    assert list(drawn) == ["a.png", "1.b_c.png", "d.png"]
    examples = [example for some, _ in drawn.values() for example in some]
    chosen = [int(example.file) for example in examples]
    assert chosen == [
        i for k in range(3) for i in choose_examples(scores[:, k], source.labels == k, 9)
    ]
    predictions = scores[chosen].argmax(axis=1)
    assert [example.label for example in examples] == [source.class_names[i % 3] for i in chosen]
    assert [example.prediction for example in examples] == [
        source.class_names[k] for k in predictions
    ]
    assert [example.probability for example in examples] == pytest.approx(
        np.exp(scores[chosen].max(axis=1))
    )
    assert drawn["a.png"][1][0] == "a: 9 of 10 examples"
    assert "dkse_6 (5×5)" in drawn["a.png"][1][2]
    images = np.stack([overlays.centre_view(source.read(i, 32), 32) for i in chosen])
    expected = jax.jit(lambda v, x, c: grad_cam(net, v, x, c, stage="dkse_6"))(
        variables, normalise(images, Transform(32)), predictions
    )
    np.testing.assert_allclose(heats, expected, rtol=1e-4, atol=1e-6 * np.max(expected))
    notes = [example.note for example in examples]
    assert [not note for note in notes] == [heat.any() for heat in heats]


def test_the_picture_stands_beside_its_overlay(judged, tmp_path):
    _, _, source, scores = judged

    def explain(images, classes):
        assert images.shape == (8, 32, 32, 3)
        return np.eye(3)[None].repeat(8, axis=0) * (classes == 0)[:, None, None]

    written = write_overlays(
        tmp_path / "gradcam",
        explain=explain,
        stage="x",
        source=source,
        log_probabilities=scores,
        transform=Transform(32),
        count=4,
        threads=2,
        mesh=runtime.default_mesh(),
    )
    assert [path.name for path in written] == ["a.png", "1.b_c.png", "d.png"]
    for path in written:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert 1800 < image.width < 2100  # three pairs of squares of 300 pixels
            assert 800 < image.height < 1100  # two rows
