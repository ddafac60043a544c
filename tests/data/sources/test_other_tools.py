"""Folders and tables as other tools, file servers and public data sets leave them."""

import errno
import os
import types

import pytest

from configs import base
from dkse_jax.data.names import spelt_alike
from dkse_jax.data.sources import load_all, load_splits, scanning
from dkse_jax.data.sources.class_folders import split_of_folder
from dkse_jax.data.sources.folder import list_folder
from dkse_jax.data.sources.roots import roots_of
from dkse_jax.errors import UserError, refuse
from tests.data.sources.folders import classes, touch
from tests.data.sources.test_metadata import write


def listed(root, report=refuse):
    return list_folder(str(root), 0, 15, 15, report)


def in_folders(*tops, inner=("ink", "oil")):
    return [name for top in tops for name in classes(4, inner, above=f"{top}/")]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("TrainImages", "train"),
        ("trainA", "train"),
        ("trainset", "train"),
        ("testdata", "test"),
        ("02 ValSet", "val"),
        ("détest", ""),
        ("contest", ""),
        ("set", ""),
        ("TrainTest", ""),
    ],
)
def test_words_of_splits_in_names(name, split):
    assert split_of_folder(name) == split


@pytest.mark.parametrize(
    "others", [["unlabeled/1.jpg"], ["pred/pred/1.jpg"], classes(4, ("bus", "car"))]
)
@pytest.mark.parametrize("inner", ["", "x/"])
def test_folders_beside_train_and_test_are_no_classes(tmp_path, others, inner):
    names = [f"{top}/{inner}{i}.jpg" for top in ("seg_train", "seg_test") for i in range(4)]
    touch(tmp_path, *names, *others)
    other = others[0].split("/")[0]
    for alone in (lambda: listed(tmp_path), lambda: load_all(str(tmp_path), ("ink", "oil"))):
        with pytest.raises(UserError, match=f'"{other}" is not known as a split.*; or move it out'):
            alone()


@pytest.mark.parametrize("inner", ["seg_train", "Training"])
def test_a_split_folder_that_is_doubled_is_refused(tmp_path, inner):
    touch(tmp_path, *in_folders(f"seg_train/{inner}", "seg_test/seg_test"), "seg_pred/1.jpg")
    with pytest.raises(UserError, match=r'/seg_te\S+ of a split has no class folders but "seg_te'):
        listed(tmp_path)
    (tmp_path / "seg_test" / "seg_test").rename(tmp_path / "ok")
    (tmp_path / "seg_test").rmdir()
    (tmp_path / "ok").rename(tmp_path / "seg_test")
    with pytest.raises(UserError, match=f'/seg_train" of a split has no .* but "{inner}": move'):
        listed(tmp_path)


@pytest.mark.parametrize("tops", [("Lernen", "Prüfung"), ("fold1", "fold2", "fold3")])
def test_class_folders_that_may_be_splits_are_named(tmp_path, tops):
    touch(tmp_path, *in_folders(*tops))
    (line,) = listed(tmp_path).remarks()
    assert f'("{tops[0]}", "{tops[1]}", ' in line
    assert f"{len(tops)} in all) have the same folders inside (ink, oil, 2 in all): if th" in line
    touch(tmp_path, f"{tops[0]}/chalk/1.jpg")
    assert listed(tmp_path).remarks() == ()


def test_a_class_of_the_name_of_a_split_is_named(tmp_path):
    touch(tmp_path, *classes(4, ("Train", "bus", "trainer")))
    assert listed(tmp_path).remarks() == (
        'the folder "Train" is taken for a class, not for a split',
    )


@pytest.mark.parametrize("table", ["labels.csv", "metadata.xlsx", "metadata.csv.gz", "a.TSV.txt"])
@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["1.jpg", "2.jpg"], "has images but no class folders"),
        (["images/1.jpg", "images/2.jpg"], 'has only the class "images"'),
        (["images/ink/1.jpg", "images/oil/2.jpg"], 'has only the class "images"'),
        (["train/1.jpg", "test/2.jpg"], "are splits, not classes: .*metadata.csv"),
    ],
)
def test_a_refused_folder_names_the_table_that_may_have_the_labels(
    tmp_path, table, names, sentence
):
    touch(tmp_path, *names, table)
    with pytest.raises(UserError, match=f'{sentence}; if "{table}" has the labels, save it as m'):
        listed(tmp_path)


