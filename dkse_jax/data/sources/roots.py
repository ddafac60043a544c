"""Several folders of images as one data set."""

import os
import posixpath
from collections.abc import Iterator, Sequence

from dkse_jax.data.names import nfc, page_of, split_page
from dkse_jax.data.sources.example import Example
from dkse_jax.data.sources.left_out import LeftOut
from dkse_jax.data.sources.listing import Listing, list_root
from dkse_jax.data.splits import Report
from dkse_jax.errors import refuse
from dkse_jax.files import expanded


def roots_of(root: str) -> list[str]:
    """Returns the folders that data.root names, "~" expanded in each.

    They are separated by commas; a folder whose own name holds a comma goes first.
    """
    if "," not in root or os.path.isdir(expanded(root)):
        return [expanded(root)]
    return [expanded(part.strip()) for part in root.split(",") if part.strip()]


def list_roots(root: str, report: Report, check_folders: bool = False) -> Listing:
    """Lists the examples of all roots, sorted by id, each with a group.

    Of several roots, ids begin with the name of the root's folder; classes of one name are one
    class, and groups that are given by one name are one group.

    Args:
        root: of `roots_of`.
        report: as of `list_root`, like check_folders.

    Raises:
        UserError: as `list_root`; or the roots do not go together.
    """
    roots = roots_of(root)
    prefixes = _prefixes(roots)
    alone = len(roots) == 1
    listings = [list_root(one, report, check_folders, alone) for one in roots]
    left_out = LeftOut()
    for prefix, listing in zip(prefixes, listings, strict=True):
        left_out.join(listing.left_out, prefix)
    given = dict.fromkeys(listing.given for listing in listings)
    if len(given) > 1 and "" in given:
        of_given = {bool(listing.given): one for one, listing in zip(roots, listings, strict=True)}
        refuse(
            f'"{of_given[True]}" gives splits, but "{of_given[False]}" gives none: give them in '
            "both or in neither"
        )
    by_table = given.keys() not in ({""}, {"folders"})
    pairs = not by_table or all(e.split != "val" for one in listings for e in one.examples)
    examples = [
        example
        for prefix, listing in zip(prefixes, listings, strict=True)
        for example in _with_groups(listing.examples, prefix, pairs)
    ]
    return Listing(
        examples=sorted(examples, key=lambda example: example.id),
        given=" and ".join(given),
        left_out=left_out,
        notes=[line for listing in listings for line in listing.notes],
        troubles=[line for listing in listings for line in listing.troubles],
    )


def _prefixes(roots: Sequence[str]) -> list[str]:
    """Returns what the ids of each root begin with; raises UserError for roots that overlap."""
    if len(roots) == 1:
        return [""]
    real = [os.path.realpath(root) for root in roots]
    names = [os.path.basename(os.path.abspath(root)) for root in roots]
    for i, root in enumerate(roots):
        for j, other in enumerate(roots[:i]):
            if os.path.commonpath((real[i], real[j])) in (real[i], real[j]):
                refuse(f'the roots "{other}" and "{root}" share files: name one of them')
            if nfc(names[i]).lower() == nfc(names[j]).lower():
                refuse(
                    f'the roots "{other}" and "{root}" have one folder name, with which ids '
                    "begin: rename one, or name a link to it that has another name"
                )
    return [f"{nfc(name)}/" for name in names]


def _with_groups(examples: Sequence[Example], prefix: str, pairs: bool) -> Iterator[Example]:
    """Yields the examples with groups, and with ids that begin with a prefix.

    Where no group is given, it is the file. Files of one folder and split with equal names but for
    the suffix are mostly one picture in several formats: with `pairs`, they are in the group of the
    first.
    """
    first: dict[tuple[str, str], str] = {}
    for e in examples:
        group = e.group
        if not group:
            file = e.id if page_of(e.id, e.path) == 1 else split_page(e.id)[0]
            stem = posixpath.splitext(file)[0] if pairs else file
            group = prefix + first.setdefault((e.split, stem), file)
        yield Example(prefix + e.id, e.path, e.label, group, e.split)
