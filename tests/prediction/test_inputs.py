"""The same pictures by every route, what is left out, and mistakes of a user."""

import io
import json
import os
import shutil
import sys
import unicodedata
import zipfile

import numpy as np
import pytest
from PIL import Image

from dkse_jax.data.decode import BadImage, decode_image
from dkse_jax.errors import UserError, refuse
from dkse_jax.prediction.entries import Entries, Items, Place, distinct
from dkse_jax.prediction.inputs import list_items

IDS = ["[2024] Prints/a'b (1).tif", "b/c/1.png", "b/1.jpg", "#1.jpg", "Öl/é.webp"]
NAMES = sorted(IDS)


def fill(folder, names=IDS):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number * 40, 0, 0)).save(folder / name)


@pytest.fixture
def scans(tmp_path, monkeypatch):
    """Provides a folder of pictures, beneath the current one."""
    fill(tmp_path / "scans")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "scans"


def ids(inputs=(), lists=(), report=refuse):
    return [item.file for item in list_items(inputs, lists, report).items]


def give_stdin(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def manifest(path, pictures, **changes):
    canvases = [
        {
            "id": f"https://x.org/%C3%A9/Canvas {number}?a=1#b",
            "type": "Canvas",
            "items": [{"items": [{"motivation": "painting", "body": {"type": "Image"} | body}]}],
        }
        for number, body in enumerate(pictures)
    ]
    context = "http://iiif.io/api/presentation/3/context.json"
    tree = {"@context": context, "type": "Manifest", "items": canvases} | changes
    path.write_text(json.dumps(tree))
    return str(path)


def test_a_picture_has_one_id_by_every_route(scans, tmp_path, monkeypatch):
    order = [3, 0, 4, 2, 1]
    listed = [IDS[i] for i in order]
    (scans / "list.txt").write_text("\n".join(listed))
    (tmp_path / "far.txt").write_text("".join(f"scans/{one}\r\n" for one in listed))
    absolute = [str(scans / one) for one in listed]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps({'f': n})}\n" for n in absolute))
    (tmp_path / "rows.csv").write_text("n;File\n" + "".join(f"0;{n}\n" for n in absolute))
    shutil.make_archive(str(tmp_path / "scans"), "zip", tmp_path, "scans")
    shutil.make_archive(str(tmp_path / "other"), "zip", scans)
    bodies = [{"id": f"scans/{one.replace('#', '%23')}"} for one in listed]
    in_order = [
        ids([str(scans / one) for one in listed]),
        ids([f"scans/{one}" for one in listed]),
        ids(lists=["scans/list.txt"]),
        ids(lists=["far.txt"]),
        ids(lists=["rows.jsonl:f"]),
        ids(["scans"], ["rows.csv:file"]),
        ids([manifest(tmp_path / "m.json", bodies)]),
    ]
    for data in ("".join(f"scans/{n}\n" for n in listed), "".join(f"scans/{n}\0" for n in listed)):
        give_stdin(monkeypatch, data.encode())
        in_order.append(ids(["-"]))
    assert in_order == [listed] * len(in_order)
    sorted_ = [ids(["scans"]), ids([str(scans)]), ids(["scans/"]), ids(["scans.zip"])]
    sorted_.append(ids(["other.zip"]))
    assert sorted_ == [NAMES] * len(sorted_)


def test_an_item_reads_its_file_and_changes_its_stamp_with_it(scans):
    shutil.make_archive("scans", "zip", "scans")
    for inputs in (["scans"], ["scans.zip"]):
        items = list_items(inputs, [], refuse).items
        assert len(items) == 5
        for item in items:
            assert item.reason == ""
            red = int(decode_image(item.read())[0, 0, 0])
            assert red == pytest.approx(IDS.index(item.file) * 40, abs=4)
    first = list_items(["scans"], [], refuse).items[0]
    path = scans / NAMES[0]
    assert first.path == str(path)
    os.utime(path, ns=(0, 1_700_000_000_000_000_001))
    second = list_items(["scans"], [], refuse).items[0]
    assert second.stamp == f"{path.stat().st_size}-1700000000000000001" != first.stamp


def test_items_are_made_when_they_are_asked_for(scans):
    items = list_items(["scans"], [], refuse).items
    assert [item.file for item in items[1::2]] == NAMES[1::2]
    assert list(items.ids()) == NAMES
    assert items[-1].file == NAMES[-1]
    (scans / NAMES[0]).unlink()
    assert items[0].reason == "it does not exist"
    with pytest.raises(BadImage, match="cannot be read: No such file"):
        items[0].read()


