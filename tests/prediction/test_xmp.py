"""Sidecars: what was there stays, ours is added once, and can be taken back to the byte."""

import hashlib
import random
import re
from pathlib import Path

import pytest
from lxml import etree

from dkse_jax.errors import UserError
from dkse_jax.prediction.item import Item
from dkse_jax.prediction.packet import OURS, PREFIXES
from dkse_jax.prediction.publish import check
from dkse_jax.prediction.terms import Term
from dkse_jax.prediction.undo import undo
from dkse_jax.prediction.xmp import write_sidecars
from tests.prediction.examples import (
    FIELDS,
    HEAD,
    TAIL,
    failed,
    item,
    jpeg,
    listed,
    options,
    packet,
    row,
)

NAMES = {prefix: uri for uri, prefix in PREFIXES.items()}
NAMES |= {"xmp": "http://ns.adobe.com/xap/1.0/", "my": "http://museum.org/my/"}
LR, TAGS = "lr:hierarchicalSubject", "digiKam:TagsList"
LAST = "MicrosoftPhoto:LastKeywordXMP"


def field(data: bytes, name: str, kind: str | None = None) -> list[str]:
    """The texts of the one property of a name; kind is Bag, Seq or Alt."""
    root = etree.fromstring(data)
    found = root.xpath(f"//rdf:Description/{name}", namespaces=NAMES)
    assert len(found) <= 1
    if kind is None:
        return [one.text for one in found] + root.xpath(f"//@{name}", namespaces=NAMES)
    return root.xpath(f"//{name}/rdf:{kind}/rdf:li/text()", namespaces=NAMES)


