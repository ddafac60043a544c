"""Pages of a file as examples: "scan.tif#2"."""

import numpy as np
import pytest
from PIL import Image

from dkse_jax.data import decode
from dkse_jax.data.formats import Opened
from dkse_jax.data.identity import rows_of
from dkse_jax.data.names import page_of, split_page
from dkse_jax.data.sources.folder import list_folder, load_folder
from dkse_jax.data.sources.records import load_records
from dkse_jax.data.splits import SPLITS
from dkse_jax.data.tools import check, pack
from dkse_jax.errors import UserError, refuse
from tests.data.sources.folders import touch
from tests.data.sources.test_metadata import write

OPTIONS = {"seed": 0, "val_percent": 15, "test_percent": 15}
COLUMNS = ("file_name", "label", "group", "split")


@pytest.mark.parametrize(
    ("name", "file", "page"),
    [
        ("ink/scan.tif#2", "ink/scan.tif", 2),
        ("a#1.TIFF#12", "a#1.TIFF", 12),
        ("a.jpg#1", "a.jpg", 1),
        ("img#8.jpg", "img#8.jpg", 1),
        ("a.tif#02", "a.tif#02", 1),
        ("a.tif#0", "a.tif#0", 1),
        ("a.tif#", "a.tif#", 1),
        ("a.tif#-2", "a.tif#-2", 1),
        ("a.txt#2", "a.txt#2", 1),
        ("ink#2/a", "ink#2/a", 1),
        (".tif#2", ".tif#2", 1),
    ],
)
def test_an_id_is_a_file_and_a_page(name, file, page):
    assert split_page(name) == (file, page)


def test_a_file_whose_own_name_ends_as_a_page_is_a_file():
    assert page_of("ink/scan.tif#2", "/data/ink/scan.tif#2") == 1
    assert page_of("ink/scan.tif#2", "/data/ink/scan.tif") == 2


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """Writes a data set of pages of three files; page n of a file is a picture of grey 20 n."""

    def open_picture(content, min_side, page):
        rng = np.random.default_rng(100 * content[-1] + page)
        pixels = rng.integers(0, 256, (40, 48, 3), np.uint8)
        pixels[0, 0] = 20 * page
        return Opened(Image.fromarray(pixels), (48, 40), pictures=5)

    monkeypatch.setattr(decode, "open_picture", open_picture)
    rows = []
    for split, file in zip(SPLITS, ("a.tif", "b.tif", "c.tif"), strict=True):
        (tmp_path / "in" / "deep").mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / "deep" / file).write_bytes(b"scan " + file.encode()[:1])
        for page in (1, 2, 4):
            rows.append((f"deep/{file}#{page}", "oil" if page == 2 else "ink", "", split))
    write(tmp_path / "in" / "metadata.csv", rows, COLUMNS)
    return tmp_path / "in"


def test_pages_of_a_table_are_examples_of_one_group(pages):
    examples = list_folder(str(pages), **OPTIONS, report=refuse).examples
    assert [e.id for e in examples[:3]] == ["deep/a.tif", "deep/a.tif#2", "deep/a.tif#4"]
    assert {e.group for e in examples} == {"deep/a.tif", "deep/b.tif", "deep/c.tif"}
    assert examples[1].path == str(pages / "deep" / "a.tif")


def test_each_page_is_read_and_known_by_its_own_content(pages, tmp_path):
    pack.pack(str(pages), str(tmp_path / "out"), **OPTIONS)
    for splits in (load_folder(str(pages), **OPTIONS), load_records(str(tmp_path / "out"))):
        train = splits["train"]
        assert [train.read(i, None)[0, 0, 0] for i in range(3)] == [20, 40, 80]
        assert len(set(rows_of(train, 0)["content"])) == 3
    loaded = load_folder(str(pages), **OPTIONS)["train"]
    (pages / "deep" / "a.tif").write_bytes(b"another scan")
    with pytest.raises(UserError, match=r'deep/a\.tif" cannot be read: it changed'):
        loaded.read(1, None)


