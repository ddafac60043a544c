"""Tables as spreadsheets, scripts and data sets write them give the same rows."""

import csv
import io
import json
import math
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dkse_jax.data.names import clean
from dkse_jax.data.sources.tables import SUFFIXES, read_table
from dkse_jax.errors import UserError, refuse

HEADER = ("file_name", "label", "title")
PLAIN = [("a.jpg", "ink", "x, y; z"), ("ü b.jpg", 'the "old" oil', "-"), ("c\\d.jpg", "oil", "")]
# No cell is empty at its ends: those are cleaned.
TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cf", "Zl", "Zp")), max_size=8)
CELLS = TEXTS.map(clean)
ROWS = st.lists(st.tuples(CELLS.filter(bool), CELLS, CELLS), min_size=1, max_size=6)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")


def read(path, report=refuse, optional=("title",)):
    rows = read_table(str(path), HEADER[:2], optional, report)
    return [tuple(row.cells.values()) for row in rows]


def write_csv(path, rows, delimiter, encoding, end, quoting, *, sep_line=False, padded=False):
    file = io.StringIO(newline="")
    if sep_line:
        file.write(f"sep={delimiter}{end}")
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=quoting)
    header = [f" {column.title()}\u00a0" for column in HEADER] if padded else HEADER
    writer.writerows([header, *rows])
    text = file.getvalue()
    path.write_bytes(text.encode(encoding))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@example(
    rows=PLAIN,
    delimiter=";",
    encoding="utf-16",
    end="\r\n",
    quoting=csv.QUOTE_ALL,
    sep_line=True,
    padded=True,
)
@given(
    rows=ROWS,
    delimiter=st.sampled_from(",;\t"),
    encoding=st.sampled_from(ENCODINGS),
    end=st.sampled_from(("\n", "\r\n", "\r")),
    quoting=st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)),
    sep_line=st.booleans(),
    padded=st.booleans(),
)
def test_text_tables_of_any_form_have_the_same_rows(
    folder, rows, delimiter, encoding, end, quoting, sep_line, padded
):
    path = folder / ("a.tsv" if delimiter == "\t" else "a.csv")
    write_csv(path, rows, delimiter, encoding, end, quoting, sep_line=sep_line, padded=padded)
    assert [tuple(map(clean, row)) for row in read(path)] == rows


