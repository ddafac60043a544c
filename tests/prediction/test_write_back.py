"""What the flags of predict make of the rows, and the flags that are refused before a picture."""

import importlib.util
import json
import re
import sys

import pytest

from dkse_jax.cli import predict
from dkse_jax.errors import UserError
from dkse_jax.prediction.write_back import NOTHING, Wish, prepare
from tests.prediction.examples import CLASSES, item, jpeg, row


def test_everything_asked_is_made_of_the_rows(tmp_path, capsys):
    root, out = tmp_path / "in", tmp_path / "out"
    out.mkdir()
    rows = [row("1.jpg"), row("b/2.jpg", "oil", p=0.7)]
    for one in rows:
        jpeg(root / one.file)
    items = [item(root, one.file) for one in rows]
    (tmp_path / "terms.csv").write_text("class,label,uri\noil,oil painting,http://x.org/1\n")
    prepare(NOTHING, out, CLASSES, "ab", {})(lambda: iter(rows), items)
    assert not list(out.iterdir())
    wish = Wish("copy", True, ("xmp", "iiif"), 0.6, terms=str(tmp_path / "terms.csv"))
    prepare(wish, out, CLASSES, "ab", {"b/2.jpg": ["urn:c"]})(lambda: iter(rows), items)
    made = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    [page] = (out / "annotations").glob("*.json")
    assert made == {
        *("sorted/ink/1.jpg", "sorted/oil/b/2.jpg", "sorted.jsonl", "undo.jsonl"),
        *("sidecars/1.jpg.xmp", "sidecars/b/2.jpg.xmp", "annotations/index.csv"),
        f"annotations/{page.name}",
    }
    assert json.loads(page.read_text())["items"][0]["body"]["value"] == "oil painting"
    assert b"http://x.org/1" in (out / "sidecars/b/2.jpg.xmp").read_bytes()
    assert "has no term for: ink, print" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--sort=move"], "--sort=move is none; choose one of copy, link"),
        (["--yes"], "--yes is of --sort=link or --sort=copy, which is not there"),
        (["--beside"], "--beside and --terms are of --write=xmp"),
        (["--write=csv"], "--write=csv is not one of xmp, iiif"),
        (["--write=xmp", "--write-above=1.5"], "--write-above=1.5 is not between 0 and 1"),
        (["--write=xmp", "--keyword-root=a|b"], '--keyword-root="a|b" is no keyword'),
        (["--write=xmp", "--part=1/2"], "--part only predicts"),
        (["--undo"], "no sidecar was written from there"),
    ],
)
def test_flags_that_cannot_be_met_are_refused_at_once(
    tmp_path, monkeypatch, capsys, flags, sentence
):
    arguments = ["predict.py", "--workdir=w", f"--out={tmp_path}", str(tmp_path), *flags]
    monkeypatch.setattr(sys, "argv", arguments)
    predict.FLAGS.unparse_flags()
    for flag in predict.FLAGS:
        predict.FLAGS[flag].unparse()
    with pytest.raises(SystemExit) as end:
        predict.run()
    assert end.value.code == 2
    assert re.search(re.escape(sentence), capsys.readouterr().err)


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"--write=xmp needs the extra catalogue: pip install"):
        Wish(kinds=("xmp",)).check()
