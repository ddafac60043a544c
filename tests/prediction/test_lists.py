import io
import random
import sys

import pytest

from dkse_jax.data.splits import Report
from dkse_jax.errors import UserError, refuse
from dkse_jax.prediction import lists
from dkse_jax.prediction.lists import names_of
from dkse_jax.prediction.locating import Locator

NAMES = ["a/1.jpg", " b.tif", "Öl é.png", "c d,e;f.jpg", "x#2.tif"]


def read(path, report: Report = refuse):
    return list(names_of(str(path), report))


@pytest.mark.parametrize("head", [7, 2**16])
@pytest.mark.parametrize(
    ("encoding", "end"),
    [
        ("utf-8", "\n"),
        ("utf-8", "\r\n"),
        ("utf-8", "\r"),
        ("utf-8", "\0"),
        ("utf-8-sig", "\r\n"),
        ("utf-8-sig", "\0"),
        ("utf-16", "\r\n"),
        ("utf-32", "\n"),
    ],
)
def test_a_text_has_a_name_on_each_line(tmp_path, monkeypatch, encoding, end, head):
    if "\0" in end and head == 7:
        head = 11  # bytes, within which there must be an end
    monkeypatch.setattr(lists, "_HEAD", head)
    path = tmp_path / "l.txt"
    for text in (end.join(NAMES), end.join([*NAMES, ""]), end.join(["", *NAMES, " ", ""])):
        path.write_bytes(text.encode(encoding))
        assert read(path) == NAMES
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    assert read("-") == NAMES


def test_bytes_and_ends_of_lines_in_names_are_kept(tmp_path):
    path = tmp_path / "l"
    path.write_bytes(b"a/\xff\xe9.jpg\nb.jpg")
    assert read(path) == ["a/\udcff\udce9.jpg", "b.jpg"]
    path.write_bytes(b"a\n1.jpg\0b\r.jpg\0")
    assert read(path) == ["a\n1.jpg", "b\r.jpg"]


def test_a_random_list_is_read_as_it_was_written(tmp_path, monkeypatch):
    rng = random.Random(3)
    path = tmp_path / "l.txt"
    for _ in range(20):
        monkeypatch.setattr(lists, "_HEAD", rng.randint(60, 90))
        names = ["".join(rng.choices("aé/.# \U0001f5bc", k=rng.randint(2, 12))) for _ in range(20)]
        names = [f"{name}.j" for name in names]
        end = rng.choice(["\n", "\r\n", "\0"])
        path.write_bytes((end.join(names) + rng.choice([end, ""])).encode())
        assert read(path) == names


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("a/1.jpg\nb/2.jpg\n".encode("utf-16-le"), "is UTF-16 without a mark: save it in UTF-8"),
        ("a/1.jpg\nb/2.jpg\n".encode("utf-16-be"), "is UTF-16 without a mark: save it in UTF-8"),
        (b"PK\3\4\0\0", "is a workbook or an archive"),
        (b"\xff\xfea", "begins as UTF-16, but is not"),
        (b"\xff\xfe\0\0\xff\xff\xff\xff", "begins as UTF-32, but is not"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path, content, sentence):
    (tmp_path / "l.txt").write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        read(tmp_path / "l.txt")


def test_a_column_is_found_by_its_name(tmp_path):
    path = tmp_path / "a:b.csv"  # a colon of its own
    path.write_text("\ufeff File_Name ;Bild\n1.jpg;2.jpg\n;3.jpg\n\n4.jpg\n", encoding="utf-8")
    assert read(path) == ["1.jpg", "4.jpg"]
    assert read(f"{path}:BILD ") == ["2.jpg", "3.jpg"]
    mistakes = []
    path.write_text("file_name,x\n1.jpg,\n#N/A,1\n2.jpg,1,2\n3.jpg\n")
    assert read(path, mistakes.append) == ["1.jpg", "3.jpg"]
    assert len(mistakes) == 2


def test_a_terminal_is_no_list(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(b""))
    terminal.isatty = lambda: True
    for stdin in (terminal, None):
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(UserError, match='"-" reads a list of files from a pipe'):
            read("-")


@pytest.fixture
def files(tmp_path):
    for name in ("Ink/Öl 1.JPG", "Ink/2.jpg", "Ink/2.JPEG", "wash/A.png", "wash/a.png", "s.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("ink/öl 1.jpg", "Ink/Öl 1.JPG"),
        ("Ink/O\u0308l 1.JPG", "Ink/Öl 1.JPG"),
        (" Ink\\2.jpg ", "Ink/2.jpg"),
        ('"Ink/2.jpg"', "Ink/2.jpg"),
        ("'ink/2.JPEG'", "Ink/2.JPEG"),
        ("C:\\Users\\x\\ink\\2.jpg", "Ink/2.jpg"),
        ("\\\\server\\share\\Ink\\2.jpg", "Ink/2.jpg"),
        ("/Volumes/Scans/Ink/2.jpg", "Ink/2.jpg"),
        ("S.TIF#3", "s.tif#3"),
        ("s.tif#1", "s.tif"),
        ("./ink/../s.tif", "s.tif"),
        ("wash/a.PNG", ""),  # two files
        ("Ink/3.jpg", ""),
        ("/Volumes/Scans/3.jpg", ""),
        ('"', ""),
    ],
)
def test_another_spelling_is_found_where_one_file_fits(files, name, found):
    locator = Locator([str(files)], [str(files)])
    assert locator.find(name) == (str(files / found) if found else "")


def test_absolute_paths_of_another_machine_have_one_place(files):
    locator = Locator([str(files)], [str(files)])
    assert locator.find("D:\\old\\Ink\\2.jpg") == str(files / "Ink/2.jpg")
    assert locator.find("D:\\other\\s.tif") == ""
    assert locator.find("d:/OLD/s.tif") == str(files / "s.tif")
    assert locator.respelt == 2
    assert Locator([str(files)]).find("D:\\old\\Ink\\2.jpg") == ""  # no folder was named
