import numpy as np
import pytest

from dkse_jax.data import sources
from dkse_jax.data.sources import Source, load_splits
from dkse_jax.data.splits import SPLITS
from dkse_jax.errors import UserError


def test_fewer_classes_are_the_first_by_name(config, monkeypatch):
    whole = {
        name: Source(
            class_names=("ape", "bee", "cat"),
            ids=tuple(f"{name}/{letter}" for letter in "edcba"),
            labels=np.array([2, 0, 1, 2, 1], np.int32),
            groups=tuple(f"{name}/{letter}" for letter in "ghhgk"),
            read=lambda index, min_side: np.full((1, 1, 3), index),
        )
        for name in SPLITS
    }
    monkeypatch.setattr(sources, "_load_whole", lambda *_: whole)
    config.data.classes = 2
    for name, split in load_splits(config.data, 0).items():
        assert split.class_names == ("ape", "bee")
        assert split.ids == tuple(f"{name}/{letter}" for letter in "dca")
        assert split.groups == tuple(f"{name}/{letter}" for letter in "hhk")
        assert split.labels.tolist() == [0, 1, 1]
        assert ["edcba"[split.read(i, None)[0, 0, 0]] for i in range(3)] == ["d", "c", "a"]


def test_more_classes_than_there_are_is_refused(config):
    config.data.classes = 6
    with pytest.raises(UserError, match=r"data.classes is 6, but the data have only 3: hatched"):
        load_splits(config.data, 0)
