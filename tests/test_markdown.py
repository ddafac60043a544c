import pytest

from dkse_jax.markdown import code, table


def test_columns_are_aligned():
    assert table(("row", "n"), [("a", "7"), ("table2_r4", "1,234")], numbers=(1,)).splitlines() == [
        "| row       |     n |",
        "| --------- | ----: |",
        "| a         |     7 |",
        "| table2_r4 | 1,234 |",
    ]


def test_the_rule_of_a_narrow_column_has_a_dash():
    lines = table(("c", "n", "m"), [("a", "7", "")], numbers=(1, 2)).splitlines()
    assert lines == ["| c |  n |  m |", "| - | -: | -: |", "| a |  7 |    |"]


def test_cells_hold_no_markup():
    names = ["a|b", "<img src=x onerror=alert(1)>", "[x](javascript:y)", "a\nb", "\\|", "&lt;`*"]
    lines = table(names, [names]).splitlines()
    assert len(lines) == 3
    cells = [r"a\|b", r"\<img src=x onerror=alert(1)>", r"\[x](javascript:y)", "a\ufffdb"]
    assert lines[0] == f"| {' | '.join([*cells, r'\\\|', r'\&lt;\`\*'])} |"
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("python x.py", "`python x.py`"),
        ("a`<b>``", "``` a`<b>`` ```"),
        ("a\n# b\x1b", "`a\ufffd# b\ufffd`"),
    ],
)
def test_code_stays_code(text, span):
    assert code(text) == span
