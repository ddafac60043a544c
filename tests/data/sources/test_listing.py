"""Every file under a root is an example or counted with its reason."""

import os
import random

import pytest

from configs import base
from dkse_jax.data.formats import FORMATS, SUFFIXES
from dkse_jax.data.formats.suffixes import PICTURE_SUFFIXES
from dkse_jax.data.sources import load_all, load_splits
from dkse_jax.data.sources.folder import list_folder
from dkse_jax.data.sources.left_out import Reason
from dkse_jax.data.splits import assign_splits
from dkse_jax.errors import UserError, refuse
from tests.data.sources.folders import classes, touch

READ = (".jpg", ".png", ".tif", ".webp")
UNREAD = (".jxl", ".exr", ".eps", ".cdr")  # pictures that no reader is known for
OTHERS = (".txt", ".xml", ".md5", ".xmp", ".db", "")
SYSTEM = (
    "@eaDir/12.jpg/SYNOPHOTO_THUMB_XL.jpg",
    "#recycle/old.jpg",
    "__MACOSX/ink/._00.jpg",
    "$RECYCLE.BIN/S-1-5/$R1.JPG",
    "System Volume Information/WPSettings.dat",
    "lost+found/#12.jpg",
    ".AppleDouble/00.jpg",
    "@Recycle/a/b.jpg",
    ".ipynb_checkpoints/00-checkpoint.jpg",
    "._00.jpg",
    "Thumbs.db",
    "desktop.ini",
    "Icon\r",
)


def listed(root, report=refuse):
    return list_folder(str(root), 0, 15, 15, report)


def count(listing, reason):
    return sum(n for (why, _), n in listing.left_out.counts.items() if why is reason)


def files_on_disk(root):
    return sum(len(files) for _, _, files in os.walk(root))


def test_all_suffixes_that_are_read_look_like_pictures():
    assert SUFFIXES < PICTURE_SUFFIXES
    assert {suffix for one in FORMATS for suffix in one.suffixes} <= PICTURE_SUFFIXES
    assert PICTURE_SUFFIXES.issuperset(UNREAD)
    assert not PICTURE_SUFFIXES.intersection((*OTHERS, ".csv", ".json", ".md", ".mp4", ".zip"))
    assert all(s.startswith(".") and s == s.lower() for s in PICTURE_SUFFIXES)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("table", [False, True])
def test_the_counts_add_up_to_the_files_on_disk(tmp_path, seed, table):
    rng = random.Random(seed)
    touch(tmp_path, *classes(5))
    folders = ("", "ink/", "oil/", "oil/deep/", "ink/[1] & more/")
    for number in range(150):
        suffix = rng.choice(READ + UNREAD + OTHERS)
        suffix = rng.choice((suffix, suffix.upper()))
        touch(tmp_path, f"{rng.choice(folders)}{number}{suffix}")
    for name in rng.sample(SYSTEM, 9):
        touch(tmp_path, os.path.normpath(rng.choice(folders) + name))
    (tmp_path / "ink" / "gone.jpg").symlink_to("nothing.jpg")
    os.mkfifo(tmp_path / "oil" / "pipe.jpg")
    if table:
        rows = [f"{name},{name[:3]}" for name in rng.sample(classes(5), 8) + classes(3)]
        rows = list(dict.fromkeys(rows))
        (tmp_path / "metadata.csv").write_text("\n".join(["file_name,label", *rows]))
    listing = listed(tmp_path)
    assert len(listing.examples) + listing.left_out.files() == files_on_disk(tmp_path)
    assert count(listing, Reason.BROKEN) == count(listing, Reason.SPECIAL) == 1
    assert count(listing, Reason.HIDDEN) == 9
    assert count(listing, Reason.TABLE) == table
    if not table:
        names = [os.path.join(f, n) for f, _, files in os.walk(tmp_path) for n in files]
        unread = [n for n in names if n.lower().endswith(UNREAD)]
        assert f"{len(unread)} files are not read: " in listing.remarks()[0]
        loose = [p for p in tmp_path.iterdir() if p.suffix.lower() in READ and p.name[0] != "."]
        assert count(listing, Reason.LOOSE) == len(loose)


def test_pictures_that_are_not_read_are_named_by_suffix(tmp_path):
    touch(tmp_path, *classes(), *(f"ink/{i}.jxl" for i in range(32)))
    touch(tmp_path, *(f"oil/{i}.EXR" for i in range(10)), "oil/a.txt", "oil/a.xmp", "oil/b.xmp")
    assert listed(tmp_path).remarks() == (
        '42 files are not read: 32 .jxl, 10 .exr (first: "ink/0.jxl")',
        "not taken for pictures: 2 .xmp, 1 .txt",
    )
    touch(tmp_path, "loose.jpg", "oil/@eaDir/a.jpg/T.jpg")
    assert listed(tmp_path).remarks()[1:] == (
        '1 file is in no class folder: 1 .jpg (first: "loose.jpg")',
        "not taken for pictures: 2 .xmp, 1 .txt; 1 hidden or system file "
        '(first: "oil/@eaDir/a.jpg/T.jpg")',
    )
    assert load_all(str(tmp_path), ("ink", "oil")).remarks == listed(tmp_path).remarks()


