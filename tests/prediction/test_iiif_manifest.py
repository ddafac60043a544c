import json

import pytest
from PIL import Image

from dkse_jax.errors import UserError, refuse
from dkse_jax.prediction.iiif_manifest import read_manifest
from dkse_jax.prediction.inputs import list_items

V3 = "http://iiif.io/api/presentation/3/context.json"
CANVAS = "https://X.org:443/%c3%A9/Canvas 1{a}?b=1#c "  # letter by letter


def canvas(*bodies, id=CANVAS, motivation="painting"):
    notes = [{"motivation": motivation, "body": body} for body in bodies]
    return {"id": id, "type": "Canvas", "items": [{"type": "AnnotationPage", "items": notes}]}


def image(id, **fields):
    return {"type": "Image", "id": id} | fields


@pytest.fixture
def folder(tmp_path):
    for name in ("a b/ü.jpg", "001.tif", "deep/002.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / name)
    return tmp_path


def write(folder, canvases, **fields):
    tree = {"@context": V3, "id": "x", "type": "Manifest", "items": canvases} | fields
    (folder / "m.json").write_text(json.dumps(tree))
    return str(folder / "m.json")


def listed(folder, *bodies):
    return list_items([write(folder, [canvas(*bodies)]), str(folder)], [], refuse)


@pytest.mark.parametrize(
    ("body", "file"),
    [
        (image("a%20b/%C3%BC.jpg"), "a b/ü.jpg"),
        (image("001.TIF"), "001.tif"),
        (image("https://x.org/media/a%20b/%c3%bc.jpg"), "a b/ü.jpg"),
        (image("https://x.org/iiif/3/deep%2F002.tif/full/max/0/default.jpg"), "deep/002.tif"),
        (
            image(
                "https://x.org/p/1/full/!90,90/0/native.png", service=[{"id": "https://x/001.tif"}]
            ),
            "001.tif",
        ),
        (
            image("https://x.org/1.jpg", service={"@id": "https://x.org/2/deep%2F002.tif"}),
            "deep/002.tif",
        ),
        ({"type": "Choice", "items": [image("001.tif"), image("deep/002.tif")]}, "001.tif"),
        ({"type": "SpecificResource", "source": image("001.tif")}, "001.tif"),
    ],
)
def test_a_picture_on_disk_is_found(folder, body, file):
    found = listed(folder, body)
    assert [(item.file, item.reason) for item in found.items] == [(file, "")]
    assert found.canvases == {file: [CANVAS]}


def test_a_file_url_names_a_file(folder):
    url = (folder / "a b/ü.jpg").as_uri()
    assert [item.path for item in listed(folder, image(url)).items] == [str(folder / "a b/ü.jpg")]


def test_a_picture_that_is_not_on_disk_keeps_its_row(folder):
    found = listed(
        folder,
        image("https://x.org/iiif/nix.tif/full/max/0/default.jpg"),
        image("nix.jpg"),
        image("https://x.org/iiif/deep/full/max/0/default.jpg"),  # a folder's name
    )
    elsewhere = "it is not on disk beside the manifest, and nothing is fetched"
    assert [(item.file, item.reason) for item in found.items] == [
        ("iiif/nix.tif/full/max/0/default.jpg", elsewhere),
        ("nix.jpg", "it does not exist"),
        ("iiif/deep/full/max/0/default.jpg", elsewhere),
    ]
    assert list(found.canvases.values()) == [[CANVAS]] * 3


def test_canvases_keep_their_order_and_share_pictures(folder):
    path = write(
        folder,
        [
            canvas(image("deep/002.tif"), id="https://x.org/2"),
            canvas(image("001.tif"), id="https://x.org/1"),
            canvas(image("deep/002.tif"), id="HTTPS://X.org/2"),
            canvas(image("a b/ü.jpg"), motivation="supplementing"),
            canvas({"type": "Sound", "id": "a.mp3"}, {"type": "TextualBody", "value": "x"}, "y"),
            {"type": "Range", "id": "r"},
        ],
    )
    found = list_items([path, str(folder)], [], refuse)
    assert [item.file for item in found.items] == ["deep/002.tif", "001.tif"]
    assert found.canvases == {
        "deep/002.tif": ["https://x.org/2", "HTTPS://X.org/2"],
        "001.tif": ["https://x.org/1"],
    }


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"@context": "http://iiif.io/api/presentation/2/context.json", "@type": "sc:Manifest"},
            r"a manifest of Presentation 2: convert it to Presentation 3, which is read",
        ),
        ({"@context": "http://iiif.io/api/presentation/4/context.json"}, "of Presentation 4"),
        ({"@context": None}, "a manifest without the context of one"),
        ({"@context": "http://iiif.io/api/image/3/context.json"}, "without the context of one"),
        ({"type": "Collection"}, 'is no IIIF manifest, but of type "Collection"'),
        ({"items": [{"type": "Canvas"}]}, "has a canvas without an id"),
        ({"items": []}, r'there is no picture to predict: ".*m\.json" has no pictures'),
    ],
)
def test_what_is_no_manifest_of_version_3_is_refused(folder, fields, sentence):
    path = write(folder, [canvas(image("001.tif"))], **fields)
    with pytest.raises(UserError, match=sentence) as error:
        list_items([path], [], refuse)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "null", "\xff"])
def test_what_is_no_json_object_is_refused(tmp_path, text):
    (tmp_path / "m.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r'm\.json" is (not JSON|no IIIF manifest)'):
        list(read_manifest(str(tmp_path / "m.json")))


def test_contexts_may_be_a_list_and_a_mark_may_come_first(folder):
    contexts = ["http://www.w3.org/ns/anno.jsonld", V3]
    path = write(folder, [canvas(image("001.tif"))], **{"@context": contexts})
    text = (folder / "m.json").read_text()
    (folder / "m.json").write_text("\ufeff" + text, encoding="utf-8")
    assert [item.file for item in list_items([path], [], refuse).items] == ["001.tif"]
