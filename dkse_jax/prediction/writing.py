"""The files of the table of predictions: each complete, or not there."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from dkse_jax.console import log
from dkse_jax.files import explain_disk_errors, replacing, sync
from dkse_jax.prediction.formats import PACKAGES, write_parquet, write_xlsx
from dkse_jax.prediction.row import Row
from dkse_jax.prediction.tables import line_maker

TABLE = "predictions"
STREAMED = ("csv", "jsonl")


@dataclasses.dataclass(frozen=True)
class Format:
    """The formats of a table, of `formats.PACKAGES`.

    Attributes:
        names: of the formats.
        decimal_comma: whether numbers in CSV have a decimal comma, and semicolons between them.
    """

    names: tuple[str, ...] = ("csv",)
    decimal_comma: bool = False


CSV = Format()


@contextlib.contextmanager
def streamed(
    out: Path, form: Format, class_names: Sequence[str]
) -> Iterator[Callable[[Row], None]]:
    """Yields a function that writes a row to each table of lines.

    Each is out/predictions.partial.<format>, flushed after each row, and renamed at the end.

    Raises:
        UserError: the disk is full or cannot be written.
    """
    with contextlib.ExitStack() as stack:
        pairs, partials = [], []
        for name in (name for name in form.names if name in STREAMED):
            head, line_of = line_maker(name, class_names, form.decimal_comma)
            partial = out / f"{TABLE}.partial.{name}"
            with explain_disk_errors("cannot write", partial):
                file = stack.enter_context(partial.open("w", 1, encoding="utf-8", newline=""))
                file.write(head)
            pairs.append((file, line_of))
            partials.append(partial)

        def write(row: Row) -> None:
            with explain_disk_errors("cannot write", out):
                for file, line_of in pairs:
                    file.write(line_of(row))

        yield write
    with explain_disk_errors("cannot write", out):
        for partial in partials:
            sync(partial)
            partial.replace(out / f"{TABLE}{partial.suffix}")
        sync(out)


def write_others(
    out: Path, form: Format, class_names: Sequence[str], rows: Callable[[], Iterable[Row]]
) -> None:
    """Writes the tables that are not of lines, from the rows on disk, in order.

    Raises:
        UserError: the disk is full, or a format has no room for a cell.
    """
    for name in PACKAGES:
        path = out / f"{TABLE}.{name}"
        if name not in form.names:
            if path.exists():
                log(f"{path} is of an earlier command and is left as it is")
        elif name not in STREAMED:
            with explain_disk_errors("cannot write", path), replacing(path) as draft:
                if name == "xlsx":
                    write_xlsx(draft, rows, class_names)
                else:
                    write_parquet(draft, rows(), class_names)
