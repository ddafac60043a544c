"""Reads tables and a sidecar by a package of Python, in an environment without dkse_jax.

Prints JSON. The tables are read by the very code of docs/using.md.
"""

import contextlib
import importlib.metadata
import json
import os
import re
import sys
from pathlib import Path
from typing import Any


def from_docs(engine: str, page: str) -> Any:
    """Runs the code of the page that imports an engine; returns its table."""
    blocks = re.findall(r"```python\n(.*?)```", Path(page).read_text(encoding="utf-8"), re.DOTALL)
    [code] = [block for block in blocks if block.startswith(f"import {engine}\n")]
    names: dict[str, Any] = {}
    exec(code, names)
    return names["table"]


def rows_of(engine: str, table: Any) -> list[dict[str, Any]]:
    """Returns a table as one dict for each row, None where there is no value."""
    if engine == "duckdb":
        return [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]
    if engine == "polars":
        return table.to_dicts()
    if engine == "pandas":
        return [
            {k: None if v != v else v for k, v in row.items()} for row in table.to_dict("records")
        ]
    return table.to_pylist()


def parquet(engine: str) -> int:
    """Returns how many rows of predictions.parquet have p >= 0.9, by the filter of an engine."""
    path = "OUT/predictions.parquet"
    if engine == "duckdb":
        import duckdb

        query = f"SELECT count(*) FROM '{path}' WHERE p >= ?"
        return duckdb.execute(query, [0.9]).fetchall()[0][0]
    if engine == "polars":
        import polars

        return polars.scan_parquet(path).filter(polars.col("p") >= 0.9).collect().height
    if engine == "pandas":
        import pandas

        return len(pandas.read_parquet(path, filters=[("p", ">=", 0.9)]))
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path, filters=[("p", ">=", 0.9)]).num_rows


def workbook(engine: str, path: str) -> list[list[Any]]:
    """Returns the cells of the first sheet of a workbook."""
    if engine == "openpyxl":
        import openpyxl

        with contextlib.closing(openpyxl.load_workbook(path, read_only=True)) as book:
            return [list(row) for row in book.worksheets[0].iter_rows(values_only=True)]
    import python_calamine

    return python_calamine.load_workbook(path).get_sheet_by_index(0).to_python()


def sidecar(path: str) -> dict[str, Any]:
    """Returns the fields of a sidecar by exiv2's library."""
    import pyexiv2

    with pyexiv2.Image(path) as image:
        return image.read_xmp()


def annotations(path: str) -> dict[str, Any]:
    """Returns an annotation page as the library that models IIIF reads it."""
    import iiif_prezi3

    page = json.loads(Path(path).read_text(encoding="utf-8"))
    return json.loads(iiif_prezi3.AnnotationPage(**page).json())


def main(engine: str, what: str, argument: str) -> None:
    """Prints the version of an engine and what it reads."""
    package = engine.replace("_", "-")
    version = importlib.metadata.version(package)
    if what == "csv":
        read: Any = rows_of(engine, from_docs(engine, argument))
    elif what == "parquet":
        read = parquet(engine)
    elif what == "xlsx":
        read = workbook(engine, argument)
    elif what == "iiif":
        read = annotations(argument)
    else:
        read = sidecar(argument)
    json.dump({"version": version, "read": read}, sys.stdout)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUTF8", "1")
    main(*sys.argv[1:])
