"""Splits by hash: properties for any groups, classes, seed and shares."""

from collections.abc import Mapping, Set

from hypothesis import given
from hypothesis import strategies as st

from dkse_jax.data.splits import SPLITS, _hash_percent, assign_splits

Groups = Mapping[str, Set[str]]

SEEDS = st.integers(0, 2**32 - 1)
SHARES = st.sampled_from([(1e-6, 1e-6), (15.0, 15.0), (1.0, 60.0), (49.0, 50.0)])  # val, test
NAMES = st.text(min_size=1, max_size=6)
CLASSES = ("oil", "ink", "chalk")


@st.composite
def groups(draw, prefix: str = "", least: int = 3) -> Groups:
    """Draws at least `least` groups of each class alone, and some of several classes."""
    found: dict[str, Set[str]] = {}
    for name in CLASSES:
        for group in draw(st.sets(NAMES, min_size=least, max_size=9)):
            found[f"{prefix}{name}/{group}"] = {name}
    for group in draw(st.sets(NAMES, max_size=4)):
        found[f"{prefix}shared/{group}"] = draw(st.sets(st.sampled_from(CLASSES), min_size=2))
    return found


def by_hash(some: Groups, seed: int, val: float, test: float) -> dict[str, str]:
    """Assigns each group by the hash of its name alone."""

    def split(percent: float) -> str:
        return "test" if percent < test else "val" if percent < test + val else "train"

    return {group: split(_hash_percent(group, seed)) for group in some}


def filled(some: Groups, split_of: Mapping[str, str]) -> set[tuple[str, str]]:
    """Returns the (class, split) pairs that have a group."""
    return {(name, split_of[group]) for group in some for name in some[group]}


@given(groups(), SEEDS, SHARES)
def test_each_group_is_in_one_split_and_each_class_in_every_one(some, seed, shares):
    split_of = assign_splits(some, seed, *shares)
    assert split_of.keys() == some.keys()
    assert filled(some, split_of) == {(name, split) for name in CLASSES for split in SPLITS}


@given(groups(), SEEDS, SHARES)
def test_a_group_only_leaves_its_place_to_fill_an_empty_split(some, seed, shares):
    split_of, own = assign_splits(some, seed, *shares), by_hash(some, seed, *shares)
    every = {(name, split) for name in CLASSES for split in SPLITS}
    empty = every - filled(some, own)
    moved = [group for group in some if split_of[group] != own[group]]
    assert len(moved) <= len(empty)
    for group in moved:
        assert any((name, split_of[group]) in empty for name in some[group])


@given(groups(), groups(prefix="new/", least=0), SEEDS, SHARES)
def test_adding_groups_moves_no_other_where_no_split_was_empty(some, new, seed, shares):
    own = by_hash(some, seed, *shares)
    few, many = assign_splits(some, seed, *shares), assign_splits(some | new, seed, *shares)
    full = {name for name in CLASSES if {(name, s) for s in SPLITS} <= filled(some, own)}
    for group in some:
        if some[group] <= full:
            assert many[group] == few[group] == own[group]


@given(groups(), SEEDS, SHARES, st.randoms(use_true_random=False))
def test_the_order_of_groups_and_classes_does_not_matter(some, seed, shares, random):
    shuffled = [(group, sorted(names)) for group, names in some.items()]
    random.shuffle(shuffled)
    again = {group: set(random.sample(names, len(names))) for group, names in shuffled}
    assert assign_splits(again, seed, *shares) == assign_splits(some, seed, *shares)