def test_what_a_folder_has_beside_pictures_is_counted(scans):
    for name in ("a.jxl", "b/b.jxl", "b/d.exr", ".DS_Store", "@eaDir/1.jpg", "n.csv", "n.TXT"):
        (scans / name).parent.mkdir(exist_ok=True)
        (scans / name).write_bytes(b"x")
    (scans / "gone.jpg").symlink_to(scans / "nothing.jpg")
    (scans / "twin.lnk").symlink_to(scans / "b")
    listed = list_items(["scans"], [], refuse)
    assert list(listed.items.ids()) == NAMES
    assert listed.left_out == [
        '3 files are not read: 2 .jxl, 1 .exr (first: "a.jxl")',
        '1 file is a link to nothing: 1 .jpg (first: "gone.jpg")',
        'not taken for pictures: 1 .csv, 1 .txt; 2 hidden or system files (first: ".DS_Store"); '
        '1 link to a folder that is listed (first: "twin.lnk")',
    ]
    assert listed.roots == [str(scans)]


def test_a_listed_file_that_cannot_be_read_keeps_its_row(scans, tmp_path):
    (scans / "x.jpg").mkdir()
    os.mkfifo(scans / "pipe.tif")
    lines = ["b/1.jpg", "no/1.jpg", "x.jpg", "pipe.tif", "b/c/1.png", "a" * 300, "../out.jpg"]
    (scans / "list.txt").write_text("\n".join(lines))
    items = list_items(["scans"], ["scans/list.txt"], refuse).items
    assert [(item.file, item.reason) for item in items] == [
        ("b/1.jpg", ""),
        ("no/1.jpg", "it does not exist"),
        ("x.jpg", "it is a folder, not a file"),
        ("pipe.tif", "it is not a file"),
        ("b/c/1.png", ""),
        ("a" * 300, "File name too long"),
        (f"{str(tmp_path)[1:]}/out.jpg", "it does not exist"),
    ]
    Image.new("RGB", (4, 4)).save(tmp_path / "out.jpg")
    first, *_, last = list_items(["scans"], ["scans/list.txt"], refuse).items
    assert first.file == "b/1.jpg"
    assert last.reason == f'it lies outside of "{scans}", which was named'
    assert ".." not in last.file


