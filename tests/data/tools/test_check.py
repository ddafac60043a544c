"""Every type of problem, planted in a folder, is found; a clean folder has none."""

import re
import sys

import numpy as np
import pytest
from PIL import Image

from configs import base
from dkse_jax import cli
from dkse_jax.cli import check as check_command
from dkse_jax.data.sources.folder import load_folder
from dkse_jax.data.sources.painting import paint
from dkse_jax.data.splits import SPLITS
from dkse_jax.data.tools import check
from tests.data.profiles import PROPHOTO, gamma, rgb_profile

COLUMNS = "file_name,label,group,split"


def paint_file(path, seed, size=48):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = paint("hatched_landscape", size, np.random.default_rng(seed))
    Image.fromarray(picture).save(path)


def write_metadata(root, rows, columns=COLUMNS):
    (root / "metadata.csv").write_text("\n".join((columns, *rows)) + "\n", encoding="utf-8")


def make_listed(root):
    """Writes 2 classes in 3 splits of one image each; returns the rows of metadata.csv."""
    rows = []
    for i, split in enumerate(SPLITS):
        for label in ("ink", "oil"):
            name = f"{label}{i}.png"
            paint_file(root / name, len(rows))
            rows.append(f"{name},{label},book{i},{split}")
    write_metadata(root, rows)
    return rows


@pytest.fixture
def run(tmp_path, capsys):
    def run_check(root=tmp_path, **changes):
        options = {"seed": 0, "val_percent": 15.0, "test_percent": 15.0, "image_size": 40}
        count = check.check(str(root), **options | changes)
        return count, capsys.readouterr().out

    return run_check


def test_a_clean_folder_is_found_clean(tmp_path, run):
    make_listed(tmp_path)
    count, out = run()
    assert count == 0
    lines = out.splitlines()
    assert lines[0].startswith("6 images in ")
    assert lines[0].endswith("the splits are those of its metadata.csv")
    assert "| ink   |     1 |   1 |    1 |   3 |" in lines
    assert "| all   |     2 |   2 |    2 |   6 |" in lines
    assert "smallest 48, median 48, largest 48; 0 images below image_size 40" in out
    assert lines[-1] == "no trouble found"


def test_small_pictures_are_counted_and_no_trouble(tmp_path, run):
    make_listed(tmp_path)
    paint_file(tmp_path / "oil0.png", 1, size=24)
    count, out = run()
    assert count == 0
    assert "smallest 24, median 48, largest 48; 1 images below image_size 40" in out


@pytest.mark.parametrize(("size", "counted"), [((48, 144), 0), ((48, 145), 1), ((960, 48), 1)])
def test_narrow_pictures_are_counted_and_no_trouble(tmp_path, run, size, counted):
    make_listed(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "ink0.png")
    count, out = run()
    assert count == 0
    assert out.count("longer than 3 times their width: 1; of these, evaluation sees") == counted


def test_unreadable_images_are_named_with_class_and_reason(tmp_path, run):
    make_listed(tmp_path)
    (tmp_path / "ink1.png").write_bytes(b"no picture")
    (tmp_path / "oil2.png").write_bytes((tmp_path / "oil2.png").read_bytes()[:400])
    count, out = run()
    assert count == 2
    assert "images that cannot be read: 2" in out
    assert 'val, ink: the image "ink1.png" cannot be read: it is not a JPEG' in out
    assert re.search('test, oil: the image "oil2.png" cannot be read: .*[Tt]runcated', out)
    assert out.splitlines()[-1] == "2 problems"


def test_copies_across_splits_and_classes_are_problems(tmp_path, run):
    rows = make_listed(tmp_path)
    paint_file(tmp_path / "ink3.png", 0)  # ink0 is train
    small = Image.open(tmp_path / "ink2.png").resize((40, 40), Image.Resampling.BICUBIC)
    small.save(tmp_path / "oil3.jpg", quality=80)
    write_metadata(tmp_path, [*rows, "ink3.png,ink,book1,val", "oil3.jpg,oil,book2,test"])
    count, out = run()
    assert count == 2
    assert (
        "pictures in more than one split: 1\n"
        '  "ink0.png" (train, ink) = "ink3.png" (val, ink): the same file\n'
    ) in out
    assert (
        "pictures in more than one class: 1\n"
        '  "ink2.png" (test, ink) = "oil3.jpg" (test, oil): nearly the same\n'
    ) in out


