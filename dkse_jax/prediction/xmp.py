"""Answers as keywords in XMP sidecars, 001.jpg.xmp for 001.jpg; the pictures are never written.

A sidecar gets the class as a keyword and, where the class has one, the term of a thesaurus. Beside
them it gets these fields of the namespace `packet.OURS`, with the prefix dkse:

    software, model, date   who wrote, the SHA-256 of the weights, when
    class, probability      the answer; the probability with 6 decimals
    keyword, subject, term  what of the lists of keywords and terms is ours
"""

import errno
import itertools
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from dkse_jax.console import log
from dkse_jax.data.formats.suffixes import PICTURE_SUFFIXES
from dkse_jax.data.sources.left_out import suffix_of
from dkse_jax.errors import UserError, refuse
from dkse_jax.files import explain_disk_errors, reason_of
from dkse_jax.prediction import undo
from dkse_jax.prediction.embedded import Embedded, read_embedded
from dkse_jax.prediction.item import Item
from dkse_jax.prediction.packet import DC, IPTC, OURS, Packet
from dkse_jax.prediction.publish import Options, in_decimals, is_written, numbers, probability
from dkse_jax.prediction.row import Row
from dkse_jax.text import plain_text

FOLDER = "sidecars"
SUBJECT = f"{{{DC}}}subject"
TAGS = "{http://www.digikam.org/ns/1.0/}TagsList"
LIGHTROOM = "{http://ns.adobe.com/lightroom/1.0/}hierarchicalSubject"
MICROSOFT = "{http://ns.microsoft.com/photo/1.0/}LastKeywordXMP"
TERM = f"{{{IPTC}}}AboutCvTerm"
_PARTS = "{http://ns.adobe.com/xmp/note/}"  # of a packet in several parts
_KINDS = {"title": "Alt", "description": "Alt", "rights": "Alt", "creator": "Seq"}
_WRITTEN, _KEPT, _BELOW = "written", "there already", "not known or not probable enough"
_WITHDRAWN, _PAGES = "withdrawn", "further pages of a file, which has one sidecar"
# Another error, as of a full disk, ends the call.
_OF_ONE_FILE = (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EACCES)
_MEMBERS, _LEFT = "members of archives, which have no place beside them", "left as they are"


def write_sidecars(rows: Iterable[Row], items: Iterable[Item], options: Options) -> None:
    """Writes a sidecar for each answer that is known and probable enough.

    They are below OUT/sidecars, by the paths of the pictures, or beside these. A new one starts as
    a copy of the picture's own metadata, since programs read nothing else once it is there; one
    that is there keeps every field. 001.xmp, if there is one, gets the same. What an earlier call
    wrote for an answer that is none any more is withdrawn. OUT/undo.jsonl keeps what was there.

    Args:
        rows: the answers.
        items: the pictures of the rows, in the same order.
        options: see `Options`.
    """
    counts = Counter(dict.fromkeys((_WRITTEN, _KEPT, _WITHDRAWN, _BELOW, _PAGES, _MEMBERS), 0))
    with explain_disk_errors("cannot write sidecars from", options.out):
        undo_file = undo.UndoFile(options.out)
        for row, item in zip(rows, items, strict=True):
            try:
                counts[_sidecars_of(row, item, options, undo_file)] += 1
            except (UserError, OSError, ValueError) as error:
                if isinstance(error, OSError) and error.errno not in _OF_ONE_FILE:
                    raise
                if not counts[_LEFT]:
                    log(f"{_sentence(error, row.file)}; it is left as it is")
                counts[_LEFT] += 1
    log(f"sidecars: {numbers(counts)}")


def _sentence(error: Exception, file: str) -> str:
    if isinstance(error, UserError):
        return str(error)
    reason = error.strerror if isinstance(error, OSError) else reason_of(error)
    return plain_text(f'the sidecar of "{file}" cannot be written: {reason}')


def _sidecars_of(row: Row, item: Item, options: Options, undo_file: undo.UndoFile) -> str:
    """Brings the sidecars of a picture up to date; returns what was done."""
    if item.page > 1:
        return _PAGES
    if options.beside and item.path is None:
        return _MEMBERS
    places = _places(item, options)
    for sidecar, *_ in places:
        if sidecar.is_symlink():
            refuse(f'"{sidecar}" is a link: put the file itself there')
    if not is_written(row, options):
        done = [_withdraw(place[0], undo_file) for place in places]
        return _WITHDRAWN if any(done) else _BELOW
    if len(places) == 2:
        _check_single(places[1][-1], item)
    starts = [_start(place, item, undo_file) for place in places]  # before any is written
    done = [
        _write(place[0], start, row, options, undo_file)
        for place, start in zip(places, starts, strict=True)
    ]
    return _WRITTEN if any(done) else _KEPT


def _places(item: Item, options: Options) -> list[list[Path]]:
    """Returns for each sidecar of a picture its path, then those it may start from, first first.

    A second one is that of the name without the picture's suffix, if there is one.
    """
    beside = [] if item.path is None else [Path(f"{item.path}.xmp")]
    short = [] if item.path is None else _short(Path(item.path))
    if options.beside:
        return [[*beside, *short], *([path] for path in short)]
    if any(part in ("", ".", "..") for part in item.file.split("/")):
        refuse(f'"{item.file}" is not below its root')
    below = options.out / FOLDER / f"{item.file}.xmp"
    own = [[below.with_name(path.name), path] for path in short]
    return [[below, *beside, *itertools.chain(*own)], *own]


