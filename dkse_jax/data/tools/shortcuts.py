"""What the check prints of the facts of image files, above all what gives their class away.

Where each class was photographed by another studio, a network can learn the studio, which it
recognises by colours, compression or sharpness, and is worthless on other images.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from dkse_jax.data.decode import Facts

LEAST = 10  # images of a class; fewer may agree by chance
CERTAIN = 0.8  # share of a class that is recognised, and of the other images that are excluded
_NAMED = 3  # classes, and values, in a sentence
_LISTED = 10  # profiles, and remarks


def described(ids: Sequence[str], labels: Sequence[str], facts: Sequence[Facts]) -> list[str]:
    """Returns lines about the files of images: profiles, remarks, and a caution for each shortcut.

    Args:
        ids: of the images.
        labels: their class names.
        facts: of their files.
    """
    properties = {
        "the colour profile": [
            f'"{one.profile}"' if one.profile else "no profile" for one in facts
        ],
        "the suffix": list(map(_suffix, ids)),
        "the size": _sizes(facts),
        "the camera": [f'"{one.camera}"' if one.camera else "no camera named" for one in facts],
    }
    lines = [line for what, values in properties.items() for line in _caution(what, values, labels)]
    return [*_profiles(facts), *_remarks(ids, facts), *lines]


def _profiles(facts: Sequence[Facts]) -> Iterator[str]:
    times = Counter(one.profile for one in facts if one.profile)
    named = [f"{count:,} {name}" for name, count in times.most_common(_LISTED)]
    if len(times) > _LISTED:
        named.append(f"{len(times) - _LISTED:,} others")
    if named:
        yield f"colour profiles: {', '.join(named)}; they are converted to sRGB"


def _remarks(ids: Sequence[str], facts: Sequence[Facts]) -> Iterator[str]:
    """Yields a line for each kind of remark; remarks of one kind differ in numbers alone."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, one in zip(ids, facts, strict=True):
        for remark in one.remarks:
            found[re.sub(r"\d+", "0", remark)] += [remark, name]
    for remark, first, *rest in sorted(found.values(), key=len, reverse=True)[:_LISTED]:
        count = 1 + len(rest) // 2
        images = f"{count:,} image{'s' if count > 1 else ''}"
        differing = " as in" if set(rest[::2]) - {remark} else ""
        yield f'{images}{differing}: {remark} (first: "{first}")'
    if len(found) > _LISTED:
        yield f"and {len(found) - _LISTED:,} more kinds of remarks"


def given_away(values: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Returns the classes that can be recognised by a property of their images, sorted.

    Each image is assigned the most frequent class of the other images with its value. A class is
    recognised if that is right for CERTAIN of its images, and excludes CERTAIN of the mistakes
    among those assigned to it, compared with all images.

    Args:
        values: of the property, one of each image.
        labels: the class name of each image.
    """
    of_class = Counter(labels)
    right: Counter[str] = Counter()
    assigned: Counter[str] = Counter()
    for counts in _by_value(values, labels).values():
        for label, count in counts.items():
            others = counts - Counter({label: 1})
            if not others:
                continue
            # Of equally frequent classes a wrong one, so that chance recognises nothing.
            guess = max(others, key=lambda name: (others[name], name != label))
            assigned[guess] += count
            right[label] += count if guess == label else 0
    found = []
    for name, count in sorted(of_class.items()):
        share = count / len(labels)
        if count >= LEAST and right[name] >= CERTAIN * count and share < 1:
            excluded = (right[name] / assigned[name] - share) / (1 - share)
            found += [name] if excluded >= CERTAIN else []
    return found


def _caution(what: str, values: Sequence[str], labels: Sequence[str]) -> Iterator[str]:
    classes = given_away(values, labels)
    if not classes:
        return
    if len(classes) == len(set(labels)):
        given = "all but decides the class"
    else:
        names = ", ".join(f'"{name}"' for name in classes[:_NAMED])
        more = f" and {len(classes) - _NAMED} more" if len(classes) > _NAMED else ""
        given = f"gives the class away for {names}{more}"
    parts: list[str] = []
    of_value = _by_value(values, labels)
    for value in sorted(of_value, key=lambda value: -of_value[value].total()):
        label, count = of_value[value].most_common(1)[0]
        if label in classes and len(parts) < _NAMED:
            parts.append(
                f'of {of_value[value].total():,} images with {value} {count:,} are "{label}"'
            )
    yield (
        f"caution: {what} {given}: {', '.join(parts)}; a network may learn where the images are "
        "from instead"
    )


def _by_value(values: Sequence[str], labels: Sequence[str]) -> dict[str, Counter[str]]:
    """Returns for each value the number of images of each class."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for value, label in zip(values, labels, strict=True):
        counts[value][label] += 1
    return counts


def _suffix(name: str) -> str:
    return PurePosixPath(re.sub(r"#\d+$", "", name)).suffix.lower()


def _sizes(facts: Sequence[Facts]) -> list[str]:
    """Returns each image's size: exactly if it is frequent, or else its shorter side, rounded."""
    times = Counter(one.size for one in facts)
    return [
        f"{one.size[0]:,} x {one.size[1]:,} pixels"
        if times[one.size] >= LEAST
        else f"a shorter side of about {2 ** (round(4 * math.log2(min(one.size))) / 4):,.0f} pixels"
        for one in facts
    ]
