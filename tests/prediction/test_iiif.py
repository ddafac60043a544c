"""Annotations: targets letter by letter, one tag in each, the term by itself."""

import csv
import json
import random

import pytest

from dkse_jax.errors import UserError
from dkse_jax.prediction.iiif import write_annotations
from dkse_jax.prediction.item import Item
from dkse_jax.prediction.publish import check
from dkse_jax.prediction.terms import Term
from tests.prediction.examples import failed, options, row

CANVASES = (
    "https://Museum.ORG:443/é {1}/canvas 1",
    "https://museum.org/canvas/p%C3%A9#xywh=0,0,10,10",
    "http://museum.org:80/a/../b?x=1&y=ü",
    "urn:my:canvas",
)


def item(file):
    return Item(file, None, lambda: b"", "1")


def write(rows, out, **fields):
    write_annotations(rows, [item(one.file) for one in rows], options(out, **fields))
    with (out / "annotations/index.csv").open(newline="") as file:
        index = list(csv.DictReader(file))
    assert len(index) + 1 == len(list((out / "annotations").iterdir()))
    return {one["canvas"]: json.loads((out / "annotations" / one["page"]).read_text())
            for one in index}  # fmt: skip


def test_a_canvas_gets_a_page_with_one_tag_and_the_term_by_itself(tmp_path, capsys):
    random.seed(5)
    drawn = ["https://a.org/" + "".join(random.choices("aZ é%{}:/#?&=+", k=12)) for _ in range(20)]
    canvases = {f"{n}.jpg": (canvas,) for n, canvas in enumerate([*CANVASES, *drawn])}
    rows = [row(file, "oil") for file in canvases]
    uri = "http://Vocab.Getty.edu:80/aat/300033799#é"
    terms = {"oil": Term("oil painting", uri)}
    pages = write(rows, tmp_path, canvases=canvases, terms=terms)
    assert set(pages) == {canvas for one in canvases.values() for canvas in one}
    for canvas, page in pages.items():
        assert page["type"] == "AnnotationPage"
        assert page["@context"] == "http://iiif.io/api/presentation/3/context.json"
        assert page["label"]["en"][0].startswith(f"dkse_jax 0.1.0, weights {'ab' * 32}, 2026")
        tag, term = page["items"]
        assert tag["motivation"] == "tagging"
        body = {"type": "TextualBody", "value": "oil painting", "purpose": "tagging"}
        assert tag["body"] == {**body, "format": "text/plain"}
        assert tag["label"] == {"en": ["oil painting, probability 0.931234"]}
        assert term["motivation"] == "classifying"
        assert term["body"] == {"type": "SpecificResource", "source": uri}
        assert tag["target"] == term["target"] == canvas
    ids = [one["id"] for page in pages.values() for one in (page, *page["items"])]
    assert len(set(ids)) == len(ids)
    assert write(rows, tmp_path, canvases=canvases, terms=terms) == pages
    assert capsys.readouterr().out.count("annotation pages: 24 written\n") == 2


def test_pages_of_answers_that_are_none_any_more_are_gone(tmp_path, capsys):
    canvases = {"1.jpg": CANVASES[:2], "2.jpg": CANVASES[2:3], "3.jpg": CANVASES[3:]}
    rows = [row("1.jpg"), row("2.jpg"), row("3.jpg"), row("other.jpg")]
    assert list(write(rows, tmp_path, canvases=canvases)) == list(CANVASES)
    rows[1:3] = [row("2.jpg", known="no"), failed("3.jpg")]
    assert list(write(rows, tmp_path, canvases=canvases)) == list(CANVASES[:2])
    shown = "2 written, 2 not known or not probable enough, 1 of pictures that no manifest shows"
    assert shown in capsys.readouterr().out


def test_without_a_manifest_there_is_nothing_to_annotate(tmp_path):
    with pytest.raises(UserError, match="--write=iiif needs a IIIF manifest among the inputs"):
        check("iiif", options(tmp_path))
    check("iiif", options(tmp_path, canvases={"1.jpg": CANVASES}))


def test_pages_that_a_killed_call_left_are_not_taken(tmp_path):
    (tmp_path / "annotations.tmp").mkdir()
    (tmp_path / "annotations.tmp/stale.json").write_text("{}")
    assert set(write([row("a.jpg")], tmp_path, canvases={"a.jpg": CANVASES})) == set(CANVASES)
