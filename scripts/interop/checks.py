"""What each program must read of a prediction: a function for each, which raises if it does not."""

import csv
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from scripts.interop.outputs import CANVASES, FAILED, PICTURE, TERM

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs" / "using.md"


class Place(NamedTuple):
    """Where the checks are made: the folder of `outputs.write`, and the tools' own environment."""

    folder: Path
    tools: Path

    @property
    def sidecar(self) -> Path:
        """Returns the path of the sidecar."""
        return self.folder / "OUT" / "sidecars" / f"{PICTURE}.xmp"


class NotInstalled(Exception):
    """A program that is not there."""


def run(command: list[str], folder: Path, **environment: str) -> str:
    """Runs a program in a folder; returns what it prints. Raises NotInstalled, or RuntimeError."""
    if shutil.which(command[0]) is None:
        raise NotInstalled(command[0])
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, **environment},
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]}")
    return done.stdout


def read(place: Place, engine: str, what: str, argument: str = "") -> Any:
    """Returns what an engine of Python reads."""
    python = place.tools / "bin" / "python"
    try:
        run([str(python), "-c", f"import {engine}"], place.folder)
    except (RuntimeError, NotInstalled) as error:
        raise NotInstalled(engine) from error
    command = [str(python), str(HERE / "readers.py"), engine, what, argument]
    return json.loads(run(command, place.folder))["read"]


def same(what: str, found: Any, right: Any) -> None:
    """Raises AssertionError unless two values are equal."""
    if found != right:
        raise AssertionError(f"{what} is {str(found)[:300]}, but must be {str(right)[:300]}")


def check_tables(engine: str) -> Callable[[Place], None]:
    """Returns the check of an engine: each id as text, each number, p >= 0.9 in both formats."""

    def check(place: Place) -> None:
        right = json.loads((place.folder / "expected.json").read_text())
        rows = read(place, engine, "csv", str(DOCS))
        same("the column file", [row["file"] for row in rows], right["files"])
        same("the column class", [row["class"] or "" for row in rows], right["classes"])
        same("p >= 0.9 in CSV", sum((row["p"] or 0) >= 0.9 for row in rows), right["high"])
        same("the sum of p", round(sum(row["p"] or 0 for row in rows), 6), round(right["sum"], 6))
        same("a failed file", (rows[0]["p"], rows[0]["note"]), (None, FAILED))
        same("p >= 0.9 in Parquet", read(place, engine, "parquet"), right["high"])

    return check


def check_workbook(engine: str) -> Callable[[Place], None]:
    """Returns the check of an engine that reads XLSX: all ids are the texts that they were."""

    def check(place: Place) -> None:
        _check_sheet(place, read(place, engine, "xlsx", "OUT/predictions.xlsx"))

    return check


def check_libreoffice(place: Place) -> None:
    """Converts both tables without a window, as docs/using.md does."""
    profile = f"-env:UserInstallation=file://{place.folder}/office"
    convert = ["soffice", profile, "--headless", "--convert-to"]
    text_columns = "CSV:44,34,76,1,1/2/2/2/3/2,1033"
    for name, options in (("csv", [f"--infilter={text_columns}"]), ("xlsx", [])):
        into = ["--outdir", f"office-{name}"]
        run([*convert, "xlsx", *options, *into, f"OUT/predictions.{name}"], place.folder)
        sheet = read(place, "openpyxl", "xlsx", f"office-{name}/predictions.xlsx")
        _check_sheet(place, sheet)


def _check_sheet(place: Place, sheet: list[list[Any]]) -> None:
    right = json.loads((place.folder / "expected.json").read_text())
    same("the first column", [row[0] for row in sheet[1:]], right["files"])
    same("the classes", [row[2] or "" for row in sheet[1:]], right["classes"])
    found = sum(row[3] for row in sheet[1:] if row[3] not in (None, ""))
    same("the sum of p", round(found, 6), round(right["sum"], 6))


def check_exiftool(place: Place) -> None:
    """Reads the sidecar as texts."""
    options = ["-j", "-struct", "-api", "StructFormat=JSONQ", "-XMP:all"]
    text = run(["exiftool", *options, str(place.sidecar)], place.folder)
    [found] = json.loads(text, parse_float=str, parse_int=str)  # older versions print numbers
    right = {
        "Subject": ["death", "ink drawing"],
        "HierarchicalSubject": ["death", "AI|ink drawing"],
        "TagsList": ["death", "AI/ink drawing"],
        "AboutCvTerm": [{"CvTermId": TERM, "CvTermName": "ink drawing"}],
        **{"Title": "Dance", "Creator": ["Holbein"], "Rights": "public domain", "Rating": "4"},
        **{"Probability": "0.940000", "Class": "ink", "Model": "ab" * 32},
    }
    for name, value in right.items():
        alone = value[0] if isinstance(value, list) and len(value) == 1 else value
        if found.get(name) != alone:
            same(f"XMP:{name}", found.get(name), value)


