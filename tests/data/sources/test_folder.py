"""Folders of images as users have them, and each mistake in them reported in one sentence."""

import pickle
import random
import shutil
import unicodedata

import numpy as np
import pytest
from PIL import Image

from configs import base
from dkse_jax.data.sources import load_all as load_all_of_sources
from dkse_jax.data.sources import load_splits
from dkse_jax.data.sources.folder import load_all, load_folder
from dkse_jax.data.splits import SPLITS
from dkse_jax.errors import UserError

NFC, NFD = (unicodedata.normalize(form, "Dürer") for form in ("NFC", "NFD"))


def touch(root, *names):
    """Writes empty files, for checks that precede decoding."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def make_classes(root, count=20, names=("ink", "oil")):
    touch(root, *(f"{name}/{i:02}.jpg" for name in names for i in range(count)))


def write_metadata(root, *rows, columns="file_name,label,group,split"):
    (root / "metadata.csv").write_text("\n".join((columns, *rows)) + "\n", encoding="utf-8")


def make_listed(root, *extra):
    """Writes a metadata.csv of 2 classes in 3 splits; its last row is row 7."""
    names = [f"{label}{i}.jpg" for label in ("ink", "oil") for i in range(3)]
    touch(root, *names)
    rows = [f"{name},{name[:3]},book{name[3]},{SPLITS[int(name[3])]}" for name in names]
    write_metadata(root, *rows, *extra)


def load(root, **shares):
    config = base.get_config().data
    config.source, config.root = "folder", str(root)
    config.folder.update(shares)
    return load_splits(config, seed=0)


def test_class_folders(tmp_path):
    make_classes(tmp_path)
    touch(tmp_path, "oil/deep/er/a.PNG", "oil/b.Jpeg", "oil/c.webp", "oil/d.tiff", "ink/e.gif")
    touch(tmp_path, ".git/f.jpg", "oil/.g.jpg", "oil/.cache/h.jpg", "oil/notes.txt", "README.md")
    sources = load(tmp_path)
    assert list(sources) == ["train", "val", "test"]
    ids = [name for source in sources.values() for name in source.ids]
    names = [f"{label}/{i:02}.jpg" for label in ("ink", "oil") for i in range(20)]
    odd = ["oil/deep/er/a.PNG", "oil/b.Jpeg", "oil/c.webp", "oil/d.tiff", "ink/e.gif"]
    assert sorted(ids) == sorted(names + odd)
    for source in sources.values():
        assert source.class_names == ("ink", "oil")
        assert source.labels.dtype == np.int32
        assert source.groups == source.ids == tuple(sorted(source.ids))
        assert [source.class_names[i] for i in source.labels] == [
            n.split("/")[0] for n in source.ids
        ]
        assert set(source.labels) == {0, 1}


def test_reads_the_image_of_the_index(tmp_path):
    make_classes(tmp_path, count=4)
    for i, path in enumerate(sorted(tmp_path.glob("*/*.jpg"))):
        Image.new("RGB", (64, 48), (30 * i, 0, 0)).save(path)
    order = sorted(f"{label}/{i:02}.jpg" for label in ("ink", "oil") for i in range(4))
    for source in load(tmp_path).values():
        read = pickle.loads(pickle.dumps(source.read))
        for index, name in enumerate(source.ids):
            assert source.read(index, None).shape == (48, 64, 3)
            assert read(index, 10).shape == (12, 16, 3)
            assert abs(source.read(index, None)[0, 0, 0] - 30.0 * order.index(name)) < 4


def test_a_broken_image_is_named_when_it_is_read(tmp_path):
    make_classes(tmp_path)
    with pytest.raises(UserError, match=r"ink/\d\d\.jpg"):
        load(tmp_path)["train"].read(0, None)


def test_seed_and_shares_reach_the_splits(tmp_path):
    make_classes(tmp_path, count=100)
    sizes = [len(load_folder(str(tmp_path), 0, 10, share)["test"]) for share in (10, 60)]
    assert sizes[0] < 40 < 100 < sizes[1]
    assert load(tmp_path)["test"].ids != load_folder(str(tmp_path), 1, 15, 15)["test"].ids


def test_metadata_with_splits(tmp_path):
    make_listed(tmp_path)
    touch(tmp_path, "ink3.jpg", "unlisted.jpg")
    with (tmp_path / "metadata.csv").open("a") as file:
        file.write("./ink3.jpg,ink,,validation\n")
    sources = load(tmp_path)
    assert sources["train"].ids == ("ink0.jpg", "oil0.jpg")
    assert sources["val"].ids == ("ink1.jpg", "ink3.jpg", "oil1.jpg")
    assert sources["test"].ids == ("ink2.jpg", "oil2.jpg")
    assert sources["val"].groups == ("book1", "ink3.jpg", "book1")
    assert sources["val"].labels.tolist() == [0, 0, 1]
    assert sources["val"].class_names == ("ink", "oil")


def test_metadata_is_read_as_people_write_it(tmp_path):
    make_listed(tmp_path)
    plain = load(tmp_path)
    rng = random.Random(0)
    ends = ("", " ", "\u00a0", "\u200b", "\ufeff", "\u3000 ", "\t")
    lines = (tmp_path / "metadata.csv").read_text().splitlines()
    cells = [line.split(",") for line in lines]
    cells[0] = [f" {column}\u00a0" for column in cells[0]]
    for row in cells[1:]:
        row[1:] = [rng.choice(ends) + cell + rng.choice(ends) for cell in row[1:]]
        row[3] = rng.choice((str.upper, str.title, str.lower))(row[3])
    (tmp_path / "metadata.csv").write_text("\n".join(",".join(row) for row in cells))
    for split, source in load(tmp_path).items():
        assert (source.class_names, source.ids) == (("ink", "oil"), plain[split].ids)
        assert source.groups == plain[split].groups
        assert source.labels.tolist() == plain[split].labels.tolist()


def test_class_folders_with_spaces_at_the_ends_are_one_class(tmp_path):
    make_classes(tmp_path, names=("ink", "ink ", "\u00a0ink", "oil\u200b"), count=4)
    splits = load(tmp_path)
    assert splits["train"].class_names == ("ink", "oil")
    assert sum(map(len, splits.values())) == 16
    assert load_all(str(tmp_path), ("oil", "ink")).labels.tolist().count(1) == 12
    for name, sentence in (
        ("Ink", 'the classes "Ink" and "ink" of'),
        ("ink.", 'the classes "ink" and "ink." of'),
        ("\u00a0", "has a name of spaces alone"),
    ):
        make_classes(tmp_path, names=[name], count=4)
        assert_fails(tmp_path, sentence)
        shutil.rmtree(tmp_path / name)


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    write_metadata(tmp_path, columns="file_name,label,label ")
    assert_fails(tmp_path, 'has the column "label" twice')


def test_a_training_without_test_images(tmp_path):
    make_listed(tmp_path)
    lines = (tmp_path / "metadata.csv").read_text().splitlines()
    write_metadata(tmp_path, *(line for line in lines[1:] if "test" not in line))
    splits = load(tmp_path)
    assert [len(source) for source in splits.values()] == [2, 2, 0]
    write_metadata(tmp_path, *(line for line in lines[1:] if "ink2" not in line))
    assert load(tmp_path)["test"].labels.tolist() == [1]
    (tmp_path / "metadata.csv").unlink()
    make_classes(tmp_path / "folders")
    splits = load(tmp_path / "folders", test_percent=0.0)
    assert [len(source) for source in splits.values()][1:] == [5, 0]
    assert splits["test"].class_names == ("ink", "oil")


def test_metadata_with_groups_keeps_them_whole(tmp_path):
    names = [f"{i:03}.jpg" for i in range(120)]
    touch(tmp_path, *names)
    rows = [f"{n},{'ink' if i % 2 else 'oil'},book{i // 4}" for i, n in enumerate(names)]
    write_metadata(tmp_path, *rows, columns="file_name,label,group")
    sources = load(tmp_path)
    assert sum(len(source) for source in sources.values()) == 120
    groups = [set(source.groups) for source in sources.values()]
    assert len(set.union(*groups)) == 30 == sum(len(g) for g in groups)


def test_metadata_alone_makes_each_file_a_group(tmp_path):
    make_classes(tmp_path)
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/*.jpg"))
    by_folders = load(tmp_path)
    # With the byte order mark and line ends of a spreadsheet.
    text = "\r\n".join(["file_name,label", *(f"{name},{name[:3]}" for name in names)])
    (tmp_path / "metadata.csv").write_text(text, encoding="utf-8-sig", newline="")
    by_metadata = load(tmp_path)
    for split in SPLITS:
        assert by_metadata[split].ids == by_folders[split].ids


def test_unicode_spellings_are_one_name(tmp_path):
    touch(tmp_path, *(f"{NFD}/{i}.jpg" for i in range(4)), *(f"ink/{i}.jpg" for i in range(4)))
    assert load(tmp_path)["train"].class_names == (NFC, "ink")
    assert len(load_all(str(tmp_path), [NFD, "ink"])) == 8
    assert load_all(str(tmp_path), [NFC, "ink"]).ids[0] == f"{NFC}/0.jpg"
    rows = [f"{NFC}/{i}.jpg,{NFC if i % 2 else NFD}" for i in range(4)]
    rows += [f"ink/{i}.jpg,ink" for i in range(4)]
    write_metadata(tmp_path, *rows, columns="file_name,label")
    assert load(tmp_path)["train"].class_names == (NFC, "ink")
    touch(tmp_path, f"{NFC}/0.jpg")
    with pytest.raises(UserError, match="twice, in two Unicode spellings"):
        load(tmp_path)


def test_load_all_takes_the_class_order_given(tmp_path):
    make_classes(tmp_path, count=2)
    for loader in (load_all, load_all_of_sources):
        source = loader(str(tmp_path), ("oil", "chalk", "ink"))
        assert source.class_names == ("oil", "chalk", "ink")
        assert source.ids == ("ink/00.jpg", "ink/01.jpg", "oil/00.jpg", "oil/01.jpg")
        assert source.labels.tolist() == [2, 2, 0, 0]
        assert source.labels.dtype == np.int32


def test_load_all_takes_a_folder_that_lacks_classes(tmp_path):
    touch(tmp_path, "oil/deep/a.jpg")
    (tmp_path / "ink").mkdir()
    assert load_all(str(tmp_path), ("ink", "oil")).ids == ("oil/deep/a.jpg",)


def test_load_all_takes_every_split_and_incomplete_ones(tmp_path):
    make_listed(tmp_path)
    assert len(load_all(str(tmp_path), ("ink", "oil"))) == 6
    write_metadata(tmp_path, "oil1.jpg,oil,b,test")
    assert load_all(str(tmp_path), ("ink", "oil")).labels.tolist() == [1]


def test_load_all_refuses_unknown_classes_and_no_images(tmp_path):
    make_classes(tmp_path, names=("oil", "inks"), count=1)
    with pytest.raises(UserError, match=r'class "inks", which the weights.*did you mean "ink"'):
        load_all(str(tmp_path), ("ink", "oil"))
    (tmp_path / "none" / "ink").mkdir(parents=True)
    with pytest.raises(UserError, match="has no images"):
        load_all(str(tmp_path / "none"), ("ink", "oil"))


def assert_fails(root, match):
    with pytest.raises(UserError, match=match) as caught:
        load(root)
    assert "\n" not in str(caught.value)


def test_root_mistakes(tmp_path):
    make_classes(tmp_path / "paintings" / "all")
    assert_fails("", "data.root is empty")
    assert_fails(tmp_path / "painting", 'has no "painting"; did you mean "paintings"')
    assert_fails(tmp_path / "painting" / "all", 'has no "painting"; did you mean "paintings"')
    assert_fails(tmp_path / "paintings" / "xyzzy", r'paintings" has no "xyzzy"$')
    assert_fails(tmp_path / "paintings" / "all" / "ink" / "00.jpg", "is not a folder")
    assert_fails(tmp_path / "paintings" / "all" / "ink", 'no class folders; did you mean .*/all"')
    assert_fails(tmp_path / "paintings", 'only the class "all"; did you mean ".*paintings/all"')


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    make_classes(tmp_path / "art")
    assert load("~/art")["train"].class_names == ("ink", "oil")


@pytest.mark.parametrize(
    "name", ["packed_images-train.array_record-00000-of-00001", "a-b.array_record-00002-of-00012"]
)
def test_packed_records_are_no_folder_of_images(tmp_path, name):
    touch(tmp_path, name)
    assert_fails(tmp_path, r"holds packed records.*: data.source=records reads them")


def test_class_folder_mistakes(tmp_path):
    assert_fails(tmp_path, "neither class folders nor metadata.csv")
    make_classes(tmp_path, names=["ink"])
    assert_fails(tmp_path, 'only the class "ink"; at least 2')
    touch(tmp_path, "oil/notes.txt")
    assert_fails(tmp_path, r'class folder ".*/oil" has no images')
    touch(tmp_path, "oil/0.jpg", "oil/1.jpg")
    assert_fails(tmp_path, r'class "oil" has too few groups \(2\)')


def test_split_folders_are_no_classes(tmp_path):
    touch(tmp_path, *(f"{split}/{i}.jpg" for split in ("train", "valid") for i in range(5)))
    assert_fails(tmp_path, r"\(train, valid\) are splits, not classes")


def test_a_data_set_inside_the_root_is_found(tmp_path):
    make_listed(tmp_path / "art5")
    make_classes(tmp_path / "other")
    assert_fails(tmp_path, 'did you mean ".*/art5"')


def test_links_stay_inside(tmp_path):
    root = tmp_path / "root"
    make_classes(root)
    touch(tmp_path, "outside/a.jpg")
    link = root / "oil" / "link.jpg"
    link.symlink_to(tmp_path / "outside" / "a.jpg")
    assert_fails(root, r'link ".*/link\.jpg" leads out of the data root, to .*: copy the files')
    link.unlink()
    link.symlink_to(root / "oil" / "00.jpg")
    (tmp_path / "art").symlink_to(root)  # the root itself may be a link
    for name in ("root", "art"):
        assert "oil/link.jpg" in load_all(str(tmp_path / name), ("ink", "oil")).ids
    for target in (root, root / "ink"):
        link.unlink()
        link.symlink_to(target)
        source = load_all(str(root), ("ink", "oil"))
        assert len(source) == 40
        assert source.remarks == (
            'not taken for pictures: 1 link to a folder that is listed (first: "oil/link.jpg")',
        )
    link.unlink()
    link.symlink_to(tmp_path / "outside")
    assert_fails(root, "leads out of the data root")


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ("filename,label", 'no column "file_name"; did you mean "filename"'),
        ("file_name,labels", 'no column "label"; did you mean "labels"'),
        ("file_name,kind", 'no column "label"; choose one of file_name, kind'),
        ("", 'no column "file_name"'),
        ("file_name,label,groups", 'column "groups"; did you mean "group"'),
        ("file_name,label,Splits", 'column "Splits"; did you mean "split"'),
        ("file_name,label,Split,split", 'has the column "split" twice'),
    ],
)
def test_column_mistakes(tmp_path, columns, match):
    write_metadata(tmp_path, columns=columns)
    assert_fails(tmp_path, match)


def test_other_columns_are_ignored(tmp_path):
    make_listed(tmp_path)
    text = (tmp_path / "metadata.csv").read_text().replace("\n", ",x\n").replace("x", "title", 1)
    (tmp_path / "metadata.csv").write_text(text)
    assert len(load(tmp_path)["train"]) == 2


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ("oli0.jpg,oil,b,train", r'row 8 of ".*" names "oli0.jpg".*did you mean "oil0.jpg"'),
        ("deep/oil0.jpg,oil,b,train", 'does not exist; did you mean "oil0.jpg"'),
        ("zzzzzzzzzzzzzz,oil,b,train", 'names "zzzzzzzzzzzzzz", which does not exist$'),
        ("oil0.jpg,oil,book0,train", 'row 8 of ".*" repeats "oil0.jpg" of row 5'),
        ("./oil0.jpg,oil,book0,train", 'repeats "oil0.jpg" of row 5'),
        ("oil3.jpg,oil,b,trian", 'row 8 of ".*" has the split "trian"; did you mean "train"'),
        ("oil3.jpg,oil,b,", 'has the split ""; choose one of test, train, val'),
        ("oil3.jpg,oil", 'has the split ""'),
        ("oil3.jpg,,b,train", "row 8 of .* has no label"),
        (",oil,b,train", "row 8 of .* has no file_name"),
        ("oil3.jpg,oil,b,train,more", "row 8 of .* has more cells than the header"),
        ("../oil3.jpg,oil,b,train", "row 8 of .* outside of the data root"),
        ("a/../../oil3.jpg,oil,b,train", "outside of the data root"),
        ("/etc/passwd,oil,b,train", "outside of the data root"),
        ("oil3.jpg,oil,book1,train", 'group "book1" is in both val and train'),
        ("oil3.jpg,chalk,b,train", 'class "chalk" of ".*" has no images in val'),
        ("oil3.jpg,chalk,b,VAL", 'class "chalk" of ".*" has no images in train'),
        ("oil3.jpg,Ink,b,train", 'the classes "Ink" and "ink" of ".*" differ only in case'),
        ("oil3.jpg,oil.,b,train", 'the classes "oil" and "oil." of ".*" differ only in case'),
        ("oil3.jpg,oil,Book0,train", 'the groups "book0" and "Book0" of ".*" differ only in case'),
        ("oil3.jpg,oil,book1 ,train", 'group "book1" is in both val and train'),
        ("oil3.jpg,oil,b, TRIAN", 'has the split " TRIAN"; did you mean "train"'),
        ("oil3.jpg,oil,b,valid", 'has the split "valid"; did you mean "val"'),
        ("oil3.jpg, ​,b,train", "row 8 of .* has no label"),
    ],
)
def test_row_mistakes(tmp_path, row, match):
    touch(tmp_path, "oil3.jpg")
    make_listed(tmp_path, row)
    assert_fails(tmp_path, match)


def test_mistakes_are_plain_text(tmp_path):
    make_listed(tmp_path, "a\x1b[31m.jpg,oil,b,train")
    assert_fails(tmp_path, 'row 8 of ".*" names "a\ufffd\\[31m.jpg", which')


def test_metadata_file_mistakes(tmp_path):
    write_metadata(tmp_path)
    assert_fails(tmp_path, "has no images")
    make_listed(tmp_path)
    text = (tmp_path / "metadata.csv").read_text()
    (tmp_path / "metadata.csv").write_text(
        text.replace("ink,", "tusche,").replace("oil,", "tusche,")
    )
    assert_fails(tmp_path, 'only the class "tusche"')
    (tmp_path / "metadata.csv").write_bytes(b"file_name,label\nD\xfcrer.jpg,ink\n")
    assert_fails(tmp_path, 'row 2 of ".*" is not UTF-8; in Windows-1252 it would read "Dürer.jpg"')


def test_load_splits_follows_the_config(tmp_path):
    make_classes(tmp_path)
    config = base.get_config()
    config.data.source = "folder"
    config.data.root = str(tmp_path)
    config.data.folder.test_percent = 40.0
    loaded = load_splits(config.data, seed=7)
    assert loaded["test"].ids == load_folder(str(tmp_path), 7, 15.0, 40.0)["test"].ids
    config.data.source = "folders"
    with pytest.raises(UserError, match='no data source "folders"; did you mean "folder"'):
        load_splits(config.data, seed=7)
