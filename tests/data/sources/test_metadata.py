"""Tables of metadata as people have them: their places, their spellings of file names."""

import json
import random
import unicodedata

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dkse_jax.data.sources import load_all
from dkse_jax.data.sources.folder import list_folder, load_folder
from dkse_jax.errors import UserError, refuse
from tests.data.sources.folders import classes, touch


def listed(root, report=refuse):
    return list_folder(str(root), 0, 15, 15, report)


def write(path, rows, columns=("file_name", "label"), delimiter=","):
    """Writes a table of the form that its suffix means."""
    path.parent.mkdir(parents=True, exist_ok=True)
    objects = [dict(zip(columns, row, strict=False)) for row in rows]
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, objects)), encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(objects), path)
    else:
        lines = [delimiter.join(map(str, row)) for row in (columns, *rows)]
        path.write_text("\n".join(lines), encoding="utf-8", newline="")


def labels(listing):
    return {example.id: example.label for example in listing.examples}


NAMES = [*classes(8), "ink/Ölbild 1.jpg"]
ROWS = [(name, "print" if "ink" in name else "painting") for name in NAMES]


@pytest.mark.parametrize(
    "table", ["metadata.csv", "metadata.TSV", "Metadata.jsonl", "metadata.parquet"]
)
def test_a_table_of_any_form_gives_the_labels(tmp_path, table):
    touch(tmp_path, *NAMES)
    write(tmp_path / table.lower(), ROWS, delimiter="\t" if "TSV" in table else ",")
    (tmp_path / table.lower()).rename(tmp_path / table)
    listing = listed(tmp_path)
    assert labels(listing) == dict(ROWS)
    assert listing.remarks() == ()
    assert listing.given == ""
    assert load_all(str(tmp_path), ("print", "painting")).labels.tolist().count(1) == 8


def test_files_without_a_row_are_counted(tmp_path):
    touch(tmp_path, *NAMES, "ink/a.jxl", "oil/b.txt", "licences/c.md")
    write(tmp_path / "metadata.csv", ROWS[:3] + ROWS[8:11])
    assert listed(tmp_path).remarks() == (
        '12 files are not in the metadata: 11 .jpg, 1 .jxl (first: "ink/03.jpg")',
        "not taken for pictures: 1 .md, 1 .txt",
    )


@pytest.mark.parametrize("table", ["metadata.csv", "metadata.jsonl", "metadata.parquet"])
def test_tables_in_the_folders_of_splits(tmp_path, table):
    for split, number in (("Training", 6), ("valid", 2), ("test", 3)):
        rows = [(f"a/{i}.jpg", "ink" if i % 2 else "oil") for i in range(number)]
        touch(tmp_path / split, *(name for name, _ in rows))
        write(tmp_path / split / table, rows)
    listing = listed(tmp_path)
    assert listing.given == table
    assert labels(listing)["valid/a/1.jpg"] == "ink"
    assert [e.split for e in listing.examples] == ["train"] * 6 + ["test"] * 3 + ["val"] * 2
    (tmp_path / "valid" / table).unlink()
    with pytest.raises(UserError, match=r'"Training" of .* has metadata, but "valid" has none'):
        listed(tmp_path)


def test_a_split_column_agrees_with_the_folder_of_the_split(tmp_path):
    for split in ("train", "val"):
        touch(tmp_path / split, "1.jpg", "2.jpg")
        rows = [("1.jpg", "ink", split.upper()), ("2.jpg", "oil", "")]
        write(tmp_path / split / "metadata.csv", rows, ("file_name", "label", "split"))
    assert [e.split for e in listed(tmp_path).examples] == ["train", "train", "val", "val"]
    rows = [("1.jpg", "ink", "test")]
    write(tmp_path / "val" / "metadata.csv", rows, ("file_name", "label", "split"))
    with pytest.raises(
        UserError, match=r'row 2 .* has the split "test", but is in the folder of v'
    ):
        listed(tmp_path)


def test_train_and_test_alone_give_their_groups_to_val_too(tmp_path):
    names = [f"{label}{i}.jpg" for label in ("ink", "oil") for i in range(40)]
    touch(tmp_path, *names)
    rows = [(n, n[:3], f"book{n[3:5]}", "test" if n[3] == "1" else "train") for n in names]
    write(tmp_path / "metadata.csv", rows, ("file_name", "label", "group", "split"))
    splits = load_folder(str(tmp_path), 0, 15, 15)
    assert set(splits["test"].ids) == {n for n in names if n[3] == "1"}
    groups = {name: set(split.groups) for name, split in splits.items()}
    assert 1 < len(groups["val"]) < len(groups["train"])
    assert not groups["train"] & groups["val"]
    assert "val is made of groups of train, by seed 0 and val_percent 15" in splits["val"].remarks


def test_tables_side_by_side_and_unread_ones_are_named(tmp_path):
    touch(tmp_path, *NAMES)
    write(tmp_path / "metadata.csv", ROWS)
    write(tmp_path / "ink" / "metadata.jsonl", [("00.jpg", "print")])
    listing = listed(tmp_path)
    assert labels(listing) == dict(ROWS)
    assert listing.troubles == []
    assert listing.remarks()[0] == (
        f'1 further table of metadata is not read (first: "{tmp_path}/ink/metadata.jsonl")'
    )
    write(tmp_path / "ink" / "metadata.jsonl", [("00.jpg", "print"), ("01.jpg", "relief")])
    assert listed(tmp_path).troubles == [
        '"ink/metadata.jsonl", which is not read, has the label "relief" of "ink/01.jpg", not '
        '"print": correct the table that is wrong'
    ]
    touch(tmp_path, "oil/Metadata.xlsx", "ink/metadata.png")
    assert listed(tmp_path).troubles[1:] == [
        '"oil/Metadata.xlsx" is not read: save it as metadata.csv ("CSV UTF-8"), or rename it'
    ]
    write(tmp_path / "metadata.jsonl", ROWS)
    with pytest.raises(UserError, match=r'metadata\.csv" and "metadata.jsonl" lie side by side'):
        listed(tmp_path)


