"""Sorting into folders: nothing lost, nothing moved, names that every file system takes."""

import os
import random
import re
from pathlib import Path

import pytest

from dkse_jax.errors import UserError
from dkse_jax.prediction.item import Item
from dkse_jax.prediction.row import Row
from dkse_jax.prediction.safe_names import folder_names, key_of, safe_name
from dkse_jax.prediction.sort import sort

CLASSES = ("ink", "oil")


def picture(root: Path, file: str, content: str | None = None, page: int = 1) -> Item:
    path = root / file.partition("#")[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content or file)
    status = path.stat()
    stamp = f"{status.st_size} {status.st_mtime_ns}"
    return Item(file, str(path), path.read_bytes, stamp, page)


def row(file: str, name: str = "ink", known: str = "yes", status: str = "ok") -> Row:
    return Row(file, status, name, (0.9, 0.1), known, (), "", "")


def run(items, rows, out, mode="link", do=True, class_names=CLASSES):
    out.mkdir(exist_ok=True)
    sort(rows, items, out, mode=mode, class_names=class_names, do=do)
    return contents(out / "sorted")


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("mode", ["link", "copy"])
def test_failed_and_unknown_are_apart_and_a_dry_run_does_nothing(tmp_path, capsys, mode):
    root, out = tmp_path / "in", tmp_path / "out"
    items = [picture(root, f) for f in ("a/1.jpg", "b/1.jpg", "b/2.jpg", "c.jpg", "s.tif#2")]
    items[4] = picture(root, "s.tif#2", page=2)
    rows = [
        row("a/1.jpg"),
        row("b/1.jpg", "oil"),
        row("b/2.jpg", known="no"),
        row("c.jpg", "", "", "failed"),
        row("s.tif#2", known=""),
    ]
    before = contents(root)
    assert run(items, rows, out, mode, do=False) == {}
    assert list(out.iterdir()) == []
    dry = capsys.readouterr().out
    assert "ink: 2 to" in dry
    assert "add --yes" in dry
    expected = {
        "ink/a/1.jpg": "a/1.jpg",
        "oil/b/1.jpg": "b/1.jpg",
        "_unknown/b/2.jpg": "b/2.jpg",
        "_failed/c.jpg": "c.jpg",
        "ink/s#2.tif": "s.tif#2",
    }
    assert run(items, rows, out, mode) == expected
    assert (out / "sorted/ink/a/1.jpg").is_symlink() == (mode == "link")
    assert run(items, rows, out, mode) == expected
    assert "ink: 2 there already" in capsys.readouterr().out
    assert contents(root) == before


def test_a_class_that_changes_moves_its_link_and_a_changed_copy_stays(tmp_path, capsys):
    root, out = tmp_path / "in", tmp_path / "out"
    items = [picture(root, "a.jpg"), picture(root, "b.jpg")]
    run(items, [row("a.jpg"), row("b.jpg")], out, "copy")
    (out / "sorted/ink/b.jpg").write_text("retouched")
    found = run(items, [row("a.jpg", "oil"), row("b.jpg", "oil")], out, "copy")
    assert found == {"oil/a.jpg": "a.jpg", "oil/b.jpg": "b.jpg", "ink/b.jpg": "retouched"}
    assert 'left (first: "ink/b.jpg")' in capsys.readouterr().out
    items[0] = picture(root, "a.jpg", "another picture")
    found = run(items, [row("a.jpg", "oil"), row("b.jpg", "oil")], out, "copy")
    assert found["oil/a.jpg"] == "another picture"
    found = run(items, [row("a.jpg", "oil"), row("b.jpg", "oil")], out, "link")
    assert (out / "sorted/oil/a.jpg").is_symlink()
    assert found["ink/b.jpg"] == "retouched"


def test_a_file_of_the_user_is_never_replaced(tmp_path):
    root, out = tmp_path / "in", tmp_path / "out"
    items = [picture(root, "a.jpg")]
    (out / "sorted/ink").mkdir(parents=True)
    (out / "sorted/ink/a.jpg").write_text("mine")
    with pytest.raises(UserError, match="is in the way"):
        run(items, [row("a.jpg")], out, "copy")
    assert contents(out / "sorted") == {"ink/a.jpg": "mine"}


def test_members_of_archives_are_copied_and_what_is_gone_is_counted(tmp_path, capsys):
    def fail():
        raise OSError("gone")

    items = [
        Item("x.zip/1.jpg", None, lambda: b"one", "3 1"),
        Item("x.zip/2.jpg", None, fail, "3 1"),
        Item("gone.jpg", str(tmp_path / "gone.jpg"), fail, "", reason="no such file"),
    ]
    rows = [row("x.zip/1.jpg"), row("x.zip/2.jpg"), row("gone.jpg", "", "", "failed")]
    assert run(items, rows, tmp_path / "out") == {"ink/x.zip/1.jpg": "one"}
    shown = capsys.readouterr().out
    assert "ink: 1 copied, 1 that cannot be read" in shown
    assert "_failed: 1 that cannot be read" in shown
    items[0] = Item("x.zip/1.jpg", None, fail, "3 1")  # is not read again
    assert run(items, rows, tmp_path / "out") == {"ink/x.zip/1.jpg": "one"}