def test_tables_of_other_names_are_named(tmp_path):
    touch(tmp_path, *classes(), "labels.csv", "ink/notes.csv", "data.tar.gz", "~$labels.xlsx")
    note = f'"{tmp_path}/labels.csv" is not read: only a table named metadata gives labels'
    assert listed(tmp_path).remarks()[0] == note
    assert len(listed(tmp_path).remarks()) == 2
    for name in ("metadata.csv.txt", "Metadata (1).csv", "metadata_final.xlsx"):
        touch(tmp_path, name)
    assert [line.split('" is not read: save')[0] for line in listed(tmp_path).troubles] == [
        '"Metadata (1).csv',
        '"metadata.csv.txt',
        '"metadata_final.xlsx',
    ]
    write(tmp_path / "metadata.csv", [(name, name[:3]) for name in classes()])
    assert listed(tmp_path).troubles == []


def test_a_folder_of_which_nothing_is_left_says_so(tmp_path):
    touch(tmp_path / "far", *classes())
    root = tmp_path / "root"
    root.mkdir()
    for name in ("oil", "ink"):
        (root / name).symlink_to(tmp_path / "far" / name)
    mistakes = []
    with pytest.raises(UserError, match=r'root" has no other files$'):
        listed(root, mistakes.append)
    assert "/root/ink" in mistakes[0]
    assert "/root/oil" in mistakes[1]
    touch(tmp_path / "table", *classes())
    write(tmp_path / "table" / "metadata.csv", [("no.jpg", "ink")])
    with pytest.raises(UserError, match=r"has no images in the rows of metadata\.csv; 8 files are"):
        listed(tmp_path / "table", mistakes.append)


def test_metadata_in_one_of_several_class_folders(tmp_path):
    touch(tmp_path, *classes())
    write(tmp_path / "ink" / "metadata.csv", [("00.jpg", "print")])
    with pytest.raises(UserError, match=r'/ink" or one metadata.csv in the root, for "oil" too\?'):
        listed(tmp_path)


def test_an_empty_class_folder_is_refused_with_the_remedy(tmp_path):
    touch(tmp_path, *classes(), "Cache/a.cot")
    with pytest.raises(UserError, match=r"but 1 \.cot: remove it, or move it out of the root"):
        listed(tmp_path)


def test_numbers_in_several_spellings_are_trouble(tmp_path):
    names = [f"{i}.jpg" for i in range(40)]
    touch(tmp_path / "a", *names)
    touch(tmp_path / "b", *names)
    columns = ("file_name", "label", "group")
    write(
        tmp_path / "a" / "metadata.csv",
        [(n, int(n[0]) % 2, i) for i, n in enumerate(names)],
        columns,
    )
    assert listed(tmp_path / "a").troubles == []
    rows = [(n, f"0{int(n[0]) % 2}", "3.0" if i == 9 else f"1.{i}0") for i, n in enumerate(names)]
    write(tmp_path / "b" / "metadata.csv", rows, columns)
    lines = listed(f"{tmp_path}/a,{tmp_path}/b").troubles
    assert [line.split(" look like one in two spellings: if they are")[0] for line in lines] == [
        'the classes "0" and "00"',
        'the classes "01" and "1"',
        'the groups "1" and "1.00"',
        'the groups "3" and "3.0"',
    ]


@pytest.mark.parametrize(
    ("names", "count"),
    [
        (("oil painting", "oil_painting", "oil-painting"), 2),
        (("ink", "\uff49\uff4e\uff4b"), 1),
        (("oil\u2013painting", "Oil_Painting"), 1),
        (("oil_painting", "Oil_Painting", "oil_painting."), 0),  # which are refused
        (
            (
                "oil painting",
                "oilpainting",
                "12.1",
                "12.10",
                "12-1",
                "121",
                "1",
                "-1",
                "Maße",
                "Masse",
            ),
            0,
        ),
    ],
)
def test_names_that_may_be_one_in_two_spellings(names, count):
    assert len(spelt_alike("classes", names)) == count


