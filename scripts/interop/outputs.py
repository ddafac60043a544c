"""A small prediction of difficult kinds, without a network: rows, a picture, what is written."""

import json
from pathlib import Path

from PIL import Image

from dkse_jax.prediction.formats import write_parquet, write_xlsx
from dkse_jax.prediction.item import Item
from dkse_jax.prediction.row import DECIMALS, Row
from dkse_jax.prediction.tables import line_maker
from dkse_jax.prediction.write_back import Wish, prepare

CLASSES = ("ink", "NA", "oil")  # the second is a missing value to some readers
TERM = "http://vocab.getty.edu/aat/300033973"
CANVASES = ("https://Museum.ORG:443/é/canvas {1}", "https://museum.org/canvas/2#xywh=0,0,9,9")
EMBEDDED = """<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmp:Rating="4">
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Dance</rdf:li></rdf:Alt></dc:title>
<dc:creator><rdf:Seq><rdf:li>Holbein</rdf:li></rdf:Seq></dc:creator>
<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">public domain</rdf:li></rdf:Alt></dc:rights>
<dc:subject><rdf:Bag><rdf:li>death</rdf:li></rdf:Bag></dc:subject>
</rdf:Description></rdf:RDF></x:xmpmeta>"""
PICTURE = "001.jpg"
FAILED = "no picture; it ends early"
# Numbers, dates, formulas, comments and escapes to one reader or another.
NAMES = (
    *("#1.tif", "007.jpg", "1E5.jpg", "1984.10.jpg", "2001-03.jpg", "1.jpg", "TRUE.jpg"),
    *("a,b;c.jpg", 'with "quotes".jpg', "plate_x1024_a.jpg", "https://museum.org/iiif/1.jpg"),
    *("Öl, 1.jpg", PICTURE),
)


def rows() -> list[Row]:
    """Returns rows: failed ones first and last, probabilities around 0.9 in between."""
    made = [Row("#0.tif", "failed", "", (), "", (), FAILED, "")] * 120
    for number, name in enumerate(NAMES):
        p = round(0.88 + 0.005 * number, DECIMALS)
        rest = round((1 - p) / 2, DECIMALS)
        which = number % 2
        values = (p, rest, rest) if which == 0 else (rest, p, rest)
        known = "yes" if p >= 0.9 else "no"
        made.append(Row(name, "ok", CLASSES[which], values, known, (CLASSES[which],), "", ""))
    return [*made, Row("#2.tif", "failed", "", (), "", (), FAILED, "")]


def write(folder: Path) -> None:
    """Writes the picture into folder/in and all that predictions are written as into folder/OUT."""
    out, picture = folder / "OUT", folder / "in" / PICTURE
    for one in (out, picture.parent):
        one.mkdir(parents=True)
    Image.radial_gradient("L").convert("RGB").save(picture, xmp=EMBEDDED.encode())
    answers = rows()
    for name in ("csv", "jsonl"):
        head, line_of = line_maker(name, CLASSES, False)
        text = head + "".join(map(line_of, answers))
        (out / f"predictions.{name}").write_text(text, encoding="utf-8", newline="")
    write_parquet(out / "predictions.parquet", answers, CLASSES)
    write_xlsx(out / "predictions.xlsx", lambda: answers, CLASSES)
    known = [row for row in answers if row.file == PICTURE]
    items = [Item(PICTURE, str(picture), picture.read_bytes, "")]
    terms = folder / "terms.csv"
    terms.write_text(f"class,label,uri\nink,ink drawing,{TERM}\n", encoding="utf-8")
    wish = Wish(kinds=("xmp", "iiif"), threshold=0.5, terms=str(terms))
    write_back = prepare(wish, out, CLASSES, "ab" * 32, {PICTURE: CANVASES})
    write_back(lambda: known, items)
    (folder / "expected.json").write_text(
        json.dumps(
            {
                "files": [row.file for row in answers],
                "high": sum(max(row.probabilities, default=0) >= 0.9 for row in answers),
                "sum": sum(max(row.probabilities, default=0) for row in answers),
                "classes": [row.class_name for row in answers],
                "canvases": CANVASES,
            }
        )
    )