def test_a_killed_call_is_completed_by_the_next(tmp_path, monkeypatch):
    root, out = tmp_path / "in", tmp_path / "out"
    items = [picture(root, f"{n}.jpg") for n in range(4)]
    rows = [row(item.file) for item in items]
    real, calls = os.symlink, []

    def dying(target, path):
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(target, path)

    monkeypatch.setattr(os, "symlink", dying)
    with pytest.raises(KeyboardInterrupt):
        run(items, rows, out)
    monkeypatch.setattr(os, "symlink", real)
    with (out / "sorted.jsonl").open("a") as file:
        file.write('["ink/3.j')
    assert run(items, rows, out) == {f"ink/{n}.jpg": f"{n}.jpg" for n in range(4)}
    run(items, [row(item.file, "oil") for item in items], out)
    assert set(contents(out / "sorted")) == {f"oil/{n}.jpg" for n in range(4)}
    assert [path.name for path in (out / "sorted").iterdir()] == ["oil"]


NAMES = (
    *("a/b", "a_b", "CON", "con.txt", "Nul .jpg", "lpt1", "com¹", "ink.", "ink ", " ink", "ink"),
    *("Ink", "INK", "l" * 300, "l" * 301, "é" * 300, "..", ".", "", "a\\b", 'q"<>|?*:', "_failed"),
    *("_unknown", "e\u0301", "tab\there", "straße", "STRASSE"),
)


def check_folders(folders: dict[str, str]) -> None:
    assert len({key_of(folder) for folder in folders.values()}) == len(folders)
    for folder in folders.values():
        assert 0 < len(folder.encode()) <= 200
        assert not re.search(r'[<>:"/\\|?*\x00-\x1f]|^ |[. ]$', folder), folder
        assert not re.match(r"(?i)(con|prn|aux|nul|com[\d¹²³]|lpt[\d¹²³]) *(\.|$)", folder), folder
        assert folder not in ("_failed", "_unknown")


def test_class_names_are_safe_on_windows():
    folders = folder_names(NAMES, reserved=("_failed", "_unknown"))
    check_folders(folders)
    assert folders["ink"] == "ink"
    assert folders["a_b"] == "a_b"
    assert folders == folder_names(NAMES, reserved=("_failed", "_unknown"))
    assert safe_name("Öl auf Holz, 2.jpg") == "Öl auf Holz, 2.jpg"
    random.seed(3)
    alphabet = [*"aA. /\\:cConN1\u0301éß ", "\ud800", "\n"]
    for _ in range(50):
        names = {"".join(random.choices(alphabet, k=random.randrange(6))) for _ in range(60)}
        check_folders(folder_names(sorted(names), reserved=("_failed", "_unknown")))


def test_files_that_only_case_or_a_folder_sets_apart_are_all_kept(tmp_path):
    names = [
        "d/A.jpg",
        "d/a.jpg",
        "D/a.JPG",
        "d",
        "x.zip",
        "x.zip/1.jpg",
        "../up.jpg",
        "CON/nul.jpg",
    ]
    names += ["x.zip"]
    items = [Item(name, None, lambda n=n: f"{n}".encode(), "1") for n, name in enumerate(names)]
    found = run(items, [row(name) for name in names], tmp_path / "out")
    assert sorted(found.values()) == [str(n) for n in range(len(names))]
    assert found["ink/d/A.jpg"] == "0"
    assert len(set(map(key_of, found))) == len(names)
    assert run(items, [row(name) for name in names], tmp_path / "out") == found
    assert not (tmp_path / "out/up.jpg").exists()


@pytest.mark.parametrize("line", ["5", "[]", "null", '["a"]', '["a", 5]', "{", '{"a": 1}'])
def test_a_damaged_line_of_the_list_is_left_out(tmp_path, line):
    items, rows = [picture(tmp_path / "in", "a.jpg")], [row("a.jpg")]
    run(items, rows, tmp_path / "out")
    path = tmp_path / "out/sorted.jsonl"
    path.write_text(path.read_text() + f"{line}\n")
    assert run(items, [row("a.jpg", "oil")], tmp_path / "out") == {"oil/a.jpg": "a.jpg"}


@pytest.mark.parametrize("mode", ["link", "copy"])
def test_a_half_written_line_spoils_no_later_one(tmp_path, monkeypatch, mode):
    items, rows = [picture(tmp_path / "in", "a.jpg")], [row("a.jpg")]
    (tmp_path / "out").mkdir()
    (tmp_path / "out/sorted.jsonl").write_text('["b.jpg", ["li')
    with monkeypatch.context() as patch:
        patch.setattr("dkse_jax.prediction.sort._write_list", lambda *_: ended())
        with pytest.raises(KeyboardInterrupt):
            run(items, rows, tmp_path / "out", mode)
    assert run(items, [row("a.jpg", "oil")], tmp_path / "out", mode) == {"oil/a.jpg": "a.jpg"}


def ended():
    raise KeyboardInterrupt
