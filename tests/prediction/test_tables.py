"""The table of predictions in every format, written and read back by other libraries."""

import csv
import json
import re

import numpy as np
import openpyxl
import pyarrow.parquet
import pytest
import python_calamine

from dkse_jax.errors import UserError
from dkse_jax.prediction import formats, writing
from dkse_jax.prediction.formats import parse_formats
from dkse_jax.prediction.row import Row
from dkse_jax.prediction.writing import Format, streamed, write_others

CLASSES = ("ink", "Öl auf Holz", "=cmd()")
HEAD = ["file", "status", "class", "p", "p_ink", "p_Öl auf Holz", "p_=cmd()", "known"]
HEAD += ["prediction_set", "note"]
IDS = ["001", "1E5", "2001-03", "1/2", "TRUE", "plate_x1024_a.jpg", "https://a.example/1?x=2"]
IDS += [" blank ", 'a"b;c,d.jpg', "é/ü.jpg", "#1.tif"]


def ok(file, p=(0.000001, 0.75, 0.249999), note=""):
    return Row(file, "ok", CLASSES[int(np.argmax(p))], p, "no", CLASSES[:2], note, "")


def failed(file, note="a reason"):
    return Row(file, "failed", "", (), "", (), note, "")


def write(out, rows, *names, decimal_comma=False):
    form = Format(names, decimal_comma)
    with streamed(out, form, CLASSES) as write_row:
        for row in rows:
            write_row(row)
    write_others(out, form, CLASSES, lambda: iter(rows))


def test_csv(tmp_path):
    rows = [ok("a.jpg"), failed("#1.tif"), failed("b.jpg", 'x, "y"\nz'), ok("=1+1.jpg")]
    write(tmp_path, rows, "csv")
    assert (tmp_path / "predictions.csv").read_text("utf-8").split("\n") == [
        ",".join(HEAD),
        "a.jpg,ok,Öl auf Holz,0.750000,0.000001,0.750000,0.249999,no,ink|Öl auf Holz,",
        '"#1.tif",failed,,,,,,,,a reason',
        'b.jpg,failed,,,,,,,,"x, ""y""\ufffdz"',
        "'=1+1.jpg,ok,Öl auf Holz,0.750000,0.000001,0.750000,0.249999,no,ink|Öl auf Holz,",
        "",
    ]


def test_csv_with_a_decimal_comma(tmp_path):
    write(tmp_path, [ok("a,b.1.jpg"), failed("#1;2.tif")], "csv", decimal_comma=True)
    with (tmp_path / "predictions.csv").open(encoding="utf-8", newline="") as file:
        assert next(file).startswith("file;status;class;p;")
        lines = list(csv.reader(file, delimiter=";"))
    assert lines[0][:5] == ["a,b.1.jpg", "ok", "Öl auf Holz", "0,750000", "0,000001"]
    assert lines[1][:3] == ["#1;2.tif", "failed", ""]


@pytest.mark.parametrize("names", [IDS, IDS[:5], ["a\ud800b\u202e.jpg"], ["\ufffe.jpg", "a\uffff"]])
def test_every_format_has_the_same_cells(tmp_path, names):
    rows = [row for name in names for row in (ok(name), failed(f"{name}.x"))]
    write(tmp_path, rows, *formats.PACKAGES)
    lines = (tmp_path / "predictions.jsonl").read_text("utf-8").splitlines()
    expected = [list(json.loads(line).values()) for line in lines]
    shown = [re.sub("[\ud800\u202e\ufffe\uffff]", "\ufffd", name) for name in names]
    assert [cells[0] for cells in expected] == [f"{n}{e}" for n in shown for e in ("", ".x")]
    assert list(json.loads(lines[0])) == HEAD
    assert expected[0][3:7] == [0.75, 0.000001, 0.75, 0.249999]
    assert expected[1][1:] == ["failed", *[None] * 7, "a reason"]

    table = pyarrow.parquet.read_table(tmp_path / "predictions.parquet")
    assert table.column_names == HEAD
    assert [list(row.values()) for row in table.to_pylist()] == expected
    assert {str(table.schema.field(i).type) for i in range(3, 7)} == {"double"}

    book = openpyxl.load_workbook(tmp_path / "predictions.xlsx")
    assert [list(row) for row in book.active.values] == [HEAD, *expected]
    sheet = python_calamine.load_workbook(tmp_path / "predictions.xlsx").get_sheet_by_index(0)
    none_as_text = [["" if cell is None else cell for cell in row] for row in expected]
    assert sheet.to_python() == [HEAD, *none_as_text]


