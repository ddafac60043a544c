"""`stream`: results of any structure, in order, one batch late."""

import numpy as np
import pytest

from dkse_jax import inference, runtime
from dkse_jax.data.transform import Transform
from dkse_jax.inference import stream


class Numbers:
    """Images that are no Source: number i is a picture of that colour."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def read(self, index, min_side):
        return np.full((2, 2, 3), index, np.uint8)


def results(count, function, batch_size=8):
    mesh = runtime.default_mesh()
    images, transform = Numbers(count), Transform(2)
    return stream(function, images, transform, mesh, batch_size=batch_size, threads=2)


@pytest.mark.parametrize("count", [1, 8, 21])
def test_results_of_any_structure_are_in_order_without_padding(count):
    def function(pixels):
        colours = np.asarray(pixels)[:, 0, 0]
        return colours[:, 0], {"features": colours.astype(np.float32)}

    parts = list(results(count, function))
    assert [len(part[0]) for part in parts] == [8] * (count // 8) + [count % 8] * (count % 8 > 0)
    np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), range(count))
    features = np.concatenate([part[1]["features"] for part in parts])
    np.testing.assert_array_equal(features, np.arange(count)[:, None].repeat(3, 1))


def test_a_batch_is_sent_before_the_one_before_it_is_fetched(monkeypatch):
    events = []

    def function(pixels):
        events.append("sent")
        return np.asarray(pixels)

    whole = inference.jax.device_get
    monkeypatch.setattr(
        inference.jax, "device_get", lambda tree: [events.append("fetched"), whole(tree)][1]
    )
    found = results(24, function)
    next(found)
    assert events == ["sent", "sent", "fetched"]
    assert len(list(found)) == 2
    assert events[3:] == ["sent", "fetched", "fetched"]