def test_several_data_sets_in_the_root_are_named_together(tmp_path):
    for name in ("b", "a"):
        touch(tmp_path / name, *NAMES)
        write(tmp_path / name / "metadata.jsonl", ROWS)
    with pytest.raises(UserError) as caught:
        listed(tmp_path)
    assert str(caught.value).endswith(f'did you mean "{tmp_path}/a,{tmp_path}/b"?')
    assert str(caught.value).startswith(f'"{tmp_path}" has no metadata.jsonl, but "a" has')


def backslashes(root, name):
    return name.replace("/", "\\")


def upper(root, name):
    return name.upper()


def decomposed(root, name):
    return unicodedata.normalize("NFD", name.title())


def absolute(root, name):
    return f"{root}/{name}"


def linked(root, name):
    link = root.parent / "link"
    if not link.is_symlink():
        link.symlink_to(root)
    return f"{link}/./{name}"


def windows(root, name):
    return "C:\\Users\\anna\\pics\\" + name.replace("/", "\\").lower()


def share(root, name):
    return "\\\\server\\scans\\" + name.replace("/", "\\")


def moved(root, name):
    return f"/home/anna/pics/{name}"


def around(root, name):
    return f"../{root.name}/x/../{name}"


@pytest.mark.parametrize(
    "respell",
    [backslashes, upper, decomposed, absolute, linked, windows, share, moved, around],
)
def test_file_names_of_another_spelling_are_found(tmp_path, respell):
    root = tmp_path / "root"
    touch(root, *NAMES)
    rng = random.Random(0)
    chosen = [rng.random() < 0.5 for _ in ROWS]
    rows = [
        (respell(root, name) if yes else name, label)
        for (name, label), yes in zip(ROWS, chosen, strict=True)
    ]
    write(root / "metadata.csv", rows)
    listing = listed(root)
    assert labels(listing) == dict(ROWS)
    first = next(i for i, yes in enumerate(chosen) if yes)
    assert listing.remarks() == (
        f'{sum(chosen)} rows of "{root}/metadata.csv" found in another spelling: '
        f'"{rows[first][0]}" for "{NAMES[first]}"',
    )


def test_names_in_nfd_and_padded_ones_need_no_remark(tmp_path):
    touch(tmp_path, *NAMES)
    rows = [(f" {unicodedata.normalize('NFD', name)}\u00a0", label) for name, label in ROWS]
    write(tmp_path / "metadata.csv", rows)
    assert listed(tmp_path).remarks() == ()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("INK/A.JPG", 'names "INK/A.JPG", of which there are "ink/A.jpg" and "ink/a.JPG"'),
        ("C:\\pics\\ink\\zz.jpg", "is outside of the data root: write paths relative to the root"),
        ("/home/anna/zz.jpg", "is outside of the data root: write paths relative to the root"),
        ("/usr/bin/env", 'names "/usr/bin/env", which is outside of the data root'),
        ("ink/.h.jpg", 'names "ink/.h.jpg", which is hidden, a folder, or a link out of the root'),
        ("ink", "which is hidden, a folder"),
        ("D:\\pics\\ink\\01.jpg", 'in "D:/pics", but rows above lie in "C:/pics"'),
        ("ink\\00.jpg", 'repeats "ink/00.jpg" of row 2'),
        ("ink\\9.jpg", 'names "ink\\\\9.jpg", which does not exist; did you mean "ink/09.jpg"'),
    ],
)
def test_file_names_that_are_unclear_are_refused_with_their_row(tmp_path, name, sentence):
    touch(tmp_path, *classes(12), "ink/a.JPG", "ink/A.jpg", "ink/.h.jpg")
    rows = [("ink/00.jpg", "ink"), ("C:\\pics\\oil\\00.jpg", "oil"), (name, "ink")]
    write(tmp_path / "metadata.csv", rows)
    with pytest.raises(UserError) as caught:
        listed(tmp_path)
    assert sentence.replace("\\\\", "\\") in str(caught.value)
    assert str(caught.value).startswith(f'row 4 of "{tmp_path}/metadata.csv" ')


def test_a_row_through_a_link_to_a_listed_folder_is_found(tmp_path):
    touch(tmp_path, *NAMES)
    (tmp_path / "alias").symlink_to("ink")
    rows = [(name.replace("ink/", "alias/"), label) for name, label in ROWS]
    write(tmp_path / "metadata.csv", rows)
    assert labels(listed(tmp_path)) == dict(ROWS)


def test_column_names_are_found_in_any_case(tmp_path):
    touch(tmp_path, *NAMES)
    columns = (" FILE_NAME", "Label ", "GROUP", "Split")
    rows = [(*row, f"book{i // 2 % 4}", ["train", "val"][i // 2 % 2]) for i, row in enumerate(ROWS)]
    write(tmp_path / "metadata.csv", rows, columns, delimiter=";")
    examples = listed(tmp_path).examples
    assert {e.group for e in examples} == {f"book{i}" for i in range(4)}
    assert {e.split for e in examples} == {"train", "val"}