def check_exiv2(place: Place) -> None:
    """Reads the sidecar by the command."""
    text = run(["exiv2", "-g", "Xmp", "-Pkyv", "pr", str(place.sidecar)], place.folder)
    found = {key: (kind, value) for key, kind, value in (line.split(None, 2) for line in
             text.splitlines() if len(line.split(None, 2)) == 3)}  # fmt: skip
    _check_fields({key.removeprefix("Xmp."): value for key, value in found.items()})


def _check_fields(found: dict[str, tuple[str, str]]) -> None:
    right = {
        "dc.subject": ("XmpBag", "death, ink drawing"),
        "lr.hierarchicalSubject": ("XmpBag", "death, AI|ink drawing"),
        "digiKam.TagsList": ("XmpSeq", "death, AI/ink drawing"),
        "dc.creator": ("XmpSeq", "Holbein"),
        "dkse.probability": ("XmpText", "0.940000"),
    }
    for name, value in right.items():
        same(name, found.get(name), value)


def check_pyexiv2(place: Place) -> None:
    """Reads the sidecar by the newer library, with the same keys."""
    found = read(place, "pyexiv2", "sidecar", str(place.sidecar))
    same("Xmp.lr.hierarchicalSubject", found["Xmp.lr.hierarchicalSubject"][-1], "AI|ink drawing")
    same("Xmp.digiKam.TagsList", found["Xmp.digiKam.TagsList"][-1], "AI/ink drawing")
    same("Xmp.dkse.probability", found["Xmp.dkse.probability"], "0.940000")


def check_darktable(place: Place) -> None:
    """Exports the picture with the sidecar beside it: title, creator, rights, rating are there."""
    folder = place.folder / "darktable"
    folder.mkdir()
    shutil.copy(place.folder / "in" / PICTURE, folder)
    shutil.copy(place.sidecar, folder)
    core = ["--core", "--library", ":memory:", "--configdir", "config", "--cachedir", "cache"]
    run(["darktable-cli", PICTURE, "export.jpg", *core, "--disable-opencl"], folder)
    [found] = json.loads(run(["exiftool", "-j", "-XMP:all", "export.jpg"], folder))
    right = {"Title": "Dance", "Creator": "Holbein", "Rights": "public domain", "Rating": 4}
    same("the export", {name: found.get(name) for name in right}, right)
    same("its keywords", sorted(found["Subject"]), ["AI", "death", "ink drawing"])


def check_parser(place: Place) -> None:
    """Puts our pages into a manifest and compares what @iiif/parser writes of it."""
    folder = place.folder / "OUT" / "annotations"
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        pages = {row["canvas"]: folder / row["page"] for row in csv.DictReader(file)}
    canvases = [
        {
            **{"id": canvas, "type": "Canvas", "width": 9, "height": 9, "items": []},
            "annotations": [json.loads(pages[canvas].read_text(encoding="utf-8"))],
        }
        for canvas in CANVASES
    ]
    manifest = {
        "@context": "http://iiif.io/api/presentation/3/context.json",
        **{"id": "https://museum.org/manifest", "type": "Manifest", "label": {"en": ["Prints"]}},
        "items": canvases,
    }
    (place.folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    if not (place.tools / "node_modules" / "@iiif" / "parser").is_dir():
        raise NotInstalled("@iiif/parser")
    script = place.tools / "annotations.mjs"  # packages are found from the place of a script
    shutil.copy(HERE / "annotations.mjs", script)
    written = json.loads(run(["node", str(script), "manifest.json"], place.folder))
    same("the canvases", [canvas["id"] for canvas in written["items"]], list(CANVASES))
    for canvas in written["items"]:
        [page] = canvas["annotations"]
        tag, term = page["items"]
        same("the targets", [tag["target"], term["target"]], [canvas["id"]] * 2)
        same(
            "the motivations",
            [tag["motivation"], term["motivation"]],
            ["tagging", "classifying"],
        )
        [body] = tag["body"] if isinstance(tag["body"], list) else [tag["body"]]
        same("the tag", (body["value"], body["purpose"]), ("ink drawing", "tagging"))
        if TERM not in json.dumps(term["body"]):
            same("the term", term["body"], TERM)


def check_prezi3(place: Place) -> None:
    """Reads a page by iiif-prezi3, which keeps its annotations but for the ids of canvases."""
    paths = sorted((place.folder / "OUT" / "annotations").glob("*.json"))
    for path in paths:
        found = read(place, "iiif_prezi3", "iiif", str(path))
        page = json.loads(path.read_text(encoding="utf-8"))
        for one in (*found["items"], *page["items"]):
            one.pop("target")
        same("the annotations", found["items"], page["items"])


CHECKS: dict[str, Callable[[Place], None]] = {
    **{name: check_tables(name) for name in ("duckdb", "polars", "pandas", "pyarrow")},
    **{name: check_workbook(name) for name in ("openpyxl", "python_calamine")},
    "LibreOffice": check_libreoffice,
    "exiftool": check_exiftool,
    "exiv2": check_exiv2,
    "pyexiv2": check_pyexiv2,
    "darktable-cli": check_darktable,
    "@iiif/parser": check_parser,
    "iiif_prezi3": check_prezi3,
}