def _short(picture: Path) -> list[Path]:
    paths = [picture.with_suffix(suffix) for suffix in (".xmp", ".XMP")]
    return [path for path in paths if path.is_file()][:1]


def _check_single(short: Path, item: Item) -> None:
    """Raises UserError if a sidecar without a picture's suffix may be of several pictures."""
    names = [
        name
        for name in sorted(os.listdir(short.parent))
        if os.path.splitext(name)[0] == short.stem and suffix_of(name) in PICTURE_SUFFIXES
    ]
    if len(names) > 1:
        refuse(
            f'"{short}" may be of "{names[0]}" or "{names[1]}": rename it to "{names[0]}.xmp", '
            "or to the other's"
        )


def _original(path: Path, undo_file: undo.UndoFile) -> bytes | None:
    """Returns what a sidecar was before we wrote it, or is if it was changed since."""
    found = undo_file.record(path)
    return undo.content(path) if found is None else found.before


def _start(place: list[Path], item: Item, undo_file: undo.UndoFile) -> Embedded:
    """Returns what a sidecar starts from: the first that is there, or the picture's own."""
    for path in place:
        data = _original(path, undo_file)
        if data:
            return Embedded(str(path), data, [], {})
    return read_embedded(item)


def _write(
    sidecar: Path, start: Embedded, row: Row, options: Options, undo_file: undo.UndoFile
) -> bool:
    """Writes a sidecar; returns False if it is there with the same answer, at whatever date."""
    current, before = undo.content(sidecar), _original(sidecar, undo_file)
    earlier = [] if not current else _packet(str(sidecar), current).texts(f"{{{OURS}}}date")
    for date in (*earlier[:1], options.date):
        data = _merged(start, row, options, date)
        if data == current:
            return False
    undo_file.write(sidecar, data, before)
    return True


def _withdraw(sidecar: Path, undo_file: undo.UndoFile) -> bool:
    """Takes back what an earlier call wrote; returns False if there is nothing of ours."""
    current = undo.content(sidecar)
    if current is None or OURS.encode() not in current:
        return False
    found = undo_file.record(sidecar)
    if found is not None:
        undo_file.write(sidecar, found.before, found.before)
        return True
    packet = _packet(str(sidecar), current)
    if not packet.texts(f"{{{OURS}}}class"):
        return False
    _remove_ours(packet)
    undo_file.write(sidecar, packet.data(), current)
    return True


def _packet(name: str, data: bytes | None) -> Packet:
    try:
        return Packet(data)
    except ValueError as error:
        raise UserError(f'the XMP of "{name}" cannot be read: {reason_of(error)}') from error


def _merged(start: Embedded, row: Row, options: Options, date: str) -> bytes:
    """Returns the content of a sidecar: what it starts from, with an answer."""
    packet = _packet(start.name, start.xmp)
    _remove_ours(packet)
    packet.remove(_PARTS)
    if start.keywords:
        packet.add(SUBJECT, "Bag", start.keywords)
    for name, texts in start.fields.items():
        if not packet.texts(f"{{{DC}}}{name}"):
            kind = _KINDS[name]
            packet.add(f"{{{DC}}}{name}", kind, texts if kind == "Seq" else ["; ".join(texts)])
    label = options.label(row.class_name)
    fields = {
        "software": options.software,
        "model": options.model,
        "date": date,
        "class": row.class_name,
        "probability": in_decimals(probability(row)),
        **_add_keyword(packet, [*options.root.split("/"), label]),
    }
    term = options.terms.get(row.class_name)
    if term is not None and packet.add_term(TERM, term.uri, term.label):
        fields["term"] = term.uri
    for name, text in fields.items():
        packet.set(f"{{{OURS}}}{name}", text)
    return packet.data()


def _add_keyword(packet: Packet, levels: list[str]) -> dict[str, str]:
    """Adds a keyword to every list of them; returns the fields that name what was added.

    Each program reads one list only, and not the same. One that was not there gets what the
    program has shown from another.
    """
    flat, deep = packet.texts(SUBJECT), packet.texts(LIGHTROOM)
    tags, last = packet.texts(TAGS), packet.texts(MICROSOFT)
    slashed, barred = "/".join(levels), "|".join(levels)
    added = {}
    if slashed not in tags or barred not in deep:
        added["keyword"] = barred
    if levels[-1] not in flat:
        added["subject"] = levels[-1]
    as_tags = [text.replace("/", "\\").replace("|", "/") for text in deep]
    if not deep:
        deep = [text.replace("/", "|") for text in tags or last]
    shown = {level for text in deep for level in (text, *text.split("|"))}
    packet.add(TAGS, "Seq", [*([] if tags else last or as_tags or flat), slashed])
    packet.add(LIGHTROOM, "Bag", [*deep, *(text for text in flat if text not in shown), barred])
    packet.add(SUBJECT, "Bag", [levels[-1]])
    if last:
        packet.add(MICROSOFT, "Bag", [slashed])
    return added


def _remove_ours(packet: Packet) -> None:
    """Removes what an earlier call added, by its fields."""
    for keyword in packet.texts(f"{{{OURS}}}keyword"):
        packet.add(LIGHTROOM, "Bag", [], [keyword])
        for name, kind in ((TAGS, "Seq"), (MICROSOFT, "Bag")):
            packet.add(name, kind, [], [keyword.replace("|", "/")])
    for subject in packet.texts(f"{{{OURS}}}subject"):
        packet.add(SUBJECT, "Bag", [], [subject])
    for term in packet.texts(f"{{{OURS}}}term"):
        packet.remove_term(TERM, term)
    packet.remove(OURS)
