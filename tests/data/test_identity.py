import dataclasses

import numpy as np
import pytest

from dkse_jax.data import identity
from dkse_jax.data.identity import Contents, changes, rows_of
from dkse_jax.data.sources import Source, subset


def source(contents, examples=5):
    ids = tuple(f"{i}.jpg" for i in range(examples))
    groups = tuple(f"book {i // 2}" for i in range(examples))
    labels = np.arange(examples, dtype=np.int32) % 2
    return Source(("a", "b"), ids, labels, groups, lambda i, side: None, contents)


def state(seed, examples=40):
    """Rows with all that can be known, the contents of every third unread."""
    rng = np.random.default_rng(seed)
    rows = rows_of(source(None, examples), 0)
    rows["size"] = rng.integers(10, 20, examples)
    rows["time"] = rng.integers(10**18, 2 * 10**18, examples)
    for i in range(examples):
        if i % 3:
            rows["content"][i] = identity.content_digest(rng.bytes(8))
    return rows


def ids(rows):
    return [f"{i}.jpg" for i in range(len(rows))]


def test_equal_data_have_not_changed():
    assert changes(state(0), state(0)).counts == {}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("field", "what"),
    [("label", "labels"), ("group", "groups"), ("content", "content"), ("split", "splits")],
)
def test_every_kind_of_change_is_counted_and_the_first_named(field, what, seed):
    old, new = state(seed), state(seed)
    chosen = np.sort(np.random.default_rng(seed).choice(40, 7, replace=False))
    for i in chosen:
        new[field][i] = b"other" if field in ("group", "content") else 7
    if field == "content":  # of an unread image, the size stands for it
        old["content"][chosen[0]] = b""
        new["content"][chosen[0]] = b""
        new["size"][chosen[0]] += 1
        chosen = [i for i in chosen if old["content"][i] or i == chosen[0]]
    found = changes(old, new)
    assert found.counts == {what: len(chosen)}
    number = f"{len(chosen)} images"
    assert found.sentence(ids(new)) == f'{what} of {number} (first: "{chosen[0]}.jpg")'


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("field", "what"), [("label", "labels"), ("group", "groups"), ("content", "content")]
)
def test_an_exchange_that_keeps_every_count_is_a_change(field, what, seed):
    old, new = state(seed), state(seed)
    known = np.flatnonzero(old["content"] != b"")
    new[field][known] = np.random.default_rng(seed).permutation(old[field][known])
    moved = np.count_nonzero(old[field] != new[field])
    assert moved > 0
    assert sorted(old[field].tolist()) == sorted(new[field].tolist())
    assert changes(old, new).counts == {what: moved}
    assert identity.digest_of_rows(old) != identity.digest_of_rows(new)


@pytest.mark.parametrize("seed", range(3))
def test_examples_are_matched_by_their_ids(seed):
    rng = np.random.default_rng(seed)
    whole = state(seed)
    old, new = whole[np.arange(40) != 5], whole[~np.isin(np.arange(40), (20, 30))].copy()
    assert changes(old, new).counts == {"removal": 2, "addition": 1}
    new["label"][10] = 9
    found = changes(old, new)
    assert found.sentence(ids(new)) == (
        'removal of 2 images, addition of 1, labels of 1 (first: "5.jpg")'
    )
    shuffled = rng.permutation(whole)
    assert changes(whole, shuffled).counts == {"order": 40}
    assert changes(shuffled, shuffled.copy()).counts == {}


def test_a_known_content_is_not_compared_by_its_time():
    old, new = state(0), state(0)
    new["time"] += 10**12
    assert changes(old, new).counts == {"times of change": 14}  # of the unread
    new["content"] = b""
    assert changes(old, new).counts == {"times of change": 14}


@pytest.mark.parametrize("unit", [1, 100, 10**3, 10**6, 10**9, 2 * 10**9])
def test_times_rounded_by_a_file_system_are_equal(unit):
    old = state(0)
    new = old.copy()
    new["time"] -= new["time"] % unit
    assert changes(old, new).counts == changes(new, old).counts == {}
    new["time"] += 3 * 10**9 + 1
    assert changes(old, new).counts == {"times of change": 14}


def test_a_content_is_learned_when_it_is_first_read_and_compared_once():
    known = Contents.unknown(5)
    part = subset(subset(source(known), np.array([4, 1, 3])), np.array([2, 0]))  # 3 and 4
    assert known.matches(3, b"image")
    assert not known.checked[4]
    assert part.contents.known().tolist() == [known.digests[3], b""]
    assert identity.content_digest(b"image").rstrip(b"\0") == known.digests[3]
    part.contents.learn(np.array([b"x" * 16, b"y" * 16]))
    assert known.digests[3] != b"x" * 16
    assert known.digests[4] == b"y" * 16
    assert not known.matches(4, b"another")
    assert known.digests[4] == b"y" * 16
    known.digests[:] = [identity.content_digest(bytes([i])) for i in range(5)]
    assert all(known.matches(i, bytes([i])) for i in (0, 1, 2, 4))


def test_rows_of_a_subset_are_rows_of_the_whole(monkeypatch):
    known = dataclasses.replace(Contents.unknown(5), sizes=np.arange(5), times=np.arange(5) + 7)
    assert known.matches(2, b"two")
    whole = source(known)
    monkeypatch.setattr(identity, "_BLOCK", 2)  # several
    rows = rows_of(whole, 1)
    chosen = np.array([4, 2, 0])
    assert rows_of(subset(whole, chosen), 1).tolist() == rows[chosen].tolist()
    assert rows["size"].tolist() == [0, 1, 2, 3, 4]
    assert rows["split"].tolist() == [1] * 5
    assert len(set(rows["id"].tolist())) == 5
    assert len(set(rows["group"].tolist())) == 3
    assert (rows["content"] != b"").tolist() == [False, False, True, False, False]


def test_the_digest_of_rows_depends_on_all_that_identifies_data():
    rows = state(0)
    whole = identity.digest_of_rows(rows)
    for name in ("id", "label", "group", "content"):
        other = rows.copy()
        other[name][7] = 99 if name == "label" else b"other"
        assert identity.digest_of_rows(other) != whole
    rows["time"] += 1
    assert identity.digest_of_rows(rows) == whole
