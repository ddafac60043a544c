"""Rows, items and pictures with metadata, for the tests of what is written for other programs."""

from pathlib import Path

from PIL import Image

from dkse_jax.prediction.item import Item
from dkse_jax.prediction.publish import Options
from dkse_jax.prediction.row import Row

CLASSES = ("ink", "oil", "print")
HEAD = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 6.0">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:digiKam="http://www.digikam.org/ns/1.0/"'
    ' xmlns:lr="http://ns.adobe.com/lightroom/1.0/"'
    ' xmlns:MicrosoftPhoto="http://ns.microsoft.com/photo/1.0/" xmlns:my="http://museum.org/my/"'
)
TAIL = '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
FIELDS = (
    "<dc:title><rdf:Alt><rdf:li xml:lang='x-default'>Der Tod</rdf:li>"
    "<rdf:li xml:lang='en'>Death</rdf:li></rdf:Alt></dc:title>"
    "<dc:creator><rdf:Seq><rdf:li>Hans Holbein</rdf:li></rdf:Seq></dc:creator>"
    "<dc:rights><rdf:Alt><rdf:li xml:lang='x-default'>public domain</rdf:li></rdf:Alt></dc:rights>"
)


def packet(body: str = FIELDS, attributes: str = ' xmp:Rating="4"') -> bytes:
    return f"{HEAD}{attributes}>{body}{TAIL}".encode()


def listed(name: str, kind: str, *texts: str) -> str:
    items = "".join(f"<rdf:li>{text}</rdf:li>" for text in texts)
    return f"<{name}><rdf:{kind}>{items}</rdf:{kind}></{name}>"


def jpeg(path: Path, xmp: bytes | None = None, iptc: dict[int, list[str]] | None = None) -> None:
    """Writes a picture, with an XMP packet and datasets of IPTC record 2."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 16), (90, 60, 30)).save(path, "JPEG", **({"xmp": xmp} if xmp else {}))
    if iptc:
        data = b"\x1c\x01\x5a\x00\x03\x1b%G"
        for tag, texts in iptc.items():
            for text in map(str.encode, texts):
                data += bytes((0x1C, 2, tag)) + len(text).to_bytes(2) + text
        block = b"8BIM\x04\x04\0\0" + len(data).to_bytes(4) + data + b"\0" * (len(data) % 2)
        block = b"Photoshop 3.0\0" + block
        content = path.read_bytes()
        segment = b"\xff\xed" + (len(block) + 2).to_bytes(2) + block
        path.write_bytes(content[:2] + segment + content[2:])


def item(root: Path, file: str, page: int = 1) -> Item:
    path = root / file.partition("#")[0]
    status = path.stat()
    return Item(file, str(path), path.read_bytes, f"{status.st_size} {status.st_mtime_ns}", page)


def row(file: str, name: str = "ink", p: float = 0.931234, known: str = "yes") -> Row:
    rest = round((1 - p) / 2, 6)
    return Row(file, "ok", name, (p, rest, rest), known, (), "", "")


def failed(file: str) -> Row:
    return Row(file, "failed", "", (), "", (), "it is no picture", "")


def options(out: Path, **fields) -> Options:
    fields = {"date": "2026-11-28T12:00:00+00:00", "model": "ab" * 32, **fields}
    return Options(out, CLASSES, software="dkse_jax 0.1.0", **fields)
