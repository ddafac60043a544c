"""Sidecars that cannot be written, kills at a second answer, damaged lists of what was there."""

import re
import shutil
import zlib
from pathlib import Path

import pytest
from PIL import Image

from dkse_jax.prediction.undo import undo
from tests.prediction.examples import jpeg, packet, row
from tests.prediction.test_xmp import field, hashes, write


def _too_long(root: Path) -> None:
    name = "a" * 250 + ".jpg"
    (root / "a.jpg").rename(root / name)


def _a_folder(root: Path) -> None:
    (root / "a.jpg.xmp").mkdir()


def _a_loop(root: Path) -> None:
    (root / "a.jpg.xmp").symlink_to("a.jpg.xmp")


def _a_link(root: Path) -> None:
    (root / "other").write_bytes(packet())
    (root / "a.jpg.xmp").symlink_to("other")


def _emptied(root: Path) -> None:
    (root / "a.jpg").write_bytes(b"")


@pytest.mark.parametrize("spoil", [_too_long, _a_folder, _a_loop, _a_link, _emptied])
def test_what_cannot_have_a_sidecar_is_left_and_the_others_get_theirs(tmp_path, capfd, spoil):
    root, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.jpg", "b.jpg"):
        jpeg(root / name)
    spoil(root)
    before = hashes(root)
    names = sorted(path.name for path in root.glob("*.jpg"))
    write(root, [row(name) for name in names], out, beside=True)
    assert "1 written, 1 left as they are" in capfd.readouterr().out
    assert (root / "b.jpg.xmp").is_file()
    undo(out)
    assert hashes(root) == before


@pytest.mark.parametrize("text", ["Öl\0\0", "a\x01b", "a\ufffeb", "\x1b[31m"])
def test_what_xml_cannot_hold_in_the_pictures_fields_is_replaced(tmp_path, text):
    jpeg(tmp_path / "in/a.jpg", None, {25: [text], 120: [text]})
    write(tmp_path / "in", [row("a.jpg")], tmp_path / "out")
    data = (tmp_path / "out/sidecars/a.jpg.xmp").read_bytes()
    expected = re.sub("[\x01\x1b\ufffe]", "\ufffd", text.strip("\0"))
    assert expected in field(data, "dc:subject", "Bag")
    assert field(data, "dc:description", "Alt") == [expected]


def test_a_packet_behind_the_pixels_of_a_png_is_found(tmp_path):
    path = tmp_path / "in/a.png"
    path.parent.mkdir()
    Image.new("RGB", (8, 8)).save(path)
    content = b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + packet()
    chunk = (len(content) - 4).to_bytes(4) + content + zlib.crc32(content).to_bytes(4)
    data = path.read_bytes()
    path.write_bytes(data[:-12] + chunk + data[-12:])
    write(tmp_path / "in", [row("a.png")], tmp_path / "out")
    data = (tmp_path / "out/sidecars/a.png.xmp").read_bytes()
    assert field(data, "dc:creator", "Seq") == ["Hans Holbein"]


@pytest.mark.parametrize("before", [packet(), b"", None])
@pytest.mark.parametrize("second", [row("a.jpg", "oil"), row("a.jpg", p=0.5)])
def test_undo_knows_what_was_there_after_a_kill_at_a_second_answer(
    tmp_path, monkeypatch, before, second
):
    root, out = tmp_path / "in", tmp_path / "out"
    jpeg(root / "a.jpg")
    sidecar = root / "a.jpg.xmp"
    if before is not None:
        sidecar.write_bytes(before)

    def ended(*_):
        raise KeyboardInterrupt

    write(root, [row("a.jpg")], out, beside=True)
    with monkeypatch.context() as patch:
        patch.setattr("dkse_jax.prediction.undo.put", ended)
        with pytest.raises(KeyboardInterrupt):
            write(root, [second], out, beside=True)
    shutil.copytree(tmp_path, tmp_path / "copy")
    undo(out)
    assert (sidecar.read_bytes() if sidecar.exists() else None) == before
    sidecar.unlink(missing_ok=True)
    (tmp_path / "copy/in/a.jpg.xmp").rename(sidecar)
    (tmp_path / "copy/out/undo.jsonl").rename(out / "undo.jsonl")
    for _ in range(2):
        write(root, [second], out, beside=True)
    undo(out)
    assert (sidecar.read_bytes() if sidecar.exists() else None) == before


@pytest.mark.parametrize(
    "line",
    [
        *("[]", "5", "{}", '{"sidecar": "x"}', '{"sidecar": ["x"], "before": null}', "{"),
        *('{"sidecar": "x", "before": "%%"}', '{"sidecar": "\\u0000", "before": null}'),
        '{"sidecar": "x", "before": 5}',
    ],
)
def test_a_damaged_line_of_the_undo_list_is_left_out(tmp_path, capfd, line):
    root, out = tmp_path / "in", tmp_path / "out"
    jpeg(root / "a.jpg")
    write(root, [row("a.jpg")], out, beside=True)
    path = out / "undo.jsonl"
    path.write_text(f"{line}\n{path.read_text()}")
    undo(out)
    assert "half written or damaged" in capfd.readouterr().out
    assert not (root / "a.jpg.xmp").exists()


def test_undo_goes_on_where_a_folder_is_in_the_place_of_a_sidecar(tmp_path):
    root, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.jpg", "b.jpg"):
        jpeg(root / name)
    write(root, [row("a.jpg"), row("b.jpg")], out, beside=True)
    (root / "a.jpg.xmp").unlink()
    (root / "a.jpg.xmp").mkdir()
    undo(out)
    assert not (root / "b.jpg.xmp").exists()
    assert "a.jpg.xmp" in (out / "undo.jsonl").read_text()
