"""The data of a run and the history of its weights, in workdirs that no network was trained in."""

import shutil

import numpy as np
import pytest

from dkse_jax import provenance
from dkse_jax.data.identity import ROW
from dkse_jax.data.sources import load_all
from dkse_jax.data.splits import SPLITS
from dkse_jax.data.tools.pack import pack
from dkse_jax.errors import UserError
from dkse_jax.workdir import data_file
from tests.begun import CLASSES, exchange, loaded, make_folder, rewrite, trained_on


@pytest.fixture
def root(tmp_path):
    return make_folder(tmp_path / "images", 0)


def test_unchanged_data_pass_and_the_contents_are_kept(config, root, tmp_path):
    trained_on(config, root, tmp_path / "run")
    rows = data_file.load(tmp_path / "run", ROW)
    assert np.bincount(rows["split"]).tolist() == [6, 6, 6]
    assert (rows["content"] != b"").tolist() == [True] * 12 + [False] * 6  # test is unread
    splits = loaded(config, root)
    found = provenance.check(tmp_path / "run", splits)
    assert [len(found[split]) for split in SPLITS] == [0, 0, 0]
    assert splits["train"].contents.known().tolist() == rows["content"][:6].tolist()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda root: rewrite(root, "light/1.bmp,light", "light/1.bmp,dark"),
            "labels of 1 image (",
        ),
        (
            lambda root: [rewrite(root, f"dark{i},", "dark0,") for i in (1, 2)],
            'groups of 2 images (first: "dark/1.bmp")',
        ),
        (lambda root: rewrite(root, "dark5,val", "dark5,test"), "splits of 1 image ("),
        (
            lambda root: rewrite(root, "dark/7.bmp,dark,dark7,test\n", ""),
            "removal of 1 image; restore them, or begin a new run in another --workdir",
        ),
        (
            lambda root: [
                rewrite(root, "dark/7.bmp,dark,dark7,test\n", ""),
                rewrite(root, "dark/2.bmp,dark,dark2,", "dark/2.bmp,light,light0,"),
                (root / "light/8.bmp").write_bytes(b"other"),
            ],
            'removal of 1 image, labels of 1, groups of 1, content of 1 (first: "dark/2.bmp"); ',
        ),
        (
            lambda root: [
                shutil.copy(root / "dark/0.bmp", root / "dark/x.bmp"),
                rewrite(root, "dark/0.bmp,", "dark/x.bmp,"),
            ],
            'removal of 1 image, addition of 1 (first: "dark/x.bmp")',
        ),
    ],
)
def test_what_changed_is_told(config, root, tmp_path, change, sentence):
    trained_on(config, root, tmp_path / "run")
    change(root)
    with pytest.raises(UserError) as refused:
        provenance.check(tmp_path / "run", loaded(config, root))
    assert f"the data changed since the run began: {sentence}" in str(refused.value)


def test_a_renamed_class_is_no_change_of_the_others_labels(config, root, tmp_path):
    trained_on(config, root, tmp_path / "run")
    rewrite(root, ",dark,", ",zark,")  # is now the second class
    with pytest.raises(UserError, match=r"labels of 9 images \(first: \"dark/0.bmp\"\)"):
        provenance.check(tmp_path / "run", loaded(config, root))


def test_an_exchanged_content_is_refused_when_it_is_read(config, root, tmp_path):
    trained_on(config, root, tmp_path / "run")
    exchange(root, "dark/0.bmp", "light/4.bmp")
    splits = loaded(config, root)
    provenance.check(tmp_path / "run", splits)
    splits["train"].read(1, 8)
    with pytest.raises(UserError, match=r'the content of ".*dark/0.bmp" changed since the run'):
        splits["train"].read(0, 8)
    with pytest.raises(UserError, match=r'the content of ".*light/4.bmp" changed since the run'):
        provenance.check_and_read(tmp_path / "run", {"val": loaded(config, root)["val"]})


def test_for_an_unread_image_the_time_of_change_stands(config, root, tmp_path):
    trained_on(config, root, tmp_path / "run")
    exchange(root, "dark/6.bmp", "light/8.bmp")
    with pytest.raises(UserError) as refused:
        provenance.check(tmp_path / "run", loaded(config, root))
    assert str(refused.value) == (
        'the data changed since the run began: times of change of 2 images (first: "dark/6.bmp"); '
        "restore them, copy them again with their times kept (cp -a, rsync -a), or begin a new run"
        " in another --workdir"
    )