def test_many_suffixes_are_cut(tmp_path):
    touch(tmp_path, *classes(), *(f"ink/{i}.{i:03}" for i in range(12)), "ink/README")
    (line,) = listed(tmp_path).remarks()
    assert line.startswith("not taken for pictures: 1 without a suffix, 1 .000, 1 .001, ")
    assert line.endswith(", 5 of 5 more suffixes")


@pytest.mark.parametrize("name", SYSTEM[:9])
def test_system_folders_are_no_classes_and_hold_no_examples(tmp_path, name):
    touch(tmp_path, *classes(), name, f"oil/{name}")
    examples = listed(tmp_path).examples
    assert [example.id for example in examples] == sorted(classes())
    assert {example.label for example in examples} == {"ink", "oil"}


def test_snapshots_are_not_entered(tmp_path):
    touch(tmp_path, *classes(), "#snapshot/GMT-2026/ink/00.jpg", "ink/.zfs/a.jpg", "ink/b.jpg")
    listing = listed(tmp_path)
    assert len(listing.examples) == 9
    assert listing.remarks() == (
        'not taken for pictures: 2 folders of snapshots (first: "#snapshot")',
    )
    assert listing.left_out.files() == 0


def test_names_that_only_look_like_those_of_a_system_are_read(tmp_path):
    names = [
        "#1.jpg",
        "@home.jpg",
        "$100.jpg",
        "~a.jpg",
        "thumbs.jpg",
        "desktop/1.jpg",
        "recycle/2.jpg",
    ]
    touch(tmp_path, *(f"{label}/{name}" for label in ("ink", "oil") for name in names))
    assert len(listed(tmp_path).examples) == 14


def test_a_class_folder_of_other_files_alone_is_named_with_them(tmp_path):
    touch(tmp_path, *classes(), *(f"pastel/{i}.jxl" for i in range(3)), "pastel/a.txt")
    with pytest.raises(
        UserError, match=r'pastel" has no images that are read, but 3 \.jxl, 1 \.txt'
    ):
        listed(tmp_path)
    for label in ("ink", "oil"):
        for path in (tmp_path / label).iterdir():
            path.rename(path.with_suffix(".jxl"))
    with pytest.raises(UserError, match=r"has no images \(.*\); 11 files are not read: 11 \.jxl"):
        load_all(str(tmp_path), ("ink", "oil"))


def test_links_within_the_root_are_followed_once(tmp_path):
    root = tmp_path / "root"
    touch(root, *classes(names=("ink",)), *(f".store/x/{i}.jpg" for i in range(4)))
    (root / "oil").symlink_to(".store/x")
    (root / "oil2").symlink_to(root / ".store" / "x")  # the same files: listed by the first name
    (root / "ink" / "up").symlink_to("..")
    (root / ".store" / "x" / "loop").symlink_to("../x")
    (root / ".store" / "x" / "file.jpg").symlink_to("0.jpg")
    listing = listed(root)
    ids = [example.id for example in listing.examples]
    assert ids == [*classes(names=("ink",)), *(f"oil/{i}.jpg" for i in range(4)), "oil/file.jpg"]
    assert count(listing, Reason.LINK) == 3
    (root / "ink" / "self.jpg").symlink_to("self.jpg")
    (root / "ink" / "gone.txt").symlink_to("nothing")
    assert listed(root).left_out.troubles() == [
        '1 file is a link to nothing: 1 .jpg (first: "ink/self.jpg")'
    ]


def test_files_that_differ_in_the_suffix_alone_are_one_group(tmp_path):
    names = [f"{label}/{i:03}" for label in ("ink", "oil") for i in range(60)]
    touch(tmp_path, *(f"{name}.{suffix}" for name in names for suffix in ("jpg", "tif", "PNG")))
    touch(tmp_path, "ink/deep/001.jpg")  # of another folder
    examples = listed(tmp_path).examples
    groups = {example.id: example.group for example in examples}
    assert len(set(groups.values())) == 121
    assert (
        groups["ink/001.tif"]
        == groups["ink/001.jpg"]
        == groups["ink/001.PNG"]
        != "ink/deep/001.jpg"
    )
    split_of = {}
    for example in examples:
        assert split_of.setdefault(example.group, example.split) == example.split


