"""Rows on disk: whole lines alone count, whatever was cut off or damaged."""

import random

import pytest

from dkse_jax.prediction.item import Item
from dkse_jax.prediction.journal import UNREAD, Journal
from dkse_jax.prediction.row import Row

NAMES = ("a.jpg", "ü/\udce9.jpg", "b\nc.jpg", "#1.tif#2")


def row(file, stamp="1", p=0.25):
    return Row(file, "ok", "x", (p, 1 - p), "yes", ("x", "y"), "a note", stamp)


def item(file, stamp="1"):
    return Item(file, None, bytes, stamp)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows.jsonl"


def written(path, rows, **options):
    journal = Journal(path, **options)
    journal.append(rows)
    journal.close()


def test_rows_are_found_by_file_and_stamp(path):
    rows = [row(name) for name in NAMES]
    written(path, rows)
    journal = Journal(path)
    assert [journal.row(journal.index(item(name))) for name in NAMES] == rows
    assert journal.index(item("a.jpg", "2")) == journal.index(item("no.jpg")) == -1
    [index] = journal.append([row("a.jpg", "2", 0.5)])
    assert journal.row(index).probabilities == (0.5, 0.5)
    journal.close()
    later = Journal(path)
    assert later.row(later.index(item("a.jpg", "2"))).probabilities == (0.5, 0.5)
    later.close()


@pytest.mark.parametrize("seed", range(5))
def test_of_a_file_cut_anywhere_the_whole_lines_count(path, seed):
    rows = [row(f"{i}.jpg") for i in range(20)]
    written(path, rows)
    whole = path.read_bytes()
    cut = random.Random(seed).randrange(len(whole))
    path.write_bytes(whole[:cut])
    journal = Journal(path)
    found = [journal.index(item(one.file)) >= 0 for one in rows]
    number = whole[:cut].count(b"\n")
    assert found == [True] * number + [False] * (20 - number)
    journal.append(rows[number:])
    journal.close()
    assert path.read_bytes() == whole


@pytest.mark.parametrize("seed", range(5))
def test_a_damaged_row_does_not_exist(path, capsys, seed):
    rows = [row(f"{i}.jpg") for i in range(20)]
    written(path, rows)
    data = bytearray(path.read_bytes())
    while data[place := random.Random(seed).randrange(len(data))] == 10:
        seed += 100
    data[place] ^= 1
    path.write_bytes(data)
    journal = Journal(path)
    missing = [one.file for one in rows if journal.index(item(one.file)) < 0]
    journal.close()
    assert missing == [rows[data[:place].count(b"\n")].file]
    assert "1 damaged rows" in capsys.readouterr().out


def test_other_files_are_read_and_never_written(path, tmp_path):
    written(tmp_path / "other", [row("a.jpg")])
    with (tmp_path / "other").open("ab") as file:
        file.write(b"half")
    before = (tmp_path / "other").read_bytes()
    journal = Journal(path, [tmp_path / "other"])
    index = journal.index(item("a.jpg"))
    assert not journal.is_own(index)
    [own] = journal.append([journal.row(index)])
    assert journal.is_own(own)
    journal.close()
    assert (tmp_path / "other").read_bytes() == before


def test_a_file_that_was_not_opened_is_tried_again_but_when_parts_are_merged(path):
    written(path, [row("a.jpg", UNREAD), row("b.jpg", UNREAD), row("b.jpg", "1", 0.5)])
    for retry, found in ((True, -1), (False, 0)):
        journal = Journal(path, retry=retry)
        assert journal.index(item("a.jpg")) == found
        assert journal.index(item("b.jpg")) == 2
        journal.close()


def test_the_newest_of_equal_keys_counts(path):
    written(path, [row("a.jpg", UNREAD, p) for p in (0.25, 0.75)])
    journal = Journal(path, retry=False)
    assert journal.row(journal.index(item("a.jpg"))).probabilities == (0.75, 0.25)
    journal.close()
