"""The one check of splits, and its cautions, on sources of any kind."""

import random

import numpy as np
import pytest

from dkse_jax.data.sources import Source
from dkse_jax.data.split_checks import (
    caution_of_missing,
    cautions,
    check_apart,
    check_names,
    check_splits,
)
from dkse_jax.data.splits import SPLITS
from dkse_jax.errors import UserError

NAMES = ("chalk", "ink", "oil")


def source(prefix, counts, groups=None):
    """Makes a split with so many images of each class, each a group of its own."""
    ids = tuple(f"{prefix}/{i}" for i in range(sum(counts)))
    labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return Source(NAMES, ids, labels, ids if groups is None else tuple(groups), lambda *_: None)


def splits(train=(20, 20, 20), val=(10, 10, 10), test=(10, 10, 10)):
    return {name: source(name, n) for name, n in zip(SPLITS, (train, val, test), strict=True)}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"train": (9, 0, 9)}, 'the class "ink" of "art" has no images in train'),
        ({"val": (0, 9, 9)}, 'the class "chalk" of "art" has no images in val'),
        ({"val": (0, 0, 0)}, '"art" has no images in val'),
        ({"train": (0, 0, 0)}, '"art" has no images in train'),
    ],
)
def test_train_and_val_need_every_class(changes, sentence):
    with pytest.raises(UserError, match=f"^{sentence}: train and val each need"):
        check_splits(splits(**changes), '"art"')


def test_test_may_lack_classes_or_be_empty():
    for test in ((9, 0, 9), (0, 0, 0)):
        check_splits(splits(test=test), '"art"')
        check_apart(splits(test=test), '"art"')


def test_one_class_is_refused():
    with pytest.raises(UserError, match='"art" has only the class "ink"; at least 2 are needed'):
        check_names(("ink",), '"art"')


@pytest.mark.parametrize("seed", range(10))
def test_shared_images_and_groups_are_found_and_no_others(seed):
    rng = random.Random(seed)
    names = rng.sample([f"g{i}" for i in range(100)], 30)
    shared, to = rng.choice(names), rng.choice(("val", "test"))
    made = {
        name: source(name, (5, 5, 0), names[10 * part : 10 * part + 10])
        for part, name in enumerate(SPLITS)
    }
    check_apart(made, '"art"')
    home = next(name for name in SPLITS if shared in made[name].groups)
    away = to if home != to else "train"
    given = [*made[away].groups[:9], shared]
    told = []
    check_apart(made | {away: source(away, (5, 5, 0), given)}, '"art"', told.append)
    both = " and ".join(sorted((home, away)))
    (sentence,) = told
    assert sentence.startswith(f'the group "{shared}" is in both {both}: a group must be whole')
    twice = source(home, (1, 1, 1))
    told.clear()
    check_apart(
        splits() | {"val": twice} if home != "val" else splits() | {"test": twice},
        '"art"',
        told.append,
    )
    assert len(told) == 3
    assert all(f'the image "{home}/' in sentence for sentence in told[:3])


def test_enough_groups_give_no_caution():
    assert cautions(splits()) == []
    assert cautions(splits(val=(3, 13, 14), test=(10_000, 3, 10_000))) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"val": (9, 10, 10)}, "val has only 29 images: a choice of weights cannot rest on it"),
        ({"test": (5, 5, 5)}, "test has only 15 images: a comparison cannot rest on it"),
        (
            {"val": (2, 50, 50)},
            'val has 102 images, of the class "chalk" only 2: a choice of weights cannot rest on'
            " it",
        ),
        (
            {"test": (9000, 1, 2)},
            'test has 9,003 images, of the class "ink" only 1 (and of 1 more): a comparison cannot'
            " rest on it",
        ),
        ({"test": (20, 0, 20)}, 'test has no images of the class "ink": "-" in its place'),
        ({"test": (0, 0, 0)}, "there is no test split, and val is no test: it chooses the weights"),
    ],
)
def test_each_smallness_is_one_line(changes, expected):
    assert cautions(splits(**changes)) == [f"caution: {expected}"]


def test_groups_count_and_not_images():
    groups = [f"book{i % 4}" for i in range(60)]
    made = splits() | {"test": source("test", (20, 20, 20), groups)}
    assert cautions(made) == ["caution: test has only 4 groups: a comparison cannot rest on it"]
    groups = [f"page{i}" if i < 40 else "book" for i in range(60)]
    made = splits() | {"test": source("test", (20, 20, 20), groups)}
    assert cautions(made) == [
        'caution: test has 41 groups, of the class "oil" only 1: a comparison cannot rest on it'
    ]


def test_missing_classes_of_a_folder_are_counted():
    assert caution_of_missing(source("a", (1, 1, 1)), '"art"') == []
    assert caution_of_missing(source("a", (0, 0, 1)), '"art"') == [
        'caution: "art" has no images of the class "chalk" and 1 more: "-" in its place'
    ]
