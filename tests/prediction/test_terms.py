"""Tables of terms: read from what spreadsheets save; mistakes named by their row."""

import re

import pytest

from dkse_jax.errors import UserError
from dkse_jax.prediction.terms import Term, load_terms

AAT = "http://vocab.getty.edu/aat/300033799"


def load(tmp_path, text, names=("ink", "oil")):
    path = tmp_path / "terms.csv"
    path.write_text(text, encoding="utf-8")
    return load_terms(str(path), names)


def test_terms_are_read_and_classes_without_one_are_named(tmp_path, capsys):
    assert load(tmp_path, f"class;label;uri\n oil ;Ölgemälde;{AAT}\n") == {
        "oil": Term("Ölgemälde", AAT)
    }
    assert "has no term for: ink: only their names are written" in capsys.readouterr().out
    found = load(tmp_path, f"Class,URI\noil,{AAT}\nink,urn:my:ink\n")
    assert found == {"oil": Term("oil", AAT), "ink": Term("ink", "urn:my:ink")}
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (f"oli,a,{AAT}", 'row 2 of ".*" has the class "oli", which is none; did you mean "oil"'),
        (f"oil,a,{AAT}\noil,b,{AAT}", 'row 3 of ".*" has the class "oil" again'),
        ("oil,a,300033799", 'row 2 of ".*" has "300033799", which is no URI: write one such as'),
        ("oil,a,http://a b", "which is no URI"),
        ("oil,a,", 'has "", which is no URI'),
    ],
)
def test_mistakes_are_named_by_their_row(tmp_path, rows, sentence):
    with pytest.raises(UserError, match=sentence):
        load(tmp_path, f"class,label,uri\n{rows}\n")
    with pytest.raises(UserError, match=re.escape('has no column "uri"')):
        load(tmp_path, "class,label\noil,a\n")
