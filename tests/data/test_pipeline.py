import dataclasses
import hashlib
import tracemalloc

import numpy as np
import pytest

from configs import base
from dkse_jax.data import pipeline
from dkse_jax.data.pipeline import (
    batch_hash,
    evaluation_batches,
    fingerprint,
    place,
    training_batches,
)
from dkse_jax.data.sources import Source
from dkse_jax.data.transform import Transform


def make_source(examples: int) -> Source:
    """Makes a source in which example i is a 40 x 50 image of value i."""
    return Source(
        class_names=("a", "b"),
        ids=tuple(f"{i:03}.png" for i in range(examples)),
        labels=np.arange(examples, dtype=np.int32) % 2,
        groups=tuple(map(str, range(examples))),
        read=lambda i, min_side: np.full((40, 50, 3), i, np.uint8),
    )


@pytest.fixture
def config():
    config = base.get_config()
    config.data.image_size = 32
    config.train.batch_size = 4
    return config


def batches_of(source, config, first_step, last_step):
    return list(training_batches(source, config, first_step=first_step, last_step=last_step))


def test_starting_later_gives_the_same_batches(config):
    source = make_source(11)
    whole = batches_of(source, config, 1, 9)
    rest = batches_of(source, config, 6, 9)
    for early, late in zip(whole[5:], rest, strict=True):
        for key in ("image", "label", "index"):
            np.testing.assert_array_equal(early[key], late[key])


def test_batches_do_not_depend_on_the_number_of_threads(config):
    source = make_source(11)
    config.data.threads = 1
    one = batches_of(source, config, 1, 6)
    config.data.threads = 5
    five = batches_of(source, config, 1, 6)
    for a, b in zip(one, five, strict=True):
        np.testing.assert_array_equal(a["image"], b["image"])


def test_each_epoch_visits_each_example_once_in_its_own_order(config):
    epochs = [[place(e * 11 + i, 11, seed=0) for i in range(11)] for e in range(3)]
    orders = [[index for _, index in epoch] for epoch in epochs]
    assert all(sorted(order) == list(range(11)) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    assert [{epoch for epoch, _ in e} for e in epochs] == [{0}, {1}, {2}]


def test_many_examples_are_visited_as_few_are(monkeypatch):
    monkeypatch.setattr(pipeline, "LISTED", 1000)
    many = 1001
    places = [place(many + i, many, seed=3) for i in range(many)]
    assert {epoch for epoch, _ in places} == {1}
    order = [index for _, index in places]
    assert sorted(order) == list(range(many))
    assert order[:9] != [place(i, many, seed=3)[1] for i in range(9)]
    assert order[:9] != [place(many + i, many, seed=4)[1] for i in range(9)]


def test_the_orders_are_those_of_every_version():
    """A resumed run must continue in the order in which it began, also in a later version."""
    assert [place(i, 11, seed=0)[1] for i in range(11)] == [3, 6, 0, 10, 8, 7, 4, 1, 5, 2, 9]
    starts = [[286458, 204167, 595531, 128534], [360498, 447864, 316484, 415471]]
    for epoch, start in enumerate(starts):
        assert [place(epoch * 10**6 + i, 10**6, seed=0)[1] for i in range(4)] == start


def test_a_larger_order_takes_no_memory():
    place(0, 10**6, seed=9)
    tracemalloc.start()
    place(10**9 - 1, 10**9, seed=9)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_labels_and_hash_belong_to_the_images(config):
    source = make_source(11)
    config.augment.brightness = config.augment.contrast = config.augment.tint = 0.0
    for batch in batches_of(source, config, 1, 3):
        np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], batch["index"])
        np.testing.assert_array_equal(batch["label"], batch["index"] % 2)
    assert batch_hash(source, np.array([1, 2])) != batch_hash(source, np.array([2, 1]))


def test_the_seed_changes_order_and_augmentation(config):
    source = make_source(11)
    first = batches_of(source, config, 1, 1)[0]
    config.seed = 1
    second = batches_of(source, config, 1, 1)[0]
    assert list(first["index"]) != list(second["index"])


@pytest.mark.parametrize("examples", [1, 7, 8, 9, 23])
def test_evaluation_visits_each_example_once_and_pads(examples):
    batches = list(
        evaluation_batches(make_source(examples), Transform(size=32), batch_size=8, threads=2)
    )
    seen = np.concatenate([b["image"][b["real"], 0, 0, 0] for b in batches])
    np.testing.assert_array_equal(seen, np.arange(examples))
    assert all(b["image"].shape == (8, 32, 32, 3) for b in batches)
    assert not batches[-1]["image"][~batches[-1]["real"]].any()


def test_a_reading_error_reaches_the_caller_as_it_is(config):
    def refuse(index, min_side):
        raise ValueError("mud.jpg is not a picture")

    source = Source(("a", "b"), ("mud.jpg",), np.zeros(1, np.int32), ("g",), refuse)
    with pytest.raises(ValueError, match=r"mud.jpg is not a picture"):
        batches_of(source, config, 1, 2)


def test_fingerprint_changes_with_ids_labels_and_class_names():
    source = make_source(5)
    other = [
        Source(("a", "c"), source.ids, source.labels, source.groups, source.read),
        Source(source.class_names, source.ids[::-1], source.labels, source.groups, source.read),
        Source(source.class_names, source.ids, 1 - source.labels, source.groups, source.read),
    ]
    assert len({fingerprint(s) for s in (source, *other)}) == 4


def test_fingerprint_is_of_all_lines_in_one():
    """Fingerprints of saved runs must never change, for few and for many examples."""
    for examples in (5, 10_000):
        source = make_source(examples)
        lines = [*source.class_names, *source.ids, *map(str, source.labels.tolist())]
        assert fingerprint(source) == hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_training_and_evaluation_views_have_the_same_autocontrast(config):
    ramp = np.arange(50, 130, dtype=np.uint8)[None, :, None].repeat(40, 0).repeat(3, 2)
    source = dataclasses.replace(make_source(8), read=lambda i, min_side: ramp)
    config.augment.enabled, config.data.levels = False, True
    transform = Transform.of(config.data)
    evaluated = next(evaluation_batches(source, transform, batch_size=4, threads=1))["image"]
    trained = batches_of(source, config, 1, 1)[0]["image"]
    np.testing.assert_array_equal(trained, evaluated)
    assert np.ptp(trained) > 85  # without autocontrast 40


def test_names_that_are_no_valid_text_remain_distinct():
    sources = [dataclasses.replace(make_source(1), ids=(name,)) for name in ("\udce9", "\udce8")]
    assert len({fingerprint(source) for source in sources}) == 2
    assert len({batch_hash(source, np.array([0])) for source in sources}) == 2


def test_threads_are_a_little_ahead_and_stop_with_their_reader():
    made = []
    results = pipeline.in_threads(range(0, 3000, 3), lambda key: made.append(key) or key, 4)
    assert made == []
    assert [next(results) for _ in range(5)] == [0, 3, 6, 9, 12]
    results.close()
    assert 5 <= len(made) <= 5 + 4 + pipeline._AHEAD
    assert list(pipeline.in_threads(range(0), made.append, 4)) == []


def test_an_error_in_a_thread_comes_in_its_place():
    made = []

    def make(key):
        made.append(key)
        return 10 // (key - 2)

    results = pipeline.in_threads(range(100), make, 1)
    assert [next(results), next(results)] == [-5, -10]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert len(made) <= 3 + 1 + pipeline._AHEAD
