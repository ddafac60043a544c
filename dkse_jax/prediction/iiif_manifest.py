"""Pictures on disk that an IIIF manifest (Presentation 3) shows; nothing is fetched."""

import json
import os
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any, NamedTuple

from dkse_jax.errors import refuse

_CONTEXT = "http://iiif.io/api/presentation/"
_MAX_BYTES = 2**28
# An identifier, then region, size, rotation, quality.format.
_IMAGE_REQUEST = re.compile(r"(.+)(?:/[^/]+){3}/(?:default|native|color|gray|bitonal)\.\w+")


class Painted(NamedTuple):
    """A picture of a canvas: the canvas' id as it is written, and the picture's place.

    Attributes:
        canvas: the id, letter by letter.
        path: of the file, relative to the manifest's folder or absolute; "" of a picture elsewhere.
        tails: paths of whose ends one may be the file's, of a picture elsewhere.
    """

    canvas: str
    path: str
    tails: tuple[str, ...]


def read_manifest(path: str) -> Iterator[Painted]:
    """Yields the pictures that a manifest's canvases are painted with, in order.

    Of a choice, the first is taken.

    Args:
        path: of the JSON file.

    Raises:
        UserError: it is no manifest of Presentation 3.
    """
    try:
        if os.path.getsize(path) > _MAX_BYTES:
            refuse(f'"{path}" has more than {_MAX_BYTES:,} bytes: no manifest has')
        with open(path, encoding="utf-8-sig") as file:
            manifest = json.load(file)
    except OSError as error:
        refuse(f'"{path}" cannot be read: {error.strerror}')
    except (ValueError, RecursionError) as error:
        refuse(f'"{path}" is not JSON, thus no IIIF manifest: {error}')
    if not isinstance(manifest, dict):
        refuse(f'"{path}" is no IIIF manifest: it is no JSON object')
    _check(path, manifest)
    for canvas in _list(manifest.get("items")):
        if canvas.get("type") != "Canvas":
            continue
        if not isinstance(canvas.get("id"), str):
            refuse(f'"{path}" has a canvas without an id')
        for page in _list(canvas.get("items")):
            for annotation in _list(page.get("items")):
                yield from _painted(canvas["id"], annotation)


def _check(path: str, manifest: dict[str, Any]) -> None:
    """Raises UserError unless it is a manifest of Presentation 3, by its context."""
    context = manifest.get("@context")
    contexts = context if isinstance(context, list) else [context]
    versions = [
        one.removeprefix(_CONTEXT).partition("/")[0]
        for one in contexts
        if isinstance(one, str) and one.startswith(_CONTEXT)
    ]
    if versions != ["3"]:
        what = f"of Presentation {versions[0]}" if versions else "without the context of one"
        refuse(f'"{path}" is a manifest {what}: convert it to Presentation 3, which is read')
    if manifest.get("type") != "Manifest":
        refuse(f'"{path}" is no IIIF manifest, but of type "{manifest.get("type")}"')


def _painted(canvas: str, annotation: dict[str, Any]) -> Iterator[Painted]:
    motivation = annotation.get("motivation")
    if "painting" not in (motivation if isinstance(motivation, list) else [motivation]):
        return
    for body in _list(annotation.get("body")):
        if body.get("type") == "Choice":
            body = next(iter(_list(body.get("items"))), {})
        if body.get("type") == "SpecificResource":
            body = next(iter(_list(body.get("source"))), {})
        if body.get("type") == "Image" and isinstance(body.get("id"), str):
            services = [one.get("id", one.get("@id")) for one in _list(body.get("service"))]
            yield _place(canvas, body["id"], [one for one in services if isinstance(one, str)])


def _place(canvas: str, picture: str, services: list[str]) -> Painted:
    parts = urllib.parse.urlsplit(picture)
    path = urllib.parse.unquote(parts.path)
    if parts.scheme == "file":
        return Painted(canvas, path, ())
    if not parts.scheme and not parts.netloc:
        return Painted(canvas, path, ())
    urls = [parts.path, *(urllib.parse.urlsplit(service).path for service in services)]
    if request := _IMAGE_REQUEST.fullmatch(parts.path):
        urls.append(request[1])
    tails = (urllib.parse.unquote(url).strip("/") for url in urls)
    return Painted(canvas, "", tuple(dict.fromkeys(filter(None, tails))))


def _list(value: Any) -> list[dict[str, Any]]:
    """Returns the objects of a list, or of a single one."""
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, dict)]