def test_more_rows_than_a_sheet_has_go_on_another(tmp_path, monkeypatch):
    assert formats.SHEET_ROWS + 1 == 2**20
    monkeypatch.setattr(formats, "SHEET_ROWS", 3)
    write(tmp_path, [ok(f"https://a.example/{i:02}") for i in range(7)], "xlsx")
    book = openpyxl.load_workbook(tmp_path / "predictions.xlsx")
    columns = [[row[0] for row in sheet.values] for sheet in book]
    assert [len(column) for column in columns] == [4, 4, 2]
    assert all(column[0] == "file" for column in columns)
    found = [cell for column in columns for cell in column[1:]]
    assert found == [f"https://a.example/{i:02}" for i in range(7)]


@pytest.mark.parametrize("name", ["n", "_x1024_"])
def test_a_cell_without_room_is_refused_and_the_old_table_stays(tmp_path, name):
    (tmp_path / "predictions.xlsx").write_text("old")
    with pytest.raises(UserError, match=r"^row 2 has a cell that XLSX has no room for; use --f"):
        write(tmp_path, [ok(f"{name}.jpg", note=40_000 * "x")], "xlsx")
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.xlsx"]
    assert (tmp_path / "predictions.xlsx").read_text() == "old"


def test_a_table_is_partial_until_its_last_row(tmp_path):
    (tmp_path / "predictions.csv").write_text("old")
    with streamed(tmp_path, Format(("csv",)), CLASSES) as write_row:
        write_row(ok("a.jpg"))
        text = (tmp_path / "predictions.partial.csv").read_text("utf-8")
        assert (tmp_path / "predictions.csv").read_text() == "old"
        assert text.count("\n") == 2
    assert (tmp_path / "predictions.csv").read_text("utf-8") == text
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(KeyError), streamed(tmp_path, Format(("csv",)), CLASSES):
        raise KeyError
    assert (tmp_path / "predictions.csv").read_text("utf-8") == text


def test_a_table_of_an_earlier_command_is_named(tmp_path, capsys):
    write(tmp_path, [ok("a.jpg")], "csv", "jsonl")
    assert capsys.readouterr().out == ""
    write(tmp_path, [ok("a.jpg")], "csv")
    assert re.fullmatch(r".+predictions\.jsonl is of an earlier .+\n", capsys.readouterr().out)


def test_formats_are_checked(monkeypatch):
    assert parse_formats("csv, XLSX,csv") == ("csv", "xlsx")
    for text, sentence in {
        "xls": 'has "xls"; did you mean "xlsx"',
        "": 'has ""; choose one of csv, jsonl, parquet, xlsx',
        "csv,arrow": 'has "arrow"; ',
    }.items():
        with pytest.raises(UserError, match=sentence):
            parse_formats(text)
    with pytest.raises(UserError, match="--decimal-comma is of csv alone"):
        parse_formats("xlsx", decimal_comma=True)
    monkeypatch.setitem(formats.PACKAGES, "xlsx", "no_such_package")
    with pytest.raises(UserError, match=r"needs no_such_package: pip install no_such_package"):
        parse_formats("csv,xlsx")


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "write_parquet", refuse)
    with pytest.raises(UserError, match=r"^cannot write .+parquet .+No space left on device$"):
        write(tmp_path, [ok("a.jpg")], "parquet")