@pytest.mark.parametrize("inner", [("train", "test"), ("Training", "02 val", "photos")])
def test_splits_inside_class_folders_are_refused(tmp_path, inner):
    touch(tmp_path, *in_folders("ink", "oil", inner=inner))
    with pytest.raises(UserError, match=r"hold folders of splits.*: put splits above classes"):
        listed(tmp_path)
    assert len(load_all(str(tmp_path), ("ink", "oil"))) == 8 * len(inner)


@pytest.mark.parametrize("tops", [("train", "test"), ("Training", "validation", "other")])
def test_a_table_without_splits_of_files_in_folders_of_splits_is_refused(tmp_path, tops):
    names = in_folders(*tops)
    touch(tmp_path, *names)
    write(tmp_path / "metadata.csv", [(name, name.split("/")[1]) for name in names])
    with pytest.raises(
        UserError, match=r"in folders of splits \(T?t?\w+, \w+\): add the column sp"
    ):
        listed(tmp_path)
    assert len(load_all(str(tmp_path), ("ink", "oil"))) == len(names)
    rows = [(n, n.split("/")[1], split_of_folder(n.split("/")[0]) or "val") for n in names]
    write(tmp_path / "metadata.csv", rows, ("file_name", "label", "split"))
    assert listed(tmp_path).given == "metadata.csv"


def test_a_folder_that_cannot_be_read_is_not_called_empty(tmp_path, monkeypatch):
    touch(tmp_path, *classes(names=("ink", "oil", "wash")), "train/1.jpg")
    closed = {str(tmp_path / "oil")}

    def scandir(path):
        if path in closed:
            raise PermissionError(errno.EACCES, "Permission denied")
        return os.scandir(path)

    monkeypatch.setattr(scanning, "os", types.SimpleNamespace(**{**vars(os), "scandir": scandir}))
    mistakes = []
    listed(tmp_path, mistakes.append)
    assert mistakes[0] == f'the folder "{tmp_path}/oil" cannot be read: Permission denied'
    assert not any("has no images" in line for line in mistakes)
    closed.add(str(tmp_path))
    with pytest.raises(UserError, match=f'^the folder "{tmp_path}" cannot be read: Permission den'):
        listed(tmp_path, mistakes.append)


def test_groups_of_two_roots_that_are_alike_are_refused(tmp_path):
    for name, group in (("a", "Book"), ("b", "book")):
        touch(tmp_path / name, *classes())
        rows = [(n, n[:3], f"{group} {i}") for i, n in enumerate(classes())]
        write(tmp_path / name / "metadata.csv", rows, ("file_name", "label", "group"))
    with pytest.raises(UserError, match=r'the groups "Book 0" and "book 0" of .* differ only in'):
        listed(f"{tmp_path}/a,{tmp_path}/b")


def test_roots_that_are_splits_by_name_are_refused(tmp_path):
    touch(tmp_path, *in_folders("Training", "test"))
    both = f"{tmp_path}/Training,{tmp_path}/test"
    with pytest.raises(UserError, match=r"are splits by their names.*: name the folder above them"):
        listed(both)
    assert len(load_all(both, ("ink", "oil"))) == 16
    assert {e.split for e in listed(tmp_path).examples} == {"train", "val", "test"}


def test_roots_whose_names_have_commas(tmp_path):
    touch(tmp_path / "a, 1,2", *classes())
    touch(tmp_path / "b", *classes())
    first, second = f"{tmp_path}/a, 1,2", f"{tmp_path}/b"
    assert roots_of(f"{first}, {second}") == roots_of(f"{first},{second},") == [first, second]
    assert roots_of(f"{second},{first}") == [second, first]
    assert len(listed(f"{second},{first}").examples) == 16


@pytest.mark.parametrize("root", [",", " , ", ""])
def test_a_root_without_a_name_is_refused(root):
    config = base.get_config().data
    config.source, config.root = "folder", root
    with pytest.raises(UserError, match=r"data\.root is empty"):
        load_splits(config, seed=0)
