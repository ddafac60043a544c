"""Splits by hash: equal on every machine and in every version, and leak-free."""

import unicodedata

import numpy as np
import pytest

from dkse_jax.data.splits import SPLITS, _hash_percent, assign_splits
from dkse_jax.errors import UserError


def groups(count, class_names=("oil", "ink")):
    return {f"{name}/{i:04}.jpg": {name} for name in class_names for i in range(count)}


def test_the_assignment_never_changes():
    """A change of the hash would move test images into train between two versions."""
    split_of = assign_splits(groups(6, ("ink",)), seed=0, val_percent=15, test_percent=15)
    assert [split_of[f"ink/{i:04}.jpg"] for i in range(6)] == [
        "test",
        "train",
        "train",
        "test",
        "train",
        "val",
    ]
    assert _hash_percent("ink/0000.jpg", 0) == pytest.approx(14.536172, abs=1e-6)
    assert _hash_percent("ink/0000.jpg", 7) == pytest.approx(86.923064, abs=1e-6)


def test_shares_are_met_and_independent_of_the_class():
    split_of = assign_splits(groups(4000), seed=3, val_percent=15, test_percent=25)
    for name in ("oil", "ink"):
        of_class = [split for group, split in split_of.items() if group.startswith(name)]
        shares = {split: of_class.count(split) / 4000 for split in SPLITS}
        np.testing.assert_allclose(
            [shares["train"], shares["val"], shares["test"]], [0.6, 0.15, 0.25], atol=0.02
        )


def test_order_does_not_matter():
    some = groups(50)
    backwards = dict(reversed(some.items()))
    assert assign_splits(some, 0, 15, 15) == assign_splits(backwards, 0, 15, 15)


def test_adding_files_moves_no_other():
    few, many = (assign_splits(groups(count), 0, 15, 15) for count in (100, 200))
    assert {group: many[group] for group in few} == few


def test_another_seed_is_another_assignment():
    some = groups(100)
    assert assign_splits(some, 0, 15, 15) != assign_splits(some, 1, 15, 15)


def test_a_change_of_the_validation_share_keeps_the_test_set():
    some = groups(200)
    tests = [
        {group for group, split in assign_splits(some, 0, val, 15).items() if split == "test"}
        for val in (5, 40)
    ]
    assert tests[0] == tests[1]


def test_unicode_spellings_fall_together():
    composed, decomposed = (unicodedata.normalize(form, "Dürer") for form in ("NFC", "NFD"))
    for seed in range(20):
        ends = []
        for name in (composed, decomposed):
            some = groups(50, ("ink",)) | {name: {"ink"}}
            ends.append(assign_splits(some, seed, 30, 30)[name])
        assert ends[0] == ends[1]


@pytest.mark.parametrize("seed", range(30))
def test_every_class_is_in_every_split(seed):
    some = groups(3) | groups(4, ("chalk",))
    split_of = assign_splits(some, seed, 1, 1)
    for name in ("oil", "ink", "chalk"):
        assert {split_of[group] for group in some if some[group] == {name}} == set(SPLITS)


def test_the_nearest_group_fills_an_empty_split():
    """Small shares put all groups into train; the two smallest hashes are nearest."""
    some = groups(40, ("oil",))
    filled = assign_splits(some, 0, 1e-9, 1e-9)
    test, val = (next(g for g in some if filled[g] == split) for split in ("test", "val"))
    assert [test, val] == sorted(some, key=lambda group: _hash_percent(group, 0))[:2]


@pytest.mark.parametrize("seed", range(10))
def test_a_group_of_several_classes_is_whole_and_still_fills(seed):
    shared = {f"book{i}": {"oil", "ink"} for i in range(3)} | {"book9": {"oil", "ink", "chalk"}}
    some = shared | groups(2, ("chalk",))
    split_of = assign_splits(some, seed, 10, 10)
    assert split_of.keys() == some.keys()
    for name in ("oil", "ink", "chalk"):
        assert {split_of[group] for group in some if name in some[group]} == set(SPLITS)


def test_too_few_groups_is_an_error():
    with pytest.raises(UserError, match=r'class "oil" has too few groups \(2\)'):
        assign_splits(groups(5, ("ink",)) | groups(2, ("oil",)), 0, 15, 15)


def test_all_classes_with_too_few_groups_can_be_told_at_once():
    told = []
    some = groups(5, ("ink",)) | groups(2, ("oil",)) | groups(1, ("chalk",))
    assert assign_splits(some, 0, 15, 15, told.append).keys() == some.keys()
    assert [sentence[:34] for sentence in told] == [
        'class "chalk" has too few groups (',
        'class "oil" has too few groups (2)',
    ]


@pytest.mark.parametrize(("val", "test"), [(0, 15), (15, -1), (60, 40), (-1, 15), (100, 0)])
def test_shares_that_leave_a_split_empty_are_an_error(val, test):
    with pytest.raises(UserError, match=f"val_percent={val} and test_percent={test}"):
        assign_splits(groups(10), 0, val, test)