def test_copies_within_a_split_and_class_are_counted(tmp_path, run):
    rows = make_listed(tmp_path)
    for name in ("ink3.png", "ink4.png"):
        paint_file(tmp_path / name, 0)
    write_metadata(tmp_path, [*rows, *(f"ink{i}.png,ink,book0,train" for i in (3, 4))])
    count, out = run()
    assert count == 0
    assert "copies within one split and class: 3 images of 1 pictures" in out


def test_of_many_copies_those_that_differ_in_place_are_named(tmp_path, run):
    rows = make_listed(tmp_path)
    for i in range(3, 9):
        paint_file(tmp_path / f"ink{i}.png", 0)
        rows.append(f"ink{i}.png,ink,book{int(i == 8)},{'val' if i == 8 else 'train'}")
    write_metadata(tmp_path, rows)
    line = next(line for line in run()[1].splitlines() if "the same file" in line)
    assert line.startswith('  "ink0.png" (train, ink) = "ink8.png" (val, ink) = "ink3.png"')
    assert line.endswith(" = 3 more: the same file")


def test_all_mistakes_are_told_at_once(tmp_path, run):
    rows = make_listed(tmp_path)
    rows[1] = "oli0.png,oil,book0,train"
    rows += ["ink3.png,ink,book0,trian", "ink4.png,ink,book0,val", "ink0.png,ink,book0,train"]
    rows += ["ink5.png,,book0,val", "../ink6.png,ink,book0,val"]
    for i in (3, 4, 5):
        paint_file(tmp_path / f"ink{i}.png", 10 + i)
    write_metadata(tmp_path, rows)
    count, out = run()
    for sentence in (
        'row 3 of ".*" names "oli0.png", which does not exist; did you mean "oil0.png"',
        'row 8 of ".*" has the split "trian"; did you mean "train"',
        'row 10 of ".*" repeats "ink0.png" of row 2',
        "row 11 .* has no label",
        "row 12 .* is outside of the data root",
        'the group "book0" is in both train and val',
        'the class "oil" of ".*" has no images in train',
        r'1 file is not in the metadata: 1 \.png \(first: "oil0.png"\)',
    ):
        assert re.search(sentence, out), sentence
    assert "mistakes in the folder: 8" in out
    assert count == 8


def make_classes(root, count):
    for label, first in (("ink", 0), ("oil", 10)):
        for i in range(count):
            paint_file(root / label / f"{i}.png", first + i)


def test_small_splits_and_a_missing_test_are_cautions_and_no_trouble(tmp_path, run):
    rows = make_listed(tmp_path)
    count, out = run()
    assert count == 0
    assert 'caution: val has only 1 group, of the class "ink" only 1 (and of 1 more): a' in out
    (tmp_path / "oil2.png").unlink()
    write_metadata(tmp_path, rows[:-1])
    count, out = run()
    assert count == 0
    assert 'caution: test has no images of the class "oil"' in out
    (tmp_path / "ink2.png").unlink()
    write_metadata(tmp_path, rows[:-2])
    assert "caution: there is no test split" in run()[1]
    write_metadata(tmp_path, [row.replace("ink1.png,ink", "ink1.png,Ink") for row in rows])
    assert 'the classes "Ink" and "ink" of' in run()[1]


def test_class_folders_take_the_splits_of_a_training(tmp_path, run):
    make_classes(tmp_path, 8)
    options = {"seed": 3, "val_percent": 20.0, "test_percent": 30.0}
    count, out = run(**options)
    assert count == 0
    assert "those of a training with seed 3, val_percent 20 and test_percent 30" in out
    sizes = [len(source) for source in load_folder(str(tmp_path), **options).values()]
    assert re.search(r"\| all +\| +{} \| +{} \| +{} \| +16 \|".format(*sizes), out)
    assert len({run(**options | {"seed": seed})[1].split("| all")[1] for seed in range(4)}) > 1


def test_all_mistakes_of_class_folders_are_told_at_once(tmp_path, run):
    make_classes(tmp_path, 3)
    for name in ("chalk", "pastel"):
        (tmp_path / name).mkdir()
    for i in range(2):
        paint_file(tmp_path / "tempera" / f"{i}.png", 20 + i)
    (tmp_path / "ink" / "out.png").symlink_to("../../out.png")
    count, out = run()
    for sentence in (
        'class folder ".*/chalk" has no images',
        'class folder ".*/pastel" has no images',
        r'class "tempera" has too few groups \(2\)',
        r'the link ".*/out\.png" leads out of the data root',
    ):
        assert re.search(sentence, out), sentence
    assert count == 4


