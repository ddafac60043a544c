"""Terms of a thesaurus, such as AAT or one's own, for the classes."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from dkse_jax.console import log
from dkse_jax.data.names import clean
from dkse_jax.data.sources.tables import read_table
from dkse_jax.errors import nearest, refuse
from dkse_jax.text import plain_text

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[^\s<>\"{}|\\^`\x00-\x20]+")


class Term(NamedTuple):
    """A term: its label, and the URI that identifies it."""

    label: str
    uri: str


def load_terms(path: str, class_names: Sequence[str]) -> dict[str, Term]:
    """Returns class -> term, from a table with the columns class and uri, and label if it has one.

    The classes without a term are named once.

    Raises:
        UserError: the file is no such table, or has a class that there is not, or one twice, or no
            URI where one must be.
    """
    terms: dict[str, Term] = {}
    for number, cells in read_table(path, ("class", "uri"), ("label",), refuse):
        name, uri = clean(cells["class"]), cells["uri"].strip()
        where = f'row {number} of "{path}"'
        if name not in class_names:
            refuse(f'{where} has the class "{name}", which is none{nearest(name, class_names)}')
        if name in terms:
            refuse(f'{where} has the class "{name}" again: leave one row of it')
        if not _URI.fullmatch(uri):
            refuse(
                f'{where} has "{uri}", which is no URI: write one such as '
                "http://vocab.getty.edu/aat/300033618"
            )
        label = plain_text(clean(cells.get("label", ""))) or name
        terms[name] = Term(label, uri)
    if without := [name for name in class_names if name not in terms]:
        log(f'"{path}" has no term for: {", ".join(without)}: only their names are written')
    return terms
