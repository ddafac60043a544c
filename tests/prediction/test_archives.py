import io
import random
import zipfile

import pytest
from PIL import Image

from dkse_jax.data.decode import BadImage
from dkse_jax.data.formats import SUFFIXES
from dkse_jax.data.sources.left_out import LeftOut
from dkse_jax.errors import UserError, refuse
from dkse_jax.prediction import archives
from dkse_jax.prediction.archives import open_archive


def png(value=0):
    file = io.BytesIO()
    Image.new("L", (4, 4), value).save(file, "png")
    return file.getvalue()


def write(path, members, method=zipfile.ZIP_DEFLATED):
    """Writes an archive of name or ZipInfo -> content."""
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return str(path)


def entry(name, **fields):
    info = zipfile.ZipInfo("x")
    info.filename = name  # as it is, where the constructor would change separators
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def opened(path, report=refuse):
    left_out = LeftOut()
    return open_archive(str(path), SUFFIXES, report, left_out), left_out


@pytest.mark.parametrize("top", ["", "x/", "y/", "X.zip/"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_are_read_by_their_ids(tmp_path, top, method):
    names = ["b/2.png", "1.PNG", "é ü.png", "#.png"]
    members = [(top + name, png(i)) for i, name in enumerate(names)]
    members += [(f"{top}sub/", b""), (f"__MACOSX/{top}._1.PNG", b"x"), (f"{top}n.txt", b"x")]
    archive, left_out = opened(write(tmp_path / "x.zip", members, method))
    cut = "" if top == "x/" else top
    assert list(archive.members) == sorted(cut + name for name in names)
    for i, name in enumerate(names):
        item = archive.item(cut + name, f"x/{cut}{name}")
        assert (item.file, item.path, item.page, item.reason) == (f"x/{cut}{name}", None, 1, "")
        assert item.read() == png(i)
    assert left_out.files() == 2


def test_names_are_decoded_as_their_writers_meant_them(tmp_path):
    raw = {"\u00e9.png".encode(): "é.png", "e\u0301.jpg".encode(): "é.jpg", b"\x82.gif": "é.gif"}
    stand_ins = [b"%d%s" % (i, b"_" * (len(name) - 1)) for i, name in enumerate(raw)]
    path = write(tmp_path / "a.zip", [(name.decode(), png()) for name in stand_ins])
    content = (tmp_path / "a.zip").read_bytes()
    for stand_in, name in zip(stand_ins, raw, strict=True):
        content = content.replace(stand_in, name)
    (tmp_path / "a.zip").write_bytes(content)
    archive, _ = opened(path)
    assert sorted(archive.members) == sorted(raw.values())
    assert archive.item("é.gif", "é.gif").read() == png()


def test_backslashes_separate_folders(tmp_path):
    path = write(tmp_path / "a.zip", [(entry("b\\1.png"), png()), (entry("b\\c\\2.png"), png(1))])
    archive, _ = opened(path)
    assert list(archive.members) == ["b/1.png", "b/c/2.png"]
    assert archive.item("b/c/2.png", "").read() == png(1)


UNSAFE = [
    ("/etc/1.png", "an absolute name"),
    ("C:\\1.png", "an absolute name"),
    ("c:/x/1.png", "an absolute name"),
    ("\\\\server\\x\\1.png", "an absolute name"),
    ("../1.png", "outside of its folder"),
    ("a/../../1.png", "outside of its folder"),
    ("a\\..\\1.png", "outside of its folder"),
    ("..", "outside of its folder"),
]


@pytest.mark.parametrize(("name", "sentence"), UNSAFE)
def test_unsafe_names_are_refused(tmp_path, name, sentence):
    path = write(tmp_path / "a.zip", [("1.png", png()), (entry(name), png())])
    with pytest.raises(UserError, match=sentence) as error:
        opened(path)
    assert len(str(error.value).splitlines()) == 1


def test_random_names_leave_no_folder(tmp_path):
    rng = random.Random(1)
    parts = ["..", ".", "", "a", "...", "..a", "C:", "\\", "x.png", " .."]
    refused = 0
    for _ in range(100):
        name = rng.choice("/\\").join(rng.choices(parts, k=rng.randint(1, 4))) + "/1.png"
        path = write(tmp_path / "a.zip", [(entry(name), png())])
        try:
            archive, _ = opened(path)
        except UserError:
            refused += 1
            continue
        for member in archive.members:
            assert not member.startswith(("/", "C:/"))
            assert ".." not in member.split("/")
    assert 30 < refused < 95


def test_links_are_refused(tmp_path):
    link = entry("a.png", external_attr=0o120777 << 16, create_system=3)
    with pytest.raises(UserError, match=r'has a link, "a\.png": unpack it'):
        opened(write(tmp_path / "a.zip", [(link, b"/etc/passwd")]))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_bombs_are_refused(tmp_path, method):
    path = write(tmp_path / "a.zip", [("1.png", png()), ("2.bmp", bytes(2**21))], method)
    with pytest.raises(UserError, match=r'a member of 2,097,152 bytes .*"2\.bmp", as in a bomb'):
        opened(path)


@pytest.mark.parametrize(
    ("size", "times", "refused"),
    [
        (2**26 + 1, 201, True),
        (2**26 + 1, 199, False),
        (2**20 + 1, 2001, True),
        (2**26, 1999, False),
    ],
)
def test_a_member_is_a_bomb_by_its_size_and_what_packing_saved(tmp_path, size, times, refused):
    packed = random.Random(0).randbytes(size // times)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("1.png", packed)
        file.infolist()[0].file_size = size
    if refused:
        with pytest.raises(UserError, match="as in a bomb"):
            opened(path)
        return
    archive, _ = opened(path)
    with pytest.raises(
        BadImage, match="cannot be read"
    ):  # no memory is taken for what is not there
        archive.item("1.png", "").read()


def test_a_blank_page_is_no_bomb(tmp_path):
    file = io.BytesIO()
    Image.new("L", (2000, 2500), 255).save(file, "bmp")
    path = write(tmp_path / "a.zip", [("1.bmp", file.getvalue())])
    assert (tmp_path / "a.zip").stat().st_size < len(file.getvalue()) / 800
    archive, _ = opened(path)
    assert archive.item("1.bmp", "").read() == file.getvalue()


def test_members_that_share_bytes_are_refused(tmp_path):
    content = random.Random(0).randbytes(5000)
    path = write(tmp_path / "a.zip", [(f"{i}.png", content) for i in range(3)])
    with zipfile.ZipFile(path, "a") as file:
        for i in range(40):
            twin = entry(f"twin{i}.png", header_offset=file.infolist()[0].header_offset)
            first = file.infolist()[0]
            for field in ("compress_size", "file_size", "CRC", "compress_type"):
                setattr(twin, field, getattr(first, field))
            file.filelist.append(twin)
        file._didModify = True
    with pytest.raises(UserError, match="share their packed bytes, as in a bomb"):
        opened(path)


def test_a_member_that_cannot_be_read_keeps_its_row(tmp_path, monkeypatch):
    path = write(tmp_path / "a.zip", [("1.png", png()), ("2.png", png(1)), ("3.png", b"x" * 999)])
    data = bytearray((tmp_path / "a.zip").read_bytes())
    place = data.index(b"2.png") + 15
    data[place : place + 9] = bytes(9)
    (tmp_path / "a.zip").write_bytes(data)
    monkeypatch.setattr(archives, "_MAX_BYTES", 998)
    archive, _ = opened(path)
    assert archive.item("1.png", "").read() == png()
    with pytest.raises(BadImage, match=r'the image "i/2\.png" of ".*a\.zip" cannot be read: '):
        archive.item("2.png", "i/2.png").read()
    assert archive.item("3.png", "").reason == "999 bytes in an archive are more than 998"
    archive.members["1.png"].flag_bits |= 1
    assert archive.item("1.png", "").reason == "it is encrypted: unpack the archive"


def test_a_name_that_is_there_twice_is_reported(tmp_path):
    mistakes = []
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = write(tmp_path / "a.zip", [("1.png", png()), ("1.png", png(1))])
    archive, _ = opened(path, mistakes.append)
    assert archive.item("1.png", "").read() == png()
    assert mistakes == [f'"{path}" has "1.png" twice: only the first is read']


def test_a_changed_member_has_another_stamp(tmp_path):
    stamps = set()
    for value in (0, 1, 1):
        archive, _ = opened(write(tmp_path / "a.zip", [("1.png", png(value))]))
        stamps.add(archive.item("1.png", "").stamp)
    assert len(stamps) == 2
