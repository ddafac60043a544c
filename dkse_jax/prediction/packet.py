"""XMP packets, in which every field that we do not know stays as it is.

Fields are found by the URI of their namespace, whatever their prefix, and in whichever
rdf:Description they are. What is written has one element for each property: exiv2 reads nothing of
a file that has two.
"""

import itertools
from collections.abc import Iterable

from lxml import etree

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DC = "http://purl.org/dc/elements/1.1/"
OURS = "urn:x-dkse-jax:xmp:1.0#"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
PREFIXES = {
    RDF: "rdf",
    DC: "dc",
    OURS: "dkse",
    IPTC: "Iptc4xmpExt",
    "http://ns.adobe.com/lightroom/1.0/": "lr",
    "http://www.digikam.org/ns/1.0/": "digiKam",
    "http://ns.microsoft.com/photo/1.0/": "MicrosoftPhoto",
}
_META = "adobe:ns:meta/"
_DESCRIPTION, _ABOUT, _LI = f"{{{RDF}}}Description", f"{{{RDF}}}about", f"{{{RDF}}}li"
_LISTS = tuple(f"{{{RDF}}}{kind}" for kind in ("Bag", "Seq", "Alt"))
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
# exiv2 looks for this beginning, and for the prefix x.
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'.encode()
_END = b'\n<?xpacket end="w"?>\n'

Texts = Iterable[str]


