import json
from types import SimpleNamespace

import numpy as np
import pytest
from ml_collections import ConfigDict

from dkse_jax import readable as module
from dkse_jax.data.decode import BadImage
from dkse_jax.data.pipeline import fingerprint
from dkse_jax.data.sources import Source, subset
from dkse_jax.errors import UserError
from dkse_jax.readable import check_classes, list_skipped, readable
from dkse_jax.training.setup import readable_splits

LABELS = [0, 1, 0, 1, 0, 1, 0, 1]


def source(bad, reads=None):
    """Eight images of two classes, each filled with its index; those in `bad` cannot be read."""

    def read(index, min_side):
        if reads is not None:
            reads.append(index)
        if index in bad:
            raise BadImage(f'the image "{index}.png" cannot be read: it is empty')
        return np.full((4, 4, 3), index, np.uint8)

    ids = tuple(f"{index}.png" for index in range(8))
    return Source(("a", "b"), ids, np.array(LABELS, np.int32), ids, read)


def settings(**changes):
    fields = {"on_bad_image": "skip", "max_bad_percent": 100.0, "threads": 2}
    return ConfigDict(fields | changes)


def test_unreadable_images_are_left_out_and_listed_in_order(tmp_path, capsys):
    reads = []
    rest, skipped = readable(tmp_path, source({4, 1}, reads), settings(), 4)
    reasons = [f'the image "{index}.png" cannot be read: it is empty' for index in (1, 4)]
    assert sorted(reads) == list(range(8))
    assert rest.ids == tuple(f"{index}.png" for index in (0, 2, 3, 5, 6, 7))
    assert rest.labels.tolist() == [0, 0, 1, 1, 0, 1]
    assert [int(rest.read(index, None)[0, 0, 0]) for index in range(6)] == [0, 2, 3, 5, 6, 7]
    assert skipped == [("1.png", "b", reasons[0]), ("4.png", "a", reasons[1])]
    assert capsys.readouterr().out.splitlines() == [f"skipped: {reason}" for reason in reasons]
    list_skipped(tmp_path, skipped)
    assert (tmp_path / "skipped.csv").read_text().splitlines()[0] == "file,label,reason"
    assert len((tmp_path / "skipped.csv").read_text().splitlines()) == 3


def test_a_later_start_reads_nothing_and_finds_the_same(tmp_path, capsys):
    first, _ = readable(tmp_path, source({4, 1}), settings(), 4)
    reads = []
    second, skipped = readable(tmp_path, source(set(), reads), settings(), 4)
    assert reads == []
    assert second.ids == first.ids
    assert [file for file, _, _ in skipped] == ["1.png", "4.png"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == lines[2:]
    assert len(lines) == 4


def test_other_images_of_the_same_names_are_read(tmp_path):
    readable(tmp_path, source({4, 1}), settings(), 4)
    assert len(readable(None, source({6}), settings(), 4)[0]) == 7


def test_the_record_keeps_other_splits_and_is_made_again_if_damaged(tmp_path):
    record = tmp_path / module.RECORD
    whole, other = source({6}), subset(source({6}), np.array([0, 1, 6]))
    for split in (whole, other):
        readable(tmp_path, split, settings(), 4)
    found = json.loads(record.read_text())
    assert {key: [index for index, _ in pairs] for key, pairs in found.items()} == {
        fingerprint(whole): [6],
        fingerprint(other): [2],
    }
    record.write_text("{")
    assert len(readable(tmp_path, whole, settings(), 4)[0]) == 7


def test_the_first_process_decides_for_all(monkeypatch):
    monkeypatch.setattr(module.processes, "broadcast", lambda decide: [[4, "it is empty"]])
    reads = []
    rest, skipped = readable(None, source({4, 1}, reads), settings(), 4)
    assert (len(rest), skipped) == (7, [("4.png", "a", "it is empty")])
    assert reads == []


def test_more_than_the_share_is_refused_at_every_start(tmp_path):
    for _ in range(2):
        with pytest.raises(
            UserError, match=r"^3 of 8 images .* config.data.max_bad_percent=25; .*6\.p"
        ):
            readable(tmp_path, source({0, 1, 6}), settings(max_bad_percent=25.0), 4)
    assert not list(tmp_path.iterdir())
    assert len(readable(tmp_path, source({0, 1, 6}), settings(), 4)[1]) == 3
    with pytest.raises(UserError, match=r"^3 of 8 images"):  # of what is kept, too
        readable(tmp_path, source({0, 1, 6}), settings(max_bad_percent=25.0), 4)
    with pytest.raises(UserError, match="none of the 8 images can be read"):
        readable(None, source(range(8)), settings(), 4)


def test_a_class_without_a_readable_image_is_refused(tmp_path):
    whole = source({0, 2, 4, 6})
    rest, _ = readable(tmp_path, whole, settings(), 4)
    with pytest.raises(UserError, match='no image of the class "a" can be read'):
        check_classes(whole, rest)
    check_classes(whole, readable(None, source({0, 2, 4}), settings(), 4)[0])


def test_val_too_needs_a_readable_image_of_every_class(tmp_path):
    splits = {"train": source(set()), "val": subset(source({0, 2, 4}), np.arange(6))}
    setup = SimpleNamespace(
        splits=splits,
        config=SimpleNamespace(data=settings()),
        transform=SimpleNamespace(size=4),
    )
    with pytest.raises(UserError, match='no image of the class "a" can be read'):
        readable_splits(setup, tmp_path)


def test_the_config_decides(tmp_path):
    whole = source({0})
    assert readable(tmp_path, whole, settings(on_bad_image="error"), 4) == (whole, [])
    assert not list(tmp_path.iterdir())
    rest, skipped = readable(tmp_path, source(set()), settings(), 4)
    assert (len(rest), skipped) == (8, [])
