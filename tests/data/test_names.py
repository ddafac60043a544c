"""Names as people write them: one spelling, or a sentence about two that look alike."""

import random
import unicodedata

import pytest

from dkse_jax.data.names import check_alike, clean
from dkse_jax.errors import UserError

SPACES = " \t\n\r\u00a0\u2003\u3000\u202f\u200b\ufeff\u2060\u200e\u00ad\u200d"
NAMES = (
    "ink",
    "oil painting",
    "Dürer",
    "水墨",
    "کتاب\u200cخانه",
    "a/b",
    "=cmd()",
    "\U0001f58c",
    "e\u0301t\u00e9",
)


@pytest.mark.parametrize("seed", range(20))
def test_what_cannot_be_seen_at_the_ends_makes_no_other_name(seed):
    rng = random.Random(seed)
    for name in NAMES:
        ends = ["".join(rng.choices(SPACES, k=rng.randrange(4))) for _ in range(2)]
        form = rng.choice(("NFC", "NFD"))
        written = ends[0] + unicodedata.normalize(form, name) + ends[1]
        assert clean(written) == unicodedata.normalize("NFC", name)
        assert clean(clean(written)) == clean(written)


def test_invisible_characters_inside_are_dropped_and_joiners_kept():
    assert clean("oil\u200bpaint\u00ading") == "oilpainting"
    assert clean("e\u200b\u0301") == "\u00e9"
    assert clean("می\u200cخواهم") == "می\u200cخواهم"
    assert clean("oil  painting") == "oil  painting"
    assert clean(" \u00a0\u200b ") == ""


@pytest.mark.parametrize("seed", range(5))
def test_characters_that_only_choose_or_fill_a_glyph_make_no_other_name(seed):
    rng = random.Random(seed)
    for name in (*NAMES, "\u2764 hearts", "\u845b\u98fe"):
        place = rng.randrange(len(name) + 1)
        mark = rng.choice("\ufe0e\ufe0f\U000e0100\u034f\u3164\u115f\uffa0")
        assert clean(name[:place] + mark + name[place:]) == clean(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ink", "Ink"),
        ("ink", "INK"),
        ("ink", "ink."),
        ("ink", "ink .."),
        ("oil painting", "oil  painting"),
        ("oil painting", "Oil\u00a0painting"),
        ("oil painting", "oil\u3000painting"),
        ("Dürer", "DÜRER"),
        ("тушь", "Тушь"),
        ("ink", "ink"),
    ],
)
def test_names_that_look_alike_are_named_together(one, other):
    for names in ([one, "chalk", other], [other, one]):
        with pytest.raises(UserError, match='the classes "') as caught:
            check_alike("classes", names, '"root"')
        for name in (one, other, "root"):
            assert f'"{name}"' in str(caught.value)
        assert "\n" not in str(caught.value)


def test_names_that_differ_in_more_are_left_alone():
    names = [
        "ink",
        "inks",
        "i.nk",
        "Maße",
        "Masse",
        "oil painting",
        "oilpainting",
        "m2",
        "m²",
        ".a",
        "1",
        "01",
        "1.0",
        "\u0131nk",
        "\u0130nk",
        "stra\u00dfe",
        "strasse",
    ]
    assert [clean(name) for name in names] == names
    check_alike("classes", names, "here")


def test_every_later_name_is_reported():
    told = []
    check_alike("groups", ["a", "B", "A", "b", "c", "a."], "here", told.append)
    assert [sentence.split(" of ")[0] for sentence in told] == [
        'the groups "a" and "A"',
        'the groups "B" and "b"',
        'the groups "a" and "a."',
    ]