def test_a_folder_that_cannot_be_listed_has_one_problem(tmp_path, run):
    write_metadata(tmp_path, ["a.png,ink"], columns="file_name,lable")
    count, out = run()
    assert count == 1
    assert 'has no column "label"; did you mean "lable"?' in out
    assert out.splitlines()[-1] == "1 problem"


def test_long_lists_are_cut(tmp_path, run):
    rows = make_listed(tmp_path)
    write_metadata(tmp_path, [*rows, *(f"gone{i}.png,ink,b,val" for i in range(27))])
    count, out = run()
    assert count == 27
    assert out.count("does not exist") == check.LISTED
    assert "\n  and 7 more\n" in out


def test_names_steer_no_terminal(tmp_path, run):
    make_listed(tmp_path)
    rows = ['"ink0.png","i\x1b[31m\nk",book0,train', "ink1.png,oil,b,val", "g\x07one.png,a,b,val"]
    write_metadata(tmp_path, rows)
    out = run()[1]
    assert "i\ufffd[31m\ufffdk" in out
    assert "g\ufffdone.png" in out
    assert out.replace("\n", "").isprintable()


def call(monkeypatch, capsys, *arguments):
    """Returns (exit code, stdout, stderr)."""
    monkeypatch.setattr(sys, "argv", ["check", *arguments])
    check_command.FLAGS.unparse_flags()
    for flag in check_command.FLAGS:
        check_command.FLAGS[flag].unparse()
    with pytest.raises(SystemExit) as end:
        cli.run(check_command.main, check_command.FLAGS, positional=("root",))
    return end.value.code, *capsys.readouterr()


def test_exit_codes(tmp_path, monkeypatch, capsys):
    rows = make_listed(tmp_path)
    code, out, _ = call(monkeypatch, capsys, str(tmp_path), "--image_size=64")
    assert code == 0
    assert "6 images below image_size 64" in out
    write_metadata(tmp_path, [row for row in rows if "oil1" not in row])
    assert call(monkeypatch, capsys, f"--root={tmp_path}")[0] == 1
    for arguments, sentence in (
        ([], "name the folder"),
        ([str(tmp_path / "gone")], "does not exist"),
        ([str(tmp_path), "more"], '"more" is not a flag'),
        ([str(tmp_path), "--val_percent=90"], "leave a part of 100 for train"),
        ([str(tmp_path), "--sead=1"], 'did you mean "seed"'),
    ):
        code, out, err = call(monkeypatch, capsys, *arguments)
        assert (code, out) == (2, "")
        assert sentence in err
        assert err.count("\n") == 1


def test_the_defaults_are_those_of_a_training():
    config = base.get_config()
    shares = config.data.folder
    assert check_command.FLAGS["seed"].default == config.seed
    assert check_command.FLAGS["val_percent"].default == shares.val_percent
    assert check_command.FLAGS["test_percent"].default == shares.test_percent
    assert check_command.FLAGS["image_size"].default == config.data.image_size


def test_pictures_of_one_tone_are_problems_and_shortcuts_are_cautions(tmp_path, run):
    rng = np.random.default_rng(0)
    for i in range(40):
        label = ("ink", "oil")[i % 2]
        (tmp_path / label).mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (48, 48, 3), np.uint8)
        profile = rgb_profile("A studio", PROPHOTO, gamma(1.8)) if label == "oil" else None
        Image.fromarray(pixels).save(tmp_path / label / f"{i:02}.png", icc_profile=profile)
    count, out = run()
    assert count == 0
    assert "colour profiles: 20 A studio; they are converted to sRGB\n" in out
    assert "caution: the colour profile all but decides the class: of 20 images with" in out
    dark = np.arange(48 * 48, dtype=np.uint16).reshape(48, 48) % 1021
    Image.fromarray(dark).save(tmp_path / "ink/00.png")
    count, out = run()
    assert count == 1
    assert "pictures that are all but one tone: 1\n" in out
    assert re.search(r'"ink/00.png" \(\w+, ink\): its levels are 0 to 3 of 255; if they', out)