def test_a_copy_passes_with_its_times_and_where_contents_are_known(config, root, tmp_path):
    trained_on(config, root, tmp_path / "run")
    kept = shutil.copytree(root, tmp_path / "kept")
    provenance.check_and_read(tmp_path / "run", loaded(config, kept))
    plain = shutil.copytree(root, tmp_path / "plain", copy_function=shutil.copyfile)
    splits = loaded(config, plain)
    provenance.check_and_read(tmp_path / "run", {"val": splits["val"]})
    with pytest.raises(UserError, match="times of change of 6 images"):
        provenance.check(tmp_path / "run", {"test": splits["test"]})


def test_a_folder_packed_again_after_a_change_is_refused(config, root, tmp_path):
    for name in ("first", "again"):
        pack(str(root), str(tmp_path / name), seed=0, val_percent=15, test_percent=15)
    trained_on(config, tmp_path / "first", tmp_path / "run", source="records")
    assert (data_file.load(tmp_path / "run", ROW)["content"] != b"").all()
    assert provenance.check(tmp_path / "run", loaded(config, tmp_path / "again")) == {}
    exchange(root, "dark/6.bmp", "light/8.bmp")  # of test, never read
    rewrite(root, "light0,", "light1,")
    pack(str(root), str(tmp_path / "other"), seed=0, val_percent=15, test_percent=15)
    with pytest.raises(UserError, match=r"groups of 1 image, content of 2 \(first: "):
        provenance.check(tmp_path / "run", loaded(config, tmp_path / "other"))
    part = {"val": loaded(config, tmp_path / "other")["val"]}
    provenance.check_and_read(tmp_path / "run", part)


def test_records_packed_by_an_earlier_version_load_and_learn(config, root, tmp_path):
    packed = pack_as_earlier(root, tmp_path / "packed")
    trained_on(config, packed, tmp_path / "run", source="records")
    rows = data_file.load(tmp_path / "run", ROW)
    assert (rows["content"] != b"").tolist() == [True] * 12 + [False] * 6
    pack(str(root), str(tmp_path / "new"), seed=0, val_percent=15, test_percent=15)
    provenance.check(tmp_path / "run", loaded(config, tmp_path / "new"))
    trained_on(config, tmp_path / "new", tmp_path / "other", source="records")
    whole = data_file.load(tmp_path / "other", ROW)
    for name in ("id", "group", "label", "split"):
        assert rows[name].tolist() == whole[name].tolist()
    assert rows["content"][:12].tolist() == whole["content"][:12].tolist()
    exchange(root, "dark/0.bmp", "light/4.bmp")
    splits = loaded(config, pack_as_earlier(root, tmp_path / "changed"))
    provenance.check(tmp_path / "run", splits)
    splits["train"].read(1, 8)
    with pytest.raises(UserError, match=r'the content of "dark/0.bmp" changed since the run'):
        splits["train"].read(0, 8)


def pack_as_earlier(root, out):
    """Packs, and removes what earlier versions did not write."""
    pack(str(root), str(out), seed=0, val_percent=15, test_percent=15)
    manifest = (out / "manifest.json").read_text()
    (out / "manifest.json").write_text(manifest.replace("hashes.npy", "unused.npy"))
    for path in out.glob("*.hashes.npy"):
        path.rename(path.with_name(path.name.replace("hashes", "unused")))
    return out


def test_the_file_is_written_when_more_is_known_and_keeps_what_others_added(
    config, root, tmp_path, monkeypatch
):
    splits = trained_on(config, root, tmp_path / "run")
    writes = []
    whole = data_file.write
    monkeypatch.setattr(
        data_file, "write", lambda *arguments: (writes.append(1), whole(*arguments))
    )
    record = provenance.recorder(tmp_path / "run", splits, provenance.NOTHING)
    record()
    assert not writes
    judged = loaded(config, root)["test"]
    judged.read(2, 8)
    provenance.add_contents(tmp_path / "run", "test", judged)
    record()
    rows = data_file.load(tmp_path / "run", ROW)
    assert (rows["content"][12:] != b"").tolist() == [False, False, True, False, False, False]
    assert len(writes) == 1
    splits["test"].read(0, 8)
    record()
    rows = data_file.load(tmp_path / "run", ROW)
    assert (rows["content"][12:] != b"").tolist() == [True, False, True, False, False, False]


def images_of(config, root, split="all"):
    """All images of a split, read."""
    source = load_all(str(root), CLASSES) if split == "all" else loaded(config, root)[split]
    for i in range(len(source)):
        source.read(i, 8)
    return source


