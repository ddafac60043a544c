"""What the sidecars and the annotations have in common: which rows they take, and who wrote."""

import dataclasses
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from dkse_jax.errors import refuse
from dkse_jax.prediction.row import DECIMALS, Row
from dkse_jax.prediction.terms import Term

KINDS = ("xmp", "iiif")
_LEVELS = "/|"  # between the levels of a keyword in digiKam and in Lightroom


@dataclasses.dataclass(frozen=True)
class Options:
    """How answers are written for other programs.

    Attributes:
        out: the folder of the tables.
        class_names: all classes.
        model: the digest of the weights in hexadecimal.
        date: of the prediction, in ISO 8601.
        software: who wrote, with a version.
        threshold: the least probability of an answer that is written.
        root: of our keywords; several levels with slashes between them.
        beside: whether sidecars are beside the pictures, and not below OUT/sidecars.
        terms: class -> its term.
        canvases: file of an item -> ids of the canvases that show it, letter by letter.
    """

    out: Path
    class_names: tuple[str, ...]
    model: str
    date: str
    software: str
    threshold: float = 0.9
    root: str = "AI"
    beside: bool = False
    terms: Mapping[str, Term] = dataclasses.field(default_factory=dict)
    canvases: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

    def label(self, class_name: str) -> str:
        """Returns the label of a class: of its term, or its name."""
        return self.terms[class_name].label if class_name in self.terms else class_name


def check_kind(kind: str) -> None:
    """Raises UserError unless `--write=kind` is one, and its package is installed."""
    if kind not in KINDS:
        refuse(f"--write={kind} is not one of {', '.join(KINDS)}")
    if kind == "xmp" and importlib.util.find_spec("lxml") is None:
        refuse("--write=xmp needs the extra catalogue: pip install 'dkse_jax[catalogue]'")


def check_numbers(threshold: float, root: str) -> None:
    """Raises UserError unless a threshold is a probability and a root is a keyword."""
    if not 0 <= threshold <= 1:
        refuse(f"--write-above={threshold} is not between 0 and 1")
    if "|" in root or not all(level.strip() for level in root.split("/")):
        refuse(f'--keyword-root="{root}" is no keyword: write AI, or AI/technique')


def check(kind: str, options: Options) -> None:
    """Raises UserError unless `--write=kind` can be done with these classes and inputs."""
    if kind == "iiif" and not options.canvases:
        refuse("--write=iiif needs a IIIF manifest among the inputs, whose canvases it annotates")
    for name in options.class_names:
        if any(level in options.label(name) for level in _LEVELS):
            refuse(
                f'the class "{options.label(name)}" has a / or |, which divides the levels of a '
                "keyword: give it another label by --terms=FILE"
            )


def is_written(row: Row, options: Options) -> bool:
    """Returns whether an answer is known and probable enough to be written."""
    return row.known == "yes" and probability(row) >= options.threshold


def probability(row: Row) -> float:
    """Returns the probability of a row's class; 0 of a failed file."""
    return max(row.probabilities, default=0.0)


def in_decimals(value: float) -> str:
    """Formats a probability with as many decimals as in the tables."""
    return f"{value:.{DECIMALS}f}"


def numbers(counts: Mapping[str, int]) -> str:
    """Formats the numbers that are not zero, as in: 3 written, 1,200 there already."""
    return ", ".join(f"{number:,} {what}" for what, number in counts.items() if number) or "none"