def test_the_check_counts_the_pictures_that_are_not_read(pages, capsys):
    assert check.check(str(pages), **OPTIONS, image_size=8) == 0
    out = capsys.readouterr().out
    assert (
        "files of several pictures, of which not all are read: 3, with 6 more pictures "
        '(first: "deep/a.tif")'
    ) in out
    (pages / "metadata.csv").unlink()
    (pages / "ink").mkdir()
    for i in range(4):
        (pages / "ink" / f"{i}.tif").write_bytes(bytes([i]))
    (pages / "deep" / "d.tif").write_bytes(bytes([9]))
    check.check(str(pages), **OPTIONS, image_size=8)
    assert "not all are read: 8, with 32 more pictures" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("deep/a.tif#2", 'repeats "deep/a.tif#2" of row 3'),
        ("deep/a.tif", 'repeats "deep/a.tif" of row 2'),
        ("DEEP\\A.TIF#2", 'repeats "deep/a.tif#2" of row 3'),
        ("deep/a.tif#0", 'names "deep/a.tif#0", which does not exist; did you mean "deep/a.tif"?'),
        ("deep/z.tif#3", 'names "deep/z.tif#3", which does not exist'),
    ],
)
def test_mistakes_in_pages(pages, name, sentence):
    with (pages / "metadata.csv").open("a") as file:
        file.write(f"\n{name},ink,,train")
    with pytest.raises(UserError) as caught:
        list_folder(str(pages), **OPTIONS, report=refuse)
    assert str(caught.value).startswith(f'row 11 of "{pages}/metadata.csv" {sentence}')


def test_a_file_of_a_page_s_name_is_not_packed(pages, tmp_path):
    touch(pages, "deep/a.tif#3")
    with (pages / "metadata.csv").open("a") as file:
        file.write("\ndeep/a.tif#3,ink,deep/a.tif,train")
    example = list_folder(str(pages), **OPTIONS, report=refuse).examples[2]
    assert (example.id, example.path) == ("deep/a.tif#3", str(pages / "deep" / "a.tif#3"))
    with pytest.raises(UserError, match="its name means a page of a file; rename it"):
        pack.pack(str(pages), str(tmp_path / "out"), **OPTIONS)


def test_the_pages_of_a_pdf_are_read(tmp_path):
    shades = [Image.new("RGB", (60, 80), (40 * i, 0, 0)) for i in range(1, 4)]
    (tmp_path / "in").mkdir()
    rows = []
    for split in SPLITS:
        shades[0].save(tmp_path / "in" / f"{split}.pdf", save_all=True, append_images=shades[1:])
        rows += [(f"{split}.pdf#{i}", "oil" if i == 2 else "ink", "", split) for i in (1, 2, 3)]
    write(tmp_path / "in" / "metadata.csv", rows, COLUMNS)
    pack.pack(str(tmp_path / "in"), str(tmp_path / "out"), **OPTIONS)
    for splits in (
        load_folder(str(tmp_path / "in"), **OPTIONS),
        load_records(str(tmp_path / "out")),
    ):
        val = splits["val"]
        assert list(val.ids) == ["val.pdf", "val.pdf#2", "val.pdf#3"]
        reds = [val.read(i, 40)[30, 20, 0] for i in range(3)]
        assert np.abs(np.subtract(reds, (40, 80, 120))).max() <= 3
    with (tmp_path / "in" / "metadata.csv").open("a") as file:
        file.write("\nval.pdf#4,ink,,val")
    val = load_folder(str(tmp_path / "in"), **OPTIONS)["val"]
    reason = "it has 3 pictures, and no number 4"
    with pytest.raises(UserError, match=rf'val\.pdf#4" cannot be read: {reason}'):
        val.read(3, None)