@settings(max_examples=15)
@given(rows=ROWS)
def test_json_lines_and_parquet_have_the_same_rows(folder, rows):
    objects = [dict(zip(HEADER, row, strict=True)) for row in rows]
    for ascii_only in (False, True):
        lines = [json.dumps(one, ensure_ascii=ascii_only) for one in objects]
        (folder / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
        assert read(folder / "a.jsonl") == rows
    pq.write_table(pa.Table.from_pylist(objects), folder / "a.parquet")
    assert read(folder / "a.parquet") == rows


@pytest.mark.parametrize(
    "text",
    [
        'file_name, label\na.jpg, "ink, or oil"\n',  # padded before quotes
        '"file_name" ;"label";;\na.jpg;"ink, or oil";;\n;;;\n'.replace('" ;', '";'),
        'Sep=|\nFILE_NAME|Label\na.jpg|"ink, or oil"',
        "\n\n file_name \t label\na.jpg\tink, or oil\n\n\n",
        'file_name;label;"a, b, c"\na.jpg;ink, or oil;1,5\n',  # commas in an unknown column
        'label,file_name\n"ink, or oil",a.jpg\n,\n',
    ],
)
def test_tables_by_hand(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    rows = list(read_table(str(tmp_path / "a.csv"), HEADER[:2], (), refuse))
    assert [[clean(row.cells[key]) for key in HEADER[:2]] for row in rows] == [
        ["a.jpg", "ink, or oil"]
    ]


def test_rows_have_the_numbers_of_a_spreadsheet(tmp_path):
    text = 'sep=,\nfile_name,label\na.jpg,"two\nlines"\n\n,\nb.jpg,oil,more\nc.jpg,oil,\n'
    (tmp_path / "a.csv").write_text(text)
    mistakes = []
    rows = list(read_table(str(tmp_path / "a.csv"), HEADER[:2], (), mistakes.append))
    assert [(row.number, row.cells["file_name"]) for row in rows] == [(2, "a.jpg"), (6, "c.jpg")]
    assert [m.replace(str(tmp_path), "") for m in mistakes] == [
        'row 5 of "/a.csv" has more cells than the header'
    ]


def test_cells_that_are_numbers_or_empty(tmp_path):
    values = [{"file_name": "1.jpg", "label": 3}, {"file_name": "2.jpg", "label": None, "x": [1]}]
    values.append({"file_name": "3.jpg", "label": math.nan})
    (tmp_path / "a.jsonl").write_text("\n\n".join(map(json.dumps, values)))
    floats = [{**one, "label": one["label"] and float(one["label"])} for one in values]
    pq.write_table(pa.Table.from_pylist(floats), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        assert read(tmp_path / name, optional=()) == [
            ("1.jpg", "3" if name == "a.jsonl" else "3.0"),
            ("2.jpg", ""),
            ("3.jpg", ""),
        ]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "m.csv",
            "file_name;label\na.jpg;ink\nb.jpg;Ölbild\n".encode("cp1252"),
            'row 3 of ".*" is not UTF-8; in Windows-1252 it would read "Ölbild": save it as "CSV U',
        ),
        (
            "m.tsv",
            'sep=\t\nfile_name\tlabel\na.jpg\t"a\nb"\n"é ü.jpg"\toil'.encode("cp1252"),
            'row 3 of .* it would read "é ü.jpg"',
        ),
        (
            "m.jsonl",
            '{"file_name": "a.jpg", "label": "x"}\n{"label": "gris pâle"}'.encode("cp1252"),
            'row 2 of .* it would read "gris pâle"',
        ),
        ("m.csv", "file_name,label\n\x81\n".encode("latin-1"), 'would read "\ufffd"'),
        (
            "m.csv",
            "file_name,label\n".encode("utf-16-le"),
            "not text in UTF-8, since it holds zero",
        ),
        ("m.csv", "file_name,label".encode("utf-16")[:-1], "begins as UTF-16, but is not"),
        ("m.csv", b"PK\x03\x04\x14\0\x06\0", "not text in UTF-8"),
        ("m.csv", b'file_name,label\na.jpg,"ink\nb.jpg,oil\n', "row 2 of .* is no row of a CSV"),
        ("m.csv", b'file_name,label\na.jpg,x\nb.jpg,"o"il\n', "row 3 of .* is no row of a CSV"),
        ("m.csv", b"", 'has no column "file_name"'),
        ("m.csv", b"name;label\n", 'no column "file_name"; did you mean "name"'),
        ("m.jsonl", b'{"file_name": "a.jpg"}\n{"file_name"\n', "row 2 of .* is not JSON"),
        ("m.jsonl", b'["a.jpg", "ink"]\n', "row 1 of .* is no JSON object"),
        ("m.jsonl", b'{"file_name": "a", "label": ["x"]}', "row 1 of .* has a label that is no te"),
        ("m.jsonl", b'{"file_name": "a", "label": "x", "Titles": 1}', '"Titles"; did you mean "ti'),
        ("m.jsonl", b"[" * 200_000, "row 1 of .* is not JSON"),
        (
            "m.jsonl",
            rb'{"file_name": "a", "label": "\ud800"}',
            "row 1 of .* has a label that is no te",
        ),
        ("m.parquet", b"PAR1 and no more", "is no Parquet file that can be read"),
    ],
)
def test_what_is_no_table_is_named(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=sentence) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_without_pyarrow_a_parquet_file_is_refused(tmp_path, monkeypatch):
    assert ".parquet" in SUFFIXES
    (tmp_path / "m.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UserError, match="with the package pyarrow: pip install pyarrow"):
        read(tmp_path / "m.parquet")


def rows_of(path, report=refuse):
    return [
        tuple(r.cells.values()) for r in read_table(str(path), ("file_name", "label"), (), report)
    ]


def test_tables_with_bars_and_with_long_texts(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"text|file_name|label\n{'a, b; ' * 40_000}|1.jpg|ink\n")
    assert rows_of(path) == [("1.jpg", "ink")]
    path.write_text("file_name,label|x,label\n1.jpg,a,ink\n")
    assert rows_of(path) == [("1.jpg", "ink")]


@pytest.mark.parametrize(
    "cell", ["nan", "NaN", "<NA>", "#N/A", "#REF!", "#NV", "#NAME?", " #DIV/0!"]
)
def test_cells_that_stand_for_no_value_are_refused(tmp_path, cell):
    path = tmp_path / "a.csv"
    path.write_text(f"file_name,label\n1.jpg,{cell}\n2.jpg,Nan\n3.jpg,None\n4.jpg,#1\n5.jpg,N/A\n")
    mistakes = []
    assert [label for _, label in rows_of(path, mistakes.append)] == ["Nan", "None", "#1", "N/A"]
    (sentence,) = mistakes
    assert sentence.startswith(f'row 2 of "{path}" has the label "{cell}", written where a value')


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"Inventory,,\n,,\nfile_name,label\n", 'column "file_name"; choose one of Inv'),
        ("a.csv", b"\n", 'no column "file_name": it is empty'),
        ("a.csv", b"PK\x03\x04\xff\0\xfe", "is not text in UTF-8, since it holds zero bytes"),
        ("a.csv", b"file_name,label\n1.jpg," + b"\xe9" * 500, f'would read "{"é" * 80}": save'),
        ("a.jsonl", b'{"label": "\xe9"}', 'would read "é": save it in UTF-8$'),
        (
            "a.jsonl",
            b'{\n"file_name": 1}',
            "row 1 .* is not JSON .*: write one object on each line",
        ),
        ("a.jsonl", b'{"file_name": 1, "label": []}', "no text and no number: write it as text"),
    ],
)
def test_tables_are_refused_with_the_remedy(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        rows_of(tmp_path / name)