def counts(workdir, source):
    found = provenance.seen(data_file.load(workdir, ROW), source)
    return int(found.trained.sum()), int(found.chosen.sum()), found.known


@pytest.mark.parametrize("depth", range(4))
def test_weights_know_what_their_ancestors_have_seen(config, tmp_path, depth):
    """Through init_from of any depth; each run has pictures of its own."""
    roots = [make_folder(tmp_path / f"images{i}", i) for i in range(depth + 1)]
    parent = ""
    for i, root in enumerate(roots):
        trained_on(config, root, tmp_path / f"run{i}", init_from=parent)
        parent = tmp_path / f"run{i}"
    for root in roots:
        assert counts(parent, images_of(config, root)) == (6, 6, True)
        assert counts(parent, images_of(config, root, "test")) == (0, 0, True)
    strangers = make_folder(tmp_path / "strangers", 99)
    assert counts(parent, images_of(config, strangers)) == (0, 0, True)
    shutil.rmtree(tmp_path / "run0")  # what it knows was copied
    assert counts(parent, images_of(config, roots[0])) == ((6, 6, True) if depth else (0, 0, False))


def test_copies_under_other_names_are_found_by_content(config, root, tmp_path):
    trained_on(config, root, tmp_path / "run")
    other = make_folder(tmp_path / "other", 5)
    shutil.copy(root / "dark/0.bmp", other / "light/3.bmp")  # of train
    shutil.copy(root / "light/4.bmp", other / "dark/8.bmp")  # of val
    shutil.copy(root / "light/7.bmp", other / "dark/7.bmp")  # of test
    (other / "metadata.csv").unlink()
    source = images_of(config, other)
    found = provenance.seen(data_file.load(tmp_path / "run", ROW), source)
    assert [source.ids[i] for i in np.flatnonzero(found.trained)] == ["light/3.bmp"]
    assert [source.ids[i] for i in np.flatnonzero(found.chosen)] == ["dark/8.bmp"]


def test_the_splits_of_another_seed_are_seen(config, root, tmp_path):
    (root / "metadata.csv").unlink()
    first = trained_on(config, root, tmp_path / "a")
    config.seed = 1
    config.data.folder.test_percent = 40.0
    second = trained_on(config, root, tmp_path / "b", init_from=tmp_path / "a")
    test = images_of(config, root, "test")
    expected = [len(set(test.ids) & set(first[name].ids)) for name in ("train", "val")]
    assert expected[0] > 0
    assert counts(tmp_path / "b", test) == (*expected, True)
    assert set(test.ids) == set(second["test"].ids)


def test_names_and_sizes_stand_for_contents_that_were_never_known(config, root, tmp_path):
    trained_on(config, root, tmp_path / "run")
    rows = data_file.load(tmp_path / "run", ROW)
    rows["content"] = b""
    data_file.write(tmp_path / "run", rows)
    assert counts(tmp_path / "run", images_of(config, root)) == (6, 6, True)
    (root / "dark/0.bmp").write_bytes((root / "dark/0.bmp").read_bytes() + b"x")
    assert counts(tmp_path / "run", images_of(config, root)) == (5, 6, True)


@pytest.mark.parametrize("parent", ["weights.safetensors", "run of an earlier version"])
def test_a_history_that_is_not_known_is_called_unknown_in_every_descendant(
    config, root, tmp_path, parent
):
    start = tmp_path / parent
    if parent.startswith("run"):
        trained_on(config, root, start)
        (start / data_file.FILE).unlink()
    else:
        start.write_bytes(b"")
    trained_on(config, root, tmp_path / "child", init_from=start)
    trained_on(config, root, tmp_path / "grandchild", init_from=tmp_path / "child")
    other = make_folder(tmp_path / "other", 7)
    for run in ("child", "grandchild"):
        assert counts(tmp_path / run, images_of(config, root)) == (6, 6, False)
        assert counts(tmp_path / run, images_of(config, other)) == (0, 0, False)
    config.init_from = str(start)  # resumed: the file is kept, the parent is not needed
    splits = loaded(config, root)
    before = provenance.history(tmp_path / "child", config, fresh=False)
    assert (before["split"] == provenance.UNKNOWN).sum() == 1
    written = (tmp_path / "child" / data_file.FILE).read_bytes()
    provenance.recorder(tmp_path / "child", splits, before)()
    assert (tmp_path / "child" / data_file.FILE).read_bytes() == written
