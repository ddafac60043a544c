"""From examples to metrics: every example counts once, for all sizes; padding never counts."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dkse_jax import runtime
from dkse_jax.data.sources import Source
from dkse_jax.data.transform import Transform
from dkse_jax.evaluation.evaluate import predict
from dkse_jax.evaluation.metrics import accuracy_and_loss, summarise
from dkse_jax.sharding import round_up_to_devices

SIZES = {
    "1": lambda batch: 1,
    "B - 1": lambda batch: max(batch - 1, 1),
    "B": lambda batch: batch,
    "B + 1": lambda batch: batch + 1,
    "2B + 7": lambda batch: 2 * batch + 7,
    "997": lambda batch: 997,
}


def make_source(labels: np.ndarray, class_names: tuple[str, ...]) -> Source:
    """Makes a source in which example i is an image of value i + 1, as padding is 0."""
    names = tuple(map(str, range(len(labels))))
    colours = [
        np.full((2, 2, 3), [(i + 1) % 256, (i + 1) // 256, 0], np.uint8) for i in range(len(labels))
    ]
    return Source(class_names, names, labels, names, lambda i, side: colours[i])


def brute_force(scores: np.ndarray, labels: np.ndarray, names: tuple[str, ...]) -> dict:
    """Computes the metrics example by example."""
    order = [sorted(range(len(names)), key=lambda k: (-row[k], k)) for row in scores]
    predicted = [ranks[0] for ranks in order]
    pairs = list(zip(predicted, labels.tolist(), strict=True))
    per_class = {}
    for k, name in enumerate(names):
        right = sum(p == y == k for p, y in pairs)
        said, true = sum(p == k for p, _ in pairs), sum(y == k for _, y in pairs)
        precision, recall = right / said if said else 0.0, right / true if true else 0.0
        both = precision + recall
        f1 = 2 * precision * recall / both if both else 0.0
        figures = {"precision": precision, "recall": recall, "f1": f1}
        per_class[name] = {"n": true} | (figures if true else dict.fromkeys(figures))
    n = len(labels)
    return {
        "n": n,
        "accuracy": sum(p == y for p, y in pairs) / n,
        "loss": -sum(float(scores[i, y]) for i, y in enumerate(labels)) / n,
        "top2": sum(y in ranks[:2] for y, ranks in zip(labels, order, strict=True)) / n,
        "per_class": per_class,
    }


@pytest.mark.parametrize("size", SIZES)
@settings(max_examples=6, phases=[Phase.generate])  # a seed does not get simpler
@given(batch=st.integers(1, 40), classes=st.integers(2, 6), seed=st.integers(0, 2**32 - 1))
def test_metrics_equal_brute_force_over_every_example(size, batch, classes, seed):
    mesh = runtime.default_mesh()
    padded = round_up_to_devices(batch, mesh)
    n = SIZES[size](padded if seed % 2 else batch)
    rng = np.random.default_rng(seed)
    weights = rng.integers(1, 5, size=(n, classes)).astype(np.float32)  # small, so that ties occur
    scores = np.log(weights / weights.sum(axis=1, keepdims=True))
    labels = rng.integers(classes, size=n).astype(np.int32)
    names = tuple(f"class {k}" for k in range(classes))
    table = np.concatenate([np.full((1, classes), np.nan, np.float32), scores])
    shapes = set()

    def classify(images):
        shapes.add(images.shape)
        pixel = np.asarray(images)[:, 0, 0].astype(int)
        return table[pixel[:, 0] + 256 * pixel[:, 1]]

    found = predict(
        lambda variables: classify,
        None,
        make_source(labels, names),
        Transform(2),
        mesh,
        batch_size=batch,
        threads=1 + seed % 3,
    )
    assert shapes == {(padded, 2, 2, 3)}  # one program for all batches
    np.testing.assert_array_equal(found, scores)
    result = summarise(found, labels, names[:1] * n, names, seed=0)
    expected = brute_force(scores, labels, names)
    assert result["top2"] == (expected["top2"] if classes > 2 else None)
    for key in ("n", "accuracy"):
        assert result[key] == expected[key]
    assert result["loss"] == pytest.approx(expected["loss"], rel=1e-12)
    for name in names:
        known = expected["per_class"][name]
        known = known if known["n"] == 0 else pytest.approx(known, rel=1e-12)
        assert result["per_class"][name] == known
    assert accuracy_and_loss(found, labels) == {key: result[key] for key in ("accuracy", "loss")}
