"""Several folders of images as one data set."""

import os
import posixpath
from collections.abc import Iterator, Sequence

from dkse_jax.data.names import check_alike, nfc, page_of, spelt_alike, split_page
from dkse_jax.data.sources.class_folders import are_paired, split_of_folder
from dkse_jax.data.sources.example import Example
from dkse_jax.data.sources.left_out import LeftOut
from dkse_jax.data.sources.listing import Listing, list_root
from dkse_jax.data.splits import Report
from dkse_jax.errors import refuse
from dkse_jax.files import expanded


def roots_of(root: str) -> list[str]:
    """Returns the folders that data.root names, "~" expanded in each.

    They are separated by commas; a folder whose own name holds commas goes first.
    """
    parts, roots = root.split(","), []
    while parts:
        ends = range(len(parts), 0, -1)
        joined = {end: _stripped(expanded(",".join(parts[:end]))) for end in ends}
        end = next((end for end in ends if os.path.isdir(joined[end])), 1)
        roots.append(joined[end])
        parts = parts[end:]
    return list(filter(None, roots)) or [""]


def _stripped(path: str) -> str:
    return path if os.path.isdir(path) else expanded(path.strip())


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
    if check_folders and not alone:
        _check_together(roots, listings, ", ".join(f'"{one}"' for one in roots), report)
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
        troubles=[
            *(line for listing in listings for line in listing.troubles),
            *spelt_alike("classes", sorted({e.label for e in examples})),
            *spelt_alike("groups", sorted({e.group for one in listings for e in one.examples})),
        ],
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


def _check_together(
    roots: Sequence[str], listings: Sequence[Listing], where: str, report: Report
) -> None:
    """Reports groups of different roots whose names are alike; refuses roots that are splits."""
    names = [dict.fromkeys(e.group for e in one.examples if e.group) for one in listings]
    for i, one in enumerate(names):
        for other in names[:i]:
            alike = [*other, *(group for group in one if group not in other)]
            check_alike("groups", alike, where, report)
    splits = {split_of_folder(os.path.basename(os.path.abspath(root))) for root in roots}
    if not listings[0].given and are_paired(splits):
        refuse(
            f"the roots {where} are splits by their names, which roots do not give: name the "
            "folder above them, where they are its only folders, or rename them"
        )


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
