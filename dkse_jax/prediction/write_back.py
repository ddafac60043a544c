"""What is made of the rows beside the tables: sorted folders, sidecars, annotations."""

import dataclasses
import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import dkse_jax
from dkse_jax.errors import nearest, refuse
from dkse_jax.files import expanded
from dkse_jax.prediction import publish
from dkse_jax.prediction.item import Item
from dkse_jax.prediction.row import Row
from dkse_jax.prediction.sort import MODES, sort
from dkse_jax.prediction.terms import load_terms

Rows = Callable[[], Iterable[Row]]


@dataclasses.dataclass(frozen=True)
class Wish:
    """What the flags ask for.

    Attributes:
        sort: of `sort.MODES`, or None.
        yes: whether the sorting is done, and not only counted.
        kinds: of `publish.KINDS`.
        threshold: as of `publish.Options`, and so are root and beside.
        root: see threshold.
        beside: see threshold.
        terms: the path of a table of terms, or None.
    """

    sort: str | None = None
    yes: bool = False
    kinds: tuple[str, ...] = ()
    threshold: float = 0.9
    root: str = "AI"
    beside: bool = False
    terms: str | None = None

    def check(self) -> None:
        """Raises UserError for flags that cannot be met, before anything is read."""
        if self.sort is not None and self.sort not in MODES:
            refuse(f"--sort={self.sort} is none{nearest(self.sort, MODES)}")
        if self.yes and self.sort is None:
            refuse("--yes is of --sort=link or --sort=copy, which is not there")
        if (self.beside or self.terms) and not self.kinds:
            refuse("--beside and --terms are of --write=xmp or --write=iiif, which are not there")
        for kind in self.kinds:
            publish.check_kind(kind)
        publish.check_numbers(self.threshold, self.root)


NOTHING = Wish()


def prepare(
    wish: Wish,
    out: Path,
    class_names: Sequence[str],
    weights: str,
    canvases: Mapping[str, Sequence[str]],
) -> Callable[[Rows, Sequence[Item]], None]:
    """Returns a function of the rows and items that does what is asked.

    Args:
        wish: what is asked.
        out: the folder of the tables.
        class_names: in the order of the probabilities.
        weights: their digest.
        canvases: file of an item -> ids of the canvases that show it.

    Raises:
        UserError: it cannot be done with these classes and inputs.
    """
    wish.check()
    options = publish.Options(
        out=out,
        class_names=tuple(class_names),
        model=weights,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        software=f"dkse_jax {dkse_jax.__version__}",
        threshold=wish.threshold,
        root=wish.root,
        beside=wish.beside,
        terms=load_terms(expanded(wish.terms), class_names) if wish.terms else {},
        canvases=canvases,
    )
    for kind in wish.kinds:
        publish.check(kind, options)

    def write_back(rows: Rows, items: Sequence[Item]) -> None:
        if "xmp" in wish.kinds:
            from dkse_jax.prediction.xmp import write_sidecars

            write_sidecars(rows(), items, options)
        if "iiif" in wish.kinds:
            from dkse_jax.prediction.iiif import write_annotations

            write_annotations(rows(), items, options)
        if wish.sort:
            sort(rows(), items, out, mode=wish.sort, class_names=class_names, do=wish.yes)

    return write_back