def test_a_folder_without_such_pairs_keeps_its_splits(tmp_path):
    names = classes(80)
    touch(tmp_path, *names)
    labels = {name: {name[:3]} for name in names}
    examples = listed(tmp_path).examples
    assert {e.id: e.split for e in examples} == assign_splits(labels, 0, 15, 15)
    assert all(e.group == e.id for e in examples)
    first = next(e.id for e in examples if e.split == "test")
    touch(tmp_path, first.replace(".jpg", ".tif"))  # follows the file that is there
    assert {e.id: e.split for e in listed(tmp_path).examples}.items() >= {
        **assign_splits(labels, 0, 15, 15),
        first.replace(".jpg", ".tif"): "test",
    }.items()


def split_names(counts):
    return [
        f"{split}/{label}/{i}.jpg"
        for split, number in counts.items()
        for label in ("ink", "oil")
        for i in range(number)
    ]


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("Training", "Validation", "Testing"),
        ("TRAIN", "dev", "eval"),
        ("seg_train", "seg-valid", "seg test"),
        ("train2017", "val2017", "test2017"),
        ("trn", "valid", "tst"),
    ],
)
def test_folders_of_splits_give_the_splits(tmp_path, train, val, test):
    touch(tmp_path, *split_names({train: 5, val: 2, test: 3}), "licences/by.txt", f"{val}/a.jpg")
    listing = listed(tmp_path)
    assert listing.given == "folders"
    assert [e.id for e in listing.examples] == sorted(split_names({train: 5, val: 2, test: 3}))
    meaning = {train: "train", val: "val", test: "test"}
    for example in listing.examples:
        split, label, _ = example.id.split("/")
        assert (example.split, example.label) == (meaning[split], label)
    assert listing.remarks()[0] == f'1 file is in no class folder: 1 .jpg (first: "{val}/a.jpg")'
    assert len(load_all(str(tmp_path), ("ink", "oil"))) == 20


def test_val_is_made_of_groups_of_train(tmp_path):
    touch(tmp_path, *split_names({"Training": 40, "Testing": 9}), "Training/ink/0.tif")
    listing = listed(tmp_path)
    splits = {e.id: e.split for e in listing.examples}
    assert {s for name, s in splits.items() if name.startswith("Testing")} == {"test"}
    train = [e for e in listing.examples if e.id.startswith("Training")]
    expected = assign_splits({e.group: {e.label} for e in train}, 0, 15, 0)
    assert {e.id: e.split for e in train} == {e.id: expected[e.group] for e in train}
    assert splits["Training/ink/0.tif"] == splits["Training/ink/0.jpg"]
    assert "val is made of groups of train, by seed 0 and val_percent 15" in listing.notes
    config = base.get_config().data
    config.source, config.root = "folder", str(tmp_path)
    found = load_splits(config, seed=0)
    assert len(found["test"]) == 18
    assert listing.notes[0] in found["train"].remarks


def test_train_and_val_without_test_are_taken(tmp_path):
    touch(tmp_path, *split_names({"train": 4, "dev": 2}))
    listing = listed(tmp_path)
    assert [sum(e.split == s for e in listing.examples) for s in ("train", "val", "test")] == [
        8,
        4,
        0,
    ]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (split_names({"train": 4, "holdout": 2}), '"holdout" is not known as a split'),
        (split_names({"train": 4, "test": 2, "part3": 2}), '"part3" is not known as a split'),
        (
            [*split_names({"train": 4, "test": 2}), "extra/1.jpg"],
            '"extra" is not known as a split: the known names are train, training, trn, val',
        ),
        ([*split_names({"train": 4}), "test/1.jpg"], r'"\S+/test" has images but no class folders'),
        (split_names({"train": 4}), r'has only the split "train"; did you mean "\S+/train"\?'),
        (
            split_names({"train": 4, "val": 2, "dev": 2}),
            'the folders "dev" and "val" of .* both mean val',
        ),
        (["train/1.jpg", "test/1.jpg"], r"\(test, train\) are splits, not classes"),
        (["test/1.jpg"], r"\(test\) are splits, not classes"),
    ],
)
def test_unclear_splits_are_refused(tmp_path, names, sentence):
    touch(tmp_path, *names)
    with pytest.raises(UserError, match=sentence):
        listed(tmp_path)
    with pytest.raises(UserError, match=sentence):
        load_all(str(tmp_path), ("ink", "oil"))


@pytest.mark.parametrize(
    "names",
    [
        classes(names=("test", "ink", "oil")),  # a class of a split's name
        [*classes(names=("ink", "oil")), *classes(names=("a", "b"), above="test/")],
        [n for top in ("ink", "oil") for n in classes(names=("recto", "verso"), above=f"{top}/")],
        classes(names=("train", "tram", "bus")),
    ],
)
def test_classes_stay_classes(tmp_path, names):
    touch(tmp_path, *names)
    examples = listed(tmp_path).examples
    assert [e.id for e in examples] == sorted(names)
    assert all(e.label == e.id.split("/")[0] for e in examples)
