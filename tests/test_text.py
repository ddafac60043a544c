import pytest

from dkse_jax.text import csv_text, plain_text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Ukiyo-e (浮世绘) 100%", "Ukiyo-e (浮世绘) 100%"),
        ("a\nb\tc\x1b[31m", "a\ufffdb\ufffdc\ufffd[31m"),
        ("\u202egpj.exe\u2028", "\ufffdgpj.exe\ufffd"),
        ("caf\udce9", "caf\ufffd"),
        ("می\u200cروم", "می\u200cروم"),
    ],
)
def test_plain_text(name, expected):
    assert plain_text(name) == expected
    assert plain_text(name).encode("utf-8")


def test_csv_text_quotes_what_has_its_delimiter():
    rows = [("a;b", "c,d"), ("=1", 2)]
    assert csv_text(("x", "y"), rows) == 'x,y\na;b,"c,d"\n\'=1,2\n'
    assert csv_text(("x", "y"), rows, ";") == 'x;y\n"a;b";c,d\n\'=1;2\n'
