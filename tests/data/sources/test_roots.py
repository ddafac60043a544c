"""Several folders as one data set."""

import dataclasses
import os

import pytest
from PIL import Image

from dkse_jax.data.sources import load_all
from dkse_jax.data.sources.folder import list_folder, load_folder
from dkse_jax.data.sources.records import load_records
from dkse_jax.data.sources.roots import roots_of
from dkse_jax.data.splits import SPLITS, assign_splits
from dkse_jax.data.tools import check, pack
from dkse_jax.errors import UserError, refuse
from tests.data.sources.folders import classes, touch
from tests.data.sources.test_metadata import write

COLUMNS = ("file_name", "label", "group", "split")


def listed(*roots):
    return list_folder(",".join(map(str, roots)), 0, 15, 15, refuse)


def make_two(folder):
    """Writes two data sets with groups and splits, and a table for both in the folder above."""
    every = []
    for name, first in (("art", 0), ("more", 2)):
        rows = []
        for i in range(12):
            path = folder / name / f"{i}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (8, 8), (20 * i, first * 90, 0)).save(path)
            book = i // 4 + first  # book 2 is in both
            rows.append((f"{i}.png", ("ink", "oil")[i % 2], f"book{book}", SPLITS[book % 3]))
        write(folder / name / "metadata.csv", rows, COLUMNS)
        every += [(f"{name}/{row[0]}", *row[1:]) for row in rows]
    write(folder / "metadata.csv", every, COLUMNS)


def without_paths(listing):
    return [dataclasses.replace(e, path="") for e in listing.examples]


def test_two_roots_are_what_a_table_above_them_lists(tmp_path):
    make_two(tmp_path)
    both, above = listed(tmp_path / "more", tmp_path / "art"), listed(tmp_path)
    assert without_paths(both) == without_paths(above)
    assert both.given == "metadata.csv"
    books = {
        name: {e.group for e in both.examples if e.id.startswith(name)} for name in ("art", "more")
    }
    assert books["art"] & books["more"] == {"book2"}
    for example in both.examples:
        assert os.path.samefile(example.path, tmp_path / example.id)


def test_two_roots_in_the_check_and_packed(tmp_path, capsys, monkeypatch):
    make_two(tmp_path)
    root = f"{tmp_path}/art, {tmp_path}/more"
    options = {"seed": 0, "val_percent": 15, "test_percent": 15}
    check.check(root, **options, image_size=8)
    out = capsys.readouterr().out
    assert f'24 images in "{root}"; the splits are those of its metadata.csv' in out
    assert "| all   |     8 |   8 |    8 |  24 |" in out
    pack.pack(root, str(tmp_path / "packed"), **options)
    packed, plain = load_records(str(tmp_path / "packed")), load_folder(root, **options)
    for split in SPLITS:
        assert tuple(packed[split].ids) == plain[split].ids
        assert (packed[split].read(3, None) == plain[split].read(3, None)).all()
    with pytest.raises(UserError, match="is inside the folder of the images"):
        pack.pack(root, str(tmp_path / "more" / "out"), **options)
    assert load_all(root, ("oil", "ink")).ids == tuple(e.id for e in listed(tmp_path).examples)


def test_class_folders_of_two_roots_are_united_and_split_by_their_hash(tmp_path):
    touch(tmp_path / "a", *classes(20, names=("ink",)), "ink/deep/1.jpg", "ink/1.jxl")
    touch(tmp_path / "b", *classes(20, names=("oil", "ink")), "b.jpg")
    listing = listed(tmp_path / "a", tmp_path / "b")
    ids = {e.id: e.label for e in listing.examples}
    assert set(ids.values()) == {"ink", "oil"}
    assert len(ids) == 61
    assert ids["a/ink/00.jpg"] == ids["b/ink/00.jpg"] == "ink"
    assert {e.id: e.split for e in listing.examples} == assign_splits(
        {name: {label} for name, label in ids.items()}, 0, 15, 15
    )
    assert listing.left_out.troubles() == [
        '1 file is not read: 1 .jxl (first: "a/ink/1.jxl")',
        '1 file is in no class folder: 1 .jpg (first: "b/b.jpg")',
    ]


def test_one_root_keeps_its_ids_and_may_have_a_comma(tmp_path, monkeypatch):
    touch(tmp_path / "a,b", *classes())
    assert roots_of(f"{tmp_path}/a,b") == [f"{tmp_path}/a,b"]
    assert [e.id for e in listed(tmp_path / "a,b").examples] == sorted(classes())
    monkeypatch.setenv("HOME", str(tmp_path))
    assert roots_of("~/x, ~/y,") == [f"{tmp_path}/x", f"{tmp_path}/y"]


def test_roots_that_do_not_go_together_are_refused(tmp_path):
    make_two(tmp_path)
    touch(tmp_path / "plain", *classes())
    touch(tmp_path / "other" / "Art", *classes())
    (tmp_path / "link").symlink_to("art")
    for roots, sentence in (
        (("art", "plain"), 'art" gives splits, but ".*plain" gives none'),
        (("art", "other/Art"), "have one folder name, with which ids begin"),
        (("art", "link"), "share files"),
        (("art", "."), "share files"),
        (("art", "mroe"), 'has no "mroe"; did you mean "more"'),
    ):
        with pytest.raises(UserError, match=sentence):
            listed(*(tmp_path / root for root in roots))


def test_roots_that_were_moved_are_found_by_their_new_places(tmp_path):
    make_two(tmp_path)
    (tmp_path / "new").mkdir()
    before = load_folder(f"{tmp_path}/art,{tmp_path}/more", 0, 15, 15)
    (tmp_path / "more").rename(tmp_path / "new" / "more")
    after = load_folder(f"{tmp_path}/art,{tmp_path}/new/more", 0, 15, 15)
    for split in SPLITS:
        assert (before[split].ids, before[split].groups) == (after[split].ids, after[split].groups)
