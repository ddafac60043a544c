import unicodedata

import pytest

from dkse_jax.data.sources.left_out import Reason
from dkse_jax.data.sources.scanning import Scan, scan, walk
from dkse_jax.errors import refuse

FORMS = [unicodedata.normalize(form, "é") for form in ("NFD", "NFC")]


@pytest.mark.parametrize("linked", [(True, True), (True, False), (False, True)])
def test_links_and_folders_of_one_name_in_two_unicode_forms_are_reported(tmp_path, linked):
    for number, (form, link) in enumerate(zip(FORMS, linked, strict=True)):
        folder = tmp_path / (f".store{number}" if link else form)
        folder.mkdir()
        (folder / "1.jpg").write_text(str(number))
        if link:
            (tmp_path / form).symlink_to(folder)
    mistakes = []
    found = scan(str(tmp_path), mistakes.append)
    assert mistakes == [f'"{tmp_path}" has "{FORMS[1]}" twice, in two Unicode spellings']
    assert found.files == {f"{FORMS[1]}/1.jpg": str(tmp_path / FORMS[0] / "1.jpg")}
    assert found.left_out.counts[Reason.REFUSED, ""] == 1


def test_a_walk_keeps_no_file(tmp_path):
    for name in ("b/2.jpg", "a/1.jpg", "a/b/3.jpg", ".x", "@eaDir/4.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = Scan(str(tmp_path))
    files = dict(walk(found, refuse))
    assert files == {name: str(tmp_path / name) for name in ("b/2.jpg", "a/1.jpg", "a/b/3.jpg")}
    assert not found.files
    whole = scan(str(tmp_path), refuse)
    assert (whole.files, whole.folders, whole.left_out) == (files, found.folders, found.left_out)
    assert found.left_out.files() == 2