def test_missing_files_change_no_other_id(scans, tmp_path):
    lines = [f"scans/{name}" for name in IDS] + ["/nowhere/1.jpg", "typo/1.jpg"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    assert ids(lists=["list.txt"])[: len(IDS)] == IDS


def test_only_listed_files_of_a_named_folder_are_items(scans):
    (scans / "list.txt").write_text("1.jpg")
    assert ids(["scans"], ["scans/list.txt"]) == ["1.jpg"]
    (scans / "list.txt").write_text("b/c/1.png\n")
    assert ids(["scans"], ["scans/list.txt"]) == ["b/c/1.png"]  # the folder fixes the root
    assert ids([], ["scans/list.txt"]) == ["1.png"]


def test_a_file_named_again_has_one_item(scans):
    (scans / "list.txt").write_text("b/1.jpg\nb/c/1.png\n./b/../b/1.jpg\nb\\1.JPG\n")
    listed = list_items([], ["scans/list.txt"], refuse)
    assert [item.file for item in listed.items] == ["1.jpg", "c/1.png"]
    assert '2 names are of files named before (first: "1.jpg")' in listed.left_out
    assert ids(["scans", "scans/b"]) == NAMES


def test_pages_are_items_where_they_are_listed(scans):
    Image.new("L", (4, 4)).save(
        scans / "b/c/1.tif", save_all=True, append_images=[Image.new("L", (4, 4), 9)]
    )
    (scans / "l.txt").write_text("b/c/1.tif#2\nb/c/1.tif\nb/c/1.tif#1\nb/1.jpg#1\n#1.jpg\n")
    items = list_items(["scans"], ["scans/l.txt"], refuse).items
    assert [(item.file, item.page) for item in items] == [
        ("b/c/1.tif#2", 2),
        ("b/c/1.tif", 1),
        ("b/1.jpg", 1),
        ("#1.jpg", 1),
    ]
    assert decode_image(items[0].read(), page=items[0].page)[0, 0, 0] == 9
    assert ids(["scans"]).count("b/c/1.tif") == 1


def test_one_name_in_two_unicode_forms_is_reported_by_every_route(tmp_path):
    forms = [unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")]
    for form in forms:
        Image.new("L", (4, 4)).save(tmp_path / form)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for form in forms:
            archive.write(tmp_path / form, form)
    (tmp_path / "list.txt").write_text("\n".join(forms))
    for inputs, lists in ((".", ()), ("x.zip", ()), ("", ("list.txt",))):
        mistakes = []
        inputs = [str(tmp_path / inputs)] if inputs else []
        found = ids(inputs, [str(tmp_path / one) for one in lists], mistakes.append)
        assert found == [forms[0]]
        assert len(mistakes) == 1
    both = [tmp_path / "A.png", tmp_path / "a.png"]
    for path in both:
        Image.new("L", (4, 4)).save(path)
    assert ids([str(path) for path in both]) == [
        "A.png",
        "a.png",
    ]  # on a disk that keeps them apart


def test_archives_and_folders_together_are_kept_apart(scans):
    shutil.make_archive("old", "zip", "scans")
    assert ids(["old.zip", "scans"]) == [f"old/{name}" for name in NAMES] + NAMES
    (scans / "old/b").mkdir(parents=True)
    shutil.copy(scans / "b/1.jpg", scans / "old/b/1.jpg")
    with pytest.raises(UserError, match=r'have one name, "old/b/1\.jpg": rename one of them'):
        ids(["old.zip", "scans"])


def test_the_lowest_folder_of_all_is_the_root(scans, tmp_path):
    fill(tmp_path / "more/b")
    assert ids(["scans/b", "more/b/b"]) == [
        "scans/b/1.jpg",
        "scans/b/c/1.png",
        "more/b/b/1.jpg",
        "more/b/b/c/1.png",
    ]


@pytest.mark.parametrize(
    ("inputs", "lists", "sentence"),
    [
        ([], [], "there is no picture to predict: nothing is named"),
        (["empty"], [], 'there is no picture to predict: ".*empty" has no pictures'),
        (["scns"], [], '"scns" does not exist; did you mean "scans"?'),
        (["scans/b/2.jpg"], [], '"scans/b/2.jpg" does not exist; did you mean "1.jpg"?'),
        (["no/2.jpg"], [], 'the folder "no" does not exist'),
        (["rows.csv"], [], '"rows.csv" is no picture: if it lists pictures, name it as --list='),
        ([], ["none.txt"], 'the list "none.txt" cannot be read: No such file or directory'),
        ([], ["empty.txt"], 'no picture to predict: "empty.txt" names no file'),
        ([], ["rows.csv"], 'no column "file_name".*--list=rows.csv:COLUMN'),
        ([], ["rows.csv:fil"], 'has no column "fil"; choose one of File, n'),
        ([], ["empty.txt:file"], '"empty.txt" is no table .*, but "file" is a column'),
        (["broken.zip"], [], 'broken.zip" is no ZIP archive that can be read: '),
        (["only.jxl.d"], [], "1 file is not read: 1 .jxl"),
    ],
)
def test_a_mistake_is_one_sentence(scans, tmp_path, inputs, lists, sentence):
    for name in ("empty", "only.jxl.d"):
        (tmp_path / name).mkdir()
    (tmp_path / "only.jxl.d/1.jxl").write_bytes(b"x")
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "rows.csv").write_text("n;File\n1;x.jpg\n")
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4")
    with pytest.raises(UserError, match=sentence.replace("?", r"\?")) as error:
        ids(inputs, lists)
    assert len(str(error.value).splitlines()) == 1


def test_the_memory_of_a_picture_is_that_of_its_name():
    entries = Entries(root="/scans")
    place = entries.place(Place("/scans"))
    rng = np.random.default_rng(0)
    for number in rng.permutation(3000).tolist():
        entries.add(place, f"album {number % 7}/{number:08d}.tif")
    entries.add(place, "album 0/00000000.tif")
    held = sum(map(sys.getsizeof, (entries.names._block, entries.names._ends, entries.place_of)))
    assert held < 3001 * (len("album 0/00000000.tif") + 10) * 1.3
    indices, again = distinct(entries, refuse)
    assert again == ["album 0/00000000.tif"]
    assert len(Items(entries, indices)) == len(set(Items(entries, indices).ids())) == 3000


@pytest.mark.parametrize("name", ["a.zip", "a.ZIP", "a.json"])
def test_a_pipe_in_the_place_of_an_archive_or_manifest_is_refused(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match=r"is a pipe, a socket or a device: name a file"):
        list_items([str(tmp_path / name)], [], print)
