"""What the sidecars and the annotations have in common: which rows they take, and who wrote."""

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from dkse_jax.errors import UserError, refuse
from dkse_jax.prediction.row import DECIMALS, Row
from dkse_jax.prediction.terms import Term

KINDS = ("xmp", "iiif")
_PACKAGES = {"xmp": "lxml", "iiif": "iiif_prezi3"}
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


def check(kind: str, options: Options) -> None:
    """Raises UserError unless `--write=kind` can be done with these options."""
    if kind not in KINDS:
        refuse(f"--write={kind} is not one of {', '.join(KINDS)}")
    try:
        importlib.import_module(_PACKAGES[kind])
    except ImportError as error:
        raise UserError(
            f"--write={kind} needs the extra catalogue: pip install 'dkse_jax[catalogue]'"
        ) from error
    if kind == "iiif" and not options.canvases:
        refuse("--write=iiif needs a IIIF manifest among the inputs, whose canvases it annotates")
    if not 0 <= options.threshold <= 1:
        refuse(f"--write_above={options.threshold} is not between 0 and 1")
    if "|" in options.root or not all(level.strip() for level in options.root.split("/")):
        refuse(f'--keyword_root="{options.root}" is no keyword: write AI, or AI/technique')
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
