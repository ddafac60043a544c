import pytest

from dkse_jax.text import plain_text


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
