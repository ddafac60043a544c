"""Properties of files that give the class away are named, and chance is not."""

import numpy as np
import pytest

from dkse_jax.data.decode import Facts
from dkse_jax.data.tools.shortcuts import described, given_away

CLASSES = ("engraving", "oil", "watercolour")


def fact(size=(640, 480), profile="", camera="", remarks=()):
    return Facts(size, 1, profile, camera, remarks)


def cautions(ids, labels, facts):
    return [line for line in described(ids, labels, facts) if line.startswith("caution: ")]


def labels_of(each=40, classes=CLASSES):
    return [label for label in classes for _ in range(each)]


def leaky(labels, exceptions, seed=0):
    """A value for each class, but for a share of exceptions with another's value."""
    rng = np.random.default_rng(seed)
    others = rng.permutation(labels)
    return [
        f"studio of {other if rng.random() < exceptions else label}"
        for label, other in zip(labels, others, strict=True)
    ]


@pytest.mark.parametrize("exceptions", [0, 0.05])
def test_a_studio_for_each_class_gives_all_away(exceptions):
    assert given_away(leaky(labels_of(), exceptions), labels_of()) == list(CLASSES)


@pytest.mark.parametrize("seed", range(20))
def test_chance_gives_nothing_away(seed):
    rng = np.random.default_rng(seed)
    classes = CLASSES[: rng.integers(2, 4)]
    shares = rng.dirichlet(np.ones(len(classes)))
    labels = rng.choice(classes, int(rng.integers(10, 400)), p=shares).tolist()
    values = int(rng.choice([1, 2, 3, 10, 100, 10_000]))
    assert given_away([str(v) for v in rng.integers(0, values, len(labels))], labels) == []


def test_what_many_share_or_nobody_shares_gives_nothing_away():
    labels = labels_of(5, ("rare",)) + labels_of(200, ("frequent",))
    assert given_away(["same"] * len(labels), labels) == []
    assert given_away([str(i) for i in range(len(labels))], labels) == []
    assert given_away(labels, labels) == ["frequent"]
    books = [f"{label} {i % 20}" for i, label in enumerate(labels_of(100))]
    assert given_away(books, labels_of(100)) == list(CLASSES)  # each value is of one class
    half = ["a" if label == "oil" and i % 2 else "b" for i, label in enumerate(labels_of(100))]
    assert given_away(half, labels_of(100)) == []


def test_one_class_may_be_given_away():
    values = ["png" if label == "oil" else "jpg" for label in labels_of()]
    assert given_away(values, labels_of()) == ["oil"]


def test_a_profile_is_named_with_its_numbers():
    labels = labels_of(120)
    facts = [
        fact(profile="Adobe RGB (1998)" if i < 118 or i in (200, 300) else "") for i in range(360)
    ]
    (line,) = cautions([f"{i}.jpg" for i in range(360)], labels, facts)
    assert line == (
        'caution: the colour profile gives the class away for "engraving": of 120 images with'
        ' "Adobe RGB (1998)" 118 are "engraving"; a network may learn where the images are from'
        " instead"
    )


@pytest.mark.parametrize(
    ("what", "ids", "facts", "part"),
    [
        ("suffix", ["{label}.tif", "{label}.JPG", "x.png#3"], {}, "of 40 images with .tif 40 are"),
        ("camera", ["a.jpg"] * 3, {"camera": "{label}"}, 'of 40 images with "oil" 40 are "oil"'),
        ("colour profile", ["a.jpg"] * 3, {"profile": "{label}"}, 'images with "oil" 40 are "oil"'),
    ],
)
def test_each_property_is_looked_at(what, ids, facts, part):
    names = [name.format(label=label) for name, label in zip(ids, CLASSES, strict=True)]
    each = [
        fact(**{key: value.format(label=label) for key, value in facts.items()})
        for label in CLASSES
    ]
    repeated = ([one for one in some for _ in range(40)] for some in (names, CLASSES, each))
    (line,) = cautions(*repeated)
    assert line.startswith(f"caution: the {what} all but decides the class: ")
    assert part in line


def test_sizes_are_looked_at_exactly_and_roughly():
    rng = np.random.default_rng(0)
    ids, labels = ["a.jpg"] * 120, labels_of()
    same = [fact(size=(800, 600 + CLASSES.index(label))) for label in labels]
    (line,) = cautions(ids, labels, same)
    assert (
        'the size all but decides the class: of 40 images with 800 x 600 pixels 40 are "engr'
        in line
    )
    scale = {"engraving": 300, "oil": 1000, "watercolour": 4000}
    alike = [
        fact(size=tuple((scale[label] * rng.uniform(0.9, 1.1, 2)).astype(int))) for label in labels
    ]
    (line,) = cautions(ids, labels, alike)
    assert "the size all but decides the class: of " in line
    assert " images with a shorter side of about " in line
    chance = [fact(size=tuple(rng.integers(180, 3000, 2))) for _ in labels]
    assert cautions(ids, labels, chance) == []


def test_profiles_and_remarks_are_counted():
    facts = [fact(profile="eciRGB v2")] * 20 + [fact(profile="Dot Gain 20%")] * 3 + [fact()] * 2
    facts += [fact(remarks=("its first picture is a preview of 40 x 24",))]
    facts += [fact(remarks=("its first picture is a preview of 50 x 34", "odd"))]
    ids = [f"{i}.jpg" for i in range(len(facts))]
    assert described(ids, ["one"] * len(ids), facts) == [
        "colour profiles: 20 eciRGB v2, 3 Dot Gain 20%; they are converted to sRGB",
        '2 images as in: its first picture is a preview of 40 x 24 (first: "25.jpg")',
        '1 image: odd (first: "26.jpg")',
    ]
    facts = [fact(profile=f"own {i}", remarks=(f"odd {chr(97 + i)}",)) for i in range(12)]
    lines = described(ids[:12], ["one"] * 12, facts)
    assert lines[0].endswith("1 own 9, 2 others; they are converted to sRGB")
    assert lines[-1] == "and 2 more kinds of remarks"