class Packet:
    """The fields of a packet."""

    def __init__(self, data: bytes | None = None):
        """Reads a packet, or begins one.

        Raises:
            ValueError: it is no XMP.
        """
        self._root = etree.Element(f"{{{_META}}}xmpmeta", nsmap={"x": _META})
        if data is None:
            self._rdf = etree.SubElement(self._root, f"{{{RDF}}}RDF", nsmap={"rdf": RDF})
            return
        old = _parsed(data)
        for comment in reversed(list(old.itersiblings(etree.Comment, preceding=True))):
            self._root.append(comment)
        if old.tag in (f"{{{_META}}}xmpmeta", f"{{{_META}}}xapmeta"):
            self._root.attrib.update(old.attrib)
            self._root.text = old.text
            self._root.extend(old)
        else:
            self._root.append(old)
        rdf = next(self._root.iter(f"{{{RDF}}}RDF"), None)
        if rdf is None:
            raise ValueError("it has no rdf:RDF")
        self._rdf = rdf

    def data(self) -> bytes:
        """Returns the packet as the content of a sidecar."""
        return _BEGIN + etree.tostring(self._root, encoding="UTF-8", xml_declaration=False) + _END

    def texts(self, name: str) -> list[str]:
        """Returns the texts of a property, of a list in its order; name is "{URI}name"."""
        return [_text(li) for li in self._items(name)]

    def add(self, name: str, kind: str, texts: Texts, remove: Texts = ()) -> None:
        """Makes a property one list with the texts it had, less some, and the new ones.

        Args:
            name: "{URI}name".
            kind: Bag, Seq or Alt.
            texts: of an Alt in the language x-default.
            remove: texts.
        """
        items = {_text(li): li for li in self._items(name) if _text(li)}
        for text in texts:
            if text not in items:
                items[text] = etree.Element(_LI)
                items[text].text = text
                if kind == "Alt":
                    items[text].set(_LANGUAGE, "x-default")
        for text in remove:
            items.pop(text, None)
        self._put(name, kind, items.values())

    def set(self, name: str, text: str) -> None:
        """Sets a property of ours to a text."""
        self._clear(name)
        self._new(name).text = text

    def remove(self, uri: str) -> None:
        """Removes all properties of a namespace, and the descriptions that are empty then."""
        for description in self._descriptions():
            names = {child.tag for child in description.iterchildren(f"{{{uri}}}*")}
            names |= {name for name in description.attrib if name.startswith(f"{{{uri}}}")}
            for name in names:
                self._clear(name)
            if not len(description) and set(description.attrib) <= {_ABOUT}:
                self._rdf.remove(description)

    def add_term(self, name: str, uri: str, label: str) -> bool:
        """Adds a term to a list of IPTC terms; returns False if it has one of this URI."""
        items = self._items(name)
        if any(uri in _uris(li) for li in items):
            return False
        li = etree.Element(_LI, {f"{{{RDF}}}parseType": "Resource"}, nsmap={"Iptc4xmpExt": IPTC})
        etree.SubElement(li, f"{{{IPTC}}}CvTermId").text = uri
        languages = etree.SubElement(etree.SubElement(li, f"{{{IPTC}}}CvTermName"), _LISTS[2])
        etree.SubElement(languages, _LI, {_LANGUAGE: "x-default"}).text = label
        self._put(name, "Bag", [*items, li])
        return True

    def remove_term(self, name: str, uri: str) -> None:
        """Removes the term of a URI."""
        self._put(name, "Bag", [li for li in self._items(name) if uri not in _uris(li)])

    def _descriptions(self) -> list[etree._Element]:
        return list(self._rdf.iterchildren(_DESCRIPTION))

    def _items(self, name: str) -> list[etree._Element]:
        """Returns the items of a property as rdf:li, also of what is no list."""
        items = []
        for description in self._descriptions():
            if name in description.attrib:
                items.append(etree.Element(_LI))
                items[-1].text = description.get(name)
            for element in description.iterchildren(name):
                lists = [one for one in element if one.tag in _LISTS]
                items += itertools.chain(*lists)
                if not lists and (element.text or "").strip():
                    items.append(etree.Element(_LI))
                    items[-1].text = element.text
        return [li for li in items if li.tag == _LI]

    def _put(self, name: str, kind: str, items: Iterable[etree._Element]) -> None:
        items = list(items)
        place = self._clear(name)
        if not items:
            return
        element = self._new(name, place)
        container = etree.SubElement(element, f"{{{RDF}}}{kind}")
        for li in items:
            li.tail = None
            container.append(li)

    def _clear(self, name: str) -> tuple[etree._Element, int] | None:
        """Removes a property everywhere; returns the description and the index of the first."""
        first = None
        for description in self._descriptions():
            description.attrib.pop(name, None)
            for element in list(description.iterchildren(name)):
                first = first or (description, description.index(element))
                description.remove(element)
        return first

    def _new(self, name: str, place: tuple[etree._Element, int] | None = None) -> etree._Element:
        """Returns a new element of a property at a place, by default in a description."""
        uri = etree.QName(name).namespace
        element = etree.Element(name, nsmap={PREFIXES[uri]: uri})
        if place:
            place[0].insert(place[1], element)
        else:
            self._description(own=uri == OURS).append(element)
        return element

    def _description(self, own: bool) -> etree._Element:
        """Returns the first description, or that of our fields, made if there is none."""
        descriptions = self._descriptions()
        for description in descriptions:
            if not own or description.nsmap.get("dkse") == OURS:
                return description
        about = descriptions[0].get(_ABOUT, "") if descriptions else ""
        nsmap = {"dkse": OURS} if own else None
        return etree.SubElement(self._rdf, _DESCRIPTION, {_ABOUT: about}, nsmap=nsmap)


def _parsed(data: bytes) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_pis=True)
    try:
        root = etree.fromstring(data.strip(b" \t\r\n\0"), parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(str(error)) from error
    if root.getroottree().docinfo.doctype:
        raise ValueError("it has a document type, which no XMP has")
    return root


def _text(li: etree._Element) -> str:
    """Returns the text of an item, also of one with qualifiers."""
    value = next(li.iter(f"{{{RDF}}}value"), li)
    return (value.text or "").strip()


def _uris(li: etree._Element) -> set[str]:
    """Returns the URIs of a term, which is a structure in any of its forms."""
    name, resource = f"{{{IPTC}}}CvTermId", f"{{{RDF}}}resource"
    found = [one.get(name) for one in li.iter()]
    for element in li.iter(name):
        found += [element.get(resource), (element.text or "").strip()]
    return {uri for uri in found if uri}