def hashes(root: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def write(root: Path, rows, out: Path, **fields) -> None:
    write_sidecars(rows, [item(root, one.file) for one in rows], options(out, **fields))


def check_form(data: bytes) -> None:
    assert data.startswith(
        b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta'
    )
    root = etree.fromstring(data)
    for description in root.iter(f"{{{NAMES['rdf']}}}Description"):
        for child in description.iterchildren("*"):
            if child.tag.startswith(f"{{{OURS}}}"):
                assert child.prefix == "dkse"
                assert len(etree.QName(child).localname) > 1


@pytest.mark.parametrize("beside", [False, True])
def test_a_new_sidecar_begins_as_a_copy_of_the_pictures_own_metadata(tmp_path, beside):
    root, out = tmp_path / "in", tmp_path / "out"
    iptc = {25: ["Totentanz", "Öl"], 80: ["ignored"], 120: ["A dance"]}
    jpeg(root / "a/001.jpg", packet(FIELDS + listed("dc:subject", "Bag", "death")), iptc)
    before = hashes(root)
    write(root, [row("a/001.jpg")], out, beside=beside)
    sidecar = (root if beside else out / "sidecars") / "a/001.jpg.xmp"
    data = sidecar.read_bytes()
    check_form(data)
    assert field(data, "dc:title", "Alt") == ["Der Tod", "Death"]
    assert field(data, "dc:creator", "Seq") == ["Hans Holbein"]
    assert field(data, "dc:description", "Alt") == ["A dance"]
    assert field(data, "xmp:Rating") == ["4"]
    assert field(data, "dc:subject", "Bag") == ["death", "Totentanz", "Öl", "ink"]
    assert field(data, LR, "Bag") == ["death", "Totentanz", "Öl", "AI|ink"]
    assert field(data, TAGS, "Seq") == ["death", "Totentanz", "Öl", "AI/ink"]
    assert field(data, LAST, "Bag") == []
    assert field(data, "dkse:probability") == ["0.931234"]
    assert field(data, "dkse:model") == ["ab" * 32]
    assert field(data, "dkse:software") == ["dkse_jax 0.1.0"]
    assert field(data, "dkse:date") == ["2026-11-28T12:00:00+00:00"]
    assert b"DigitalSourceType" not in data
    assert {name: digest for name, digest in hashes(root).items() if name in before} == before
    undo(out)
    assert hashes(root) == before
    assert not list(out.rglob("*.xmp"))


DIGIKAM = (
    listed(TAGS, "Seq", "Genre/Dance", "Old")
    + listed(LR, "Bag", "Genre|Dance")
    + listed(LAST, "Bag", "Genre/Dance")
    + listed("dc:subject", "Bag", "Dance", "loose")
    + "<my:shelf rdf:parseType='Resource'><my:row>3</my:row></my:shelf><!-- kept -->"
)


def test_a_merge_keeps_what_is_there_and_twice_is_once(tmp_path, capsys):
    root, out = tmp_path / "in", tmp_path / "out"
    jpeg(root / "1.jpg", packet())
    old = packet(FIELDS + DIGIKAM, ' my:unheard="x" xmp:Rating="2"')
    (root / "1.jpg.xmp").write_bytes(old)
    write(root, [row("1.jpg")], out, beside=True)
    data = (root / "1.jpg.xmp").read_bytes()
    check_form(data)
    assert field(data, TAGS, "Seq") == ["Genre/Dance", "Old", "AI/ink"]
    assert field(data, LR, "Bag") == ["Genre|Dance", "loose", "AI|ink"]
    assert field(data, LAST, "Bag") == ["Genre/Dance", "AI/ink"]
    assert field(data, "dc:subject", "Bag") == ["Dance", "loose", "ink"]
    assert field(data, "my:unheard") == ["x"]
    assert field(data, "my:shelf/my:row") == ["3"]
    assert field(data, "xmp:Rating") == ["2"]
    assert b"<!-- kept -->" in data
    write(root, [row("1.jpg")], out, beside=True, date="2030-01-01T00:00:00+00:00")
    assert (root / "1.jpg.xmp").read_bytes() == data
    assert "sidecars: 1 there already" in capsys.readouterr().out
    write(root, [row("1.jpg", "oil")], out, beside=True)
    data = (root / "1.jpg.xmp").read_bytes()
    assert field(data, TAGS, "Seq") == ["Genre/Dance", "Old", "AI/oil"]
    assert field(data, "dc:subject", "Bag") == ["Dance", "loose", "oil"]
    undo(out)
    assert (root / "1.jpg.xmp").read_bytes() == old
    assert not (out / "undo.jsonl").exists()
    with pytest.raises(UserError, match="no sidecar was written from there"):
        undo(out)


def test_our_own_is_taken_back_from_a_sidecar_that_was_changed_since(tmp_path, capsys):
    root, out = tmp_path / "in", tmp_path / "out"
    for name in ("1.jpg", "2.jpg"):
        jpeg(root / name)
        (root / f"{name}.xmp").write_bytes(packet(listed("dc:subject", "Bag", "ink")))
    rows = [row("1.jpg"), row("2.jpg", "oil")]
    term = Term("oil painting", "http://vocab.getty.edu/aat/300033799")
    write(root, rows, out, beside=True, terms={"oil": term})
    for name in ("1.jpg", "2.jpg"):  # a user adds a rating with a program that moves the prefix
        text = (root / f"{name}.xmp").read_text().replace("dkse:", "ours:")
        text = text.replace("xmlns:dkse", "xmlns:ours").replace('Rating="4"', 'Rating="5"')
        (root / f"{name}.xmp").write_text(text)
    changed = (root / "2.jpg.xmp").read_bytes()
    write(root, [row("1.jpg", "print"), row("2.jpg", known="no")], out, beside=True)
    assert "1 withdrawn" in capsys.readouterr().out
    first, second = ((root / f"{name}.xmp").read_bytes() for name in ("1.jpg", "2.jpg"))
    check_form(first)
    assert field(first, "dc:subject", "Bag") == ["ink", "print"]
    assert field(first, LR, "Bag") == ["ink", "AI|print"]
    assert field(first, "xmp:Rating") == ["5"]
    assert field(first, "dkse:class") == ["print"]
    assert field(second, "dc:subject", "Bag") == ["ink"]
    assert field(second, TAGS, "Seq") == ["ink"]
    assert OURS.encode() not in second
    assert b"AboutCvTerm" not in second
    (root / "1.jpg.xmp").write_bytes(first + b"<!-- mine -->")
    undo(out)
    assert (root / "2.jpg.xmp").read_bytes() == changed
    assert (root / "1.jpg.xmp").read_bytes() == first + b"<!-- mine -->"
    assert "1 were changed since" in capsys.readouterr().out
    assert (out / "undo.jsonl").exists()


def test_only_what_is_known_and_probable_is_written(tmp_path, capsys):
    root, out = tmp_path / "in", tmp_path / "out"
    rows = [row("1.jpg", known="no"), row("2.jpg", known=""), row("3.jpg", p=0.899999)]
    rows += [failed("4.jpg"), row("5.jpg", p=0.9)]
    for one in rows:
        jpeg(root / one.file)
    write(root, rows, out)
    assert [path.name for path in out.rglob("*.xmp")] == ["5.jpg.xmp"]
    assert "1 written, 4 not known or not probable enough" in capsys.readouterr().out
    write(root, [*rows[:4], row("5.jpg", known="no")], out)
    assert not list(out.rglob("*.xmp"))


def test_a_short_name_is_merged_into_too_or_refused(tmp_path, capsys):
    root, out = tmp_path / "in", tmp_path / "out"
    for name in ("1.jpg", "2.jpg", "2.tif"):
        jpeg(root / name)
    old = packet(listed("dc:subject", "Bag", "Lightroom"))
    for name in ("1.xmp", "2.xmp"):
        (root / name).write_bytes(old)
    rows = [row("1.jpg"), row("2.jpg"), row("2.tif")]
    for _ in range(2):
        write(root, rows, out, beside=True)
        both = [(root / name).read_bytes() for name in ("1.xmp", "1.jpg.xmp")]
        assert both[0] == both[1]
        assert field(both[0], LR, "Bag") == ["Lightroom", "AI|ink"]
        assert (root / "2.xmp").read_bytes() == old
        assert not (root / "2.jpg.xmp").exists()
        shown = capsys.readouterr().out
        assert '2.xmp" may be of "2.jpg" or "2.tif": rename it' in shown
        assert "2 left as they are" in shown
    undo(out)
    assert (root / "1.xmp").read_bytes() == old
    assert not (root / "1.jpg.xmp").exists()
    write(root, rows[:1], out)
    assert field((out / "sidecars/1.xmp").read_bytes(), LR, "Bag") == ["Lightroom", "AI|ink"]
    assert field((out / "sidecars/1.jpg.xmp").read_bytes(), LR, "Bag") == ["Lightroom", "AI|ink"]
    assert (root / "1.xmp").read_bytes() == old


TWICE = f"{HEAD}>{listed('dc:subject', 'Bag', 'a')}</rdf:Description><rdf:Description rdf:about=''"
TWICE += f" xmlns:dc='http://purl.org/dc/elements/1.1/'>{listed('dc:subject', 'Seq', 'b')}{TAIL}"


ONE = packet(listed("dc:subject", "Bag", "a"))
OTHER = ONE.replace(b"dc:subject>", b"d:subject>").replace(
    b"<d:subject>", b'<d:subject xmlns:d="http://purl.org/dc/elements/1.1/">'
)
PREFIXED = ONE.replace(b"xmlns:rdf", f'xmlns:other="{OURS}" xmlns:rdf'.encode()).replace(
    b"<dc:subject>", b"<other:subject>a</other:subject><dc:subject>"
)


@pytest.mark.parametrize(
    ("old", "subjects"),
    [
        (b"\n\n<!-- first -->" + packet(listed("dc:subject", "Seq", "a", "b")), ["a", "b"]),
        (packet("<dc:subject>a</dc:subject>"), ["a"]),
        (packet("", ' dc:subject="a"'), ["a"]),
        (TWICE.encode(), ["a", "b"]),
        (ONE.replace(b"x:xmp", b"ns0:xmp").replace(b"xmlns:x=", b"xmlns:ns0="), ["a"]),
        (re.sub(rb"</?x:xmpmeta.*?>|<\?.*?\?>", b"", ONE), ["a"]),
        (b'\xef\xbb\xbf<?xml version="1.0"?>' + ONE, ["a"]),
        (OTHER, ["a"]),
        (PREFIXED, []),
    ],
)
def test_every_form_of_a_packet_is_read_and_written_in_one(tmp_path, old, subjects):
    jpeg(tmp_path / "1.jpg")
    (tmp_path / "1.jpg.xmp").write_bytes(old)
    write(tmp_path, [row("1.jpg")], tmp_path / "out", beside=True)
    data = (tmp_path / "1.jpg.xmp").read_bytes()
    check_form(data)
    assert field(data, "dc:subject", "Bag") == [*subjects, "ink"]
    assert etree.fromstring(data).xpath("count(//@dc:subject)", namespaces=NAMES) == 0
    undo(tmp_path / "out")
    assert (tmp_path / "1.jpg.xmp").read_bytes() == old


@pytest.mark.parametrize(
    "old",
    [
        b" ",
        b"plain",
        b"<a/>",
        b"<!DOCTYPE x><x/>",
        packet()[:-60],
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>',
    ],
)
def test_what_is_no_xmp_is_left_and_named(tmp_path, capsys, old):
    for name in ("1.jpg", "2.jpg"):
        jpeg(tmp_path / name)
    (tmp_path / "1.jpg.xmp").write_bytes(old)
    write(tmp_path, [row("1.jpg"), row("2.jpg")], tmp_path / "out", beside=True)
    assert (tmp_path / "1.jpg.xmp").read_bytes() == old
    assert (tmp_path / "2.jpg.xmp").exists()
    shown = capsys.readouterr().out
    assert re.search(r'the XMP of ".*1.jpg.xmp" cannot be read: .+; it is left as it is', shown)
    assert "1 written, 1 left as they are" in shown


def test_a_term_is_added_once_beside_others(tmp_path):
    jpeg(tmp_path / "1.jpg")
    terms = {"ink": Term("ink drawing", "http://vocab.getty.edu/aat/300033973")}
    mine = (
        "<iptc:AboutCvTerm xmlns:iptc='http://iptc.org/std/Iptc4xmpExt/2008-02-29/'><rdf:Bag>"
        "<rdf:li rdf:parseType='Resource'><iptc:CvTermId>http://my.org/1</iptc:CvTermId></rdf:li>"
        "</rdf:Bag></iptc:AboutCvTerm>"
    )
    (tmp_path / "1.jpg.xmp").write_bytes(packet(mine))
    for _ in range(2):
        write(tmp_path, [row("1.jpg")], tmp_path / "out", beside=True, terms=terms)
        data = (tmp_path / "1.jpg.xmp").read_bytes()
        root = etree.fromstring(data)
        ids = root.xpath("//Iptc4xmpExt:CvTermId/text()", namespaces=NAMES)
        assert ids == ["http://my.org/1", "http://vocab.getty.edu/aat/300033973"]
    names = root.xpath("//Iptc4xmpExt:CvTermName/rdf:Alt/rdf:li[@xml:lang='x-default']/text()",
                       namespaces=NAMES)  # fmt: skip
    assert names == ["ink drawing"]
    assert field(data, TAGS, "Seq") == ["AI/ink drawing"]
    assert field(data, "dkse:class") == ["ink"]


def test_a_term_that_was_there_is_not_ours(tmp_path):
    jpeg(tmp_path / "1.jpg")
    terms = {"ink": Term("ink drawing", "http://my.org/1")}
    mine = (
        "<iptc:AboutCvTerm xmlns:iptc='http://iptc.org/std/Iptc4xmpExt/2008-02-29/'><rdf:Bag>"
        "<rdf:li><rdf:Description iptc:CvTermId='http://my.org/1'/></rdf:li>"
        "</rdf:Bag></iptc:AboutCvTerm>"
    )
    sidecar = tmp_path / "1.jpg.xmp"
    sidecar.write_bytes(packet(mine))
    write(tmp_path, [row("1.jpg")], tmp_path / "out", beside=True, terms=terms)
    sidecar.write_text(sidecar.read_text().replace('Rating="4"', 'Rating="5"'))
    assert field(sidecar.read_bytes(), "dkse:term") == []
    write(tmp_path, [row("1.jpg", known="no")], tmp_path / "out", beside=True, terms=terms)
    assert sidecar.read_bytes().count(b"http://my.org/1") == 1
    assert b"dkse:class" not in sidecar.read_bytes()


def test_pages_members_and_pictures_of_other_formats(tmp_path, capsys):
    root, out = tmp_path / "in", tmp_path / "out"
    jpeg(root / "s.tif")
    (root / "x.psd").write_bytes(b"8BPS..." + packet() + b"...")
    zipped = Item("x.zip/1.jpg", None, (root / "s.tif").read_bytes, "1")
    rows = [row("s.tif"), row("s.tif#2"), row("x.psd"), row("x.zip/1.jpg")]
    items = [item(root, "s.tif"), item(root, "s.tif#2", page=2), item(root, "x.psd"), zipped]
    write_sidecars(rows, items, options(out, root="Machine/art"))
    assert "3 written, 1 further pages" in capsys.readouterr().out
    data = (out / "sidecars/x.psd.xmp").read_bytes()
    assert field(data, "dc:creator", "Seq") == ["Hans Holbein"]
    assert field(data, TAGS, "Seq") == ["Machine/art/ink"]
    assert field((out / "sidecars/x.zip/1.jpg.xmp").read_bytes(), LR, "Bag") == ["Machine|art|ink"]
    write_sidecars(rows, items, options(out, beside=True))
    assert "1 members of archives" in capsys.readouterr().out


def test_an_empty_sidecar_is_none(tmp_path):
    jpeg(tmp_path / "1.jpg", packet())
    (tmp_path / "1.jpg.xmp").write_bytes(b"")
    write(tmp_path, [row("1.jpg")], tmp_path / "out", beside=True)
    assert field((tmp_path / "1.jpg.xmp").read_bytes(), "dc:creator", "Seq") == ["Hans Holbein"]
    undo(tmp_path / "out")
    assert (tmp_path / "1.jpg.xmp").read_bytes() == b""


def test_a_random_sidecar_keeps_every_field(tmp_path):
    random.seed(4)
    for trial in range(5):
        root = tmp_path / str(trial)
        jpeg(root / "1.jpg")
        fields = {f"my:field{n}": random.choice(("Bag", "Seq", "Alt")) for n in range(40)}
        body = "".join(listed(name, kind, "a &amp; b", "é") for name, kind in fields.items())
        ours = [listed(TAGS, "Seq", "x/y"), listed(LR, "Bag", "x|y"), listed(LAST, "Bag", "x/y")]
        ours += [listed("dc:subject", "Bag", "y"), "<dc:subject/>"]
        body += "".join(random.sample(ours[:4], random.randrange(5)))
        old = packet(body)
        (root / "1.jpg.xmp").write_bytes(old)
        write(root, [row("1.jpg")], root / "out", beside=True)
        data = (root / "1.jpg.xmp").read_bytes()
        check_form(data)
        for name, kind in fields.items():
            assert field(data, name, kind) == ["a & b", "é"]
        assert field(data, TAGS, "Seq")[-1] == "AI/ink"
        assert field(data, LR, "Bag")[-1] == "AI|ink"
        undo(root / "out")
        assert (root / "1.jpg.xmp").read_bytes() == old


def test_mistakes_are_refused(tmp_path):
    sentence = 'the class "oil/paint" has a / or |, which divides the levels of a keyword'
    with pytest.raises(UserError, match=re.escape(sentence)):
        check("xmp", options(tmp_path, terms={"oil": Term("oil/paint", "http://x.org/1")}))
    check("xmp", options(tmp_path))
