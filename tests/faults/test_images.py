"""F6, F7: images that cannot be read, vanish or change while a run is under way."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from dkse_jax.errors import UserError
from dkse_jax.evaluation.run import evaluate
from dkse_jax.training.loop import train
from tests.faults import runs, thin

BAD = {
    "truncated.jpg": b"\xff\xd8\xff\xe0" + bytes(40),
    "text.png": b"no picture",
    "empty.jpg": b"",
    "archive.jpg": b"PK\x03\x04" + bytes(100),
    "page.png": b"<html></html>",
}


@pytest.fixture
def folder(tmp_path):
    """Two classes of 30 small pictures, their splits given by a metadata.csv."""
    root = tmp_path / "images"
    rng = np.random.default_rng(0)
    rows = []
    for label, level in (("dark", 60), ("light", 190)):
        (root / label).mkdir(parents=True)
        for number in range(30):
            pixels = rng.integers(level - 50, level + 50, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / f"{number:02}.png")
            split = "train" if number < 20 else "val" if number < 25 else "test"
            rows.append((f"{label}/{number:02}.png", label, split))
    write_metadata(root, rows)
    return root


def write_metadata(root, rows):
    with (root / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file_name", "label", "split"), *rows])


def add_bad_images(root):
    """Five that cannot be read: three in train, one each in val and test; returns their names."""
    with (root / "metadata.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    for (name, content), split in zip(
        BAD.items(), ("train", "train", "train", "val", "test"), strict=True
    ):
        (root / "dark" / name).write_bytes(content)
        rows.append([f"dark/{name}", "dark", split])
    write_metadata(root, rows)
    return [f"dark/{name}" for name in BAD]


def config_of(root, **fields):
    config = thin.get_config()
    config.data.source = "folder"
    config.data.root = str(root)
    config.train.epochs = 6.0
    config.update_from_flattened_dict({f"data.{name}": value for name, value in fields.items()})
    return config


@pytest.mark.fault("F6", "bad images under on_bad_image=error")
@pytest.mark.full
def test_a_bad_image_ends_the_run_and_is_named(folder, tmp_path):
    add_bad_images(folder)
    with pytest.raises(UserError, match=r'the image ".*dark/\w+\.\w+" cannot be read'):
        train(config_of(folder), tmp_path / "run")


@pytest.mark.fault("F6", "bad images under on_bad_image=skip: listed, shapes and resume exact")
def test_bad_images_are_skipped_and_listed(folder, tmp_path, capfd):
    names = add_bad_images(folder)
    config = config_of(folder, on_bad_image="skip", max_bad_percent=20.0)
    train(config, tmp_path / "run")
    with (tmp_path / "run" / "skipped.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert [row["file"] for row in listed] == sorted(names[:4])
    assert {row["label"] for row in listed} == {"dark"}
    assert all("cannot be read" in row["reason"] for row in listed)
    evaluate(tmp_path / "run", "test", None)
    report = json.loads((tmp_path / "run" / "eval" / "test" / "metrics.json").read_text())
    assert (report["n"], report["skipped"]) == (10, 1)
    assert "1 could not be read" in capfd.readouterr().out

    # Other images under the same names are read again.
    other = shutil.copytree(folder, tmp_path / "other")
    copies = evaluate(tmp_path / "run", "all", other)
    assert (copies["skipped"], copies["n"], copies["seen"]) == (len(names), 10, 50)
    for name in names:
        Image.new("RGB", (40, 40), "grey").save(other / name)
    repaired = evaluate(tmp_path / "run", "all", other)
    assert (repaired["n"], repaired["seen"], repaired["skipped"]) == (15, 50, 0)

    # Ended by a signal's exception half way, it goes on to the same end.
    half = config_of(folder, on_bad_image="skip", max_bad_percent=20.0)
    interrupted = tmp_path / "interrupted"
    interrupt_at(half, interrupted, step=13)
    assert runs.journal(interrupted) != runs.journal(tmp_path / "run")
    train(half, interrupted)
    assert runs.journal(interrupted) == runs.journal(tmp_path / "run")
    assert runs.arrays(interrupted) == runs.arrays(tmp_path / "run")
    text = [(run / "skipped.csv").read_text() for run in (interrupted, tmp_path / "run")]
    assert text[0] == text[1]


def interrupt_at(config, workdir, step):
    from dkse_jax import interrupts
    from dkse_jax.training import loop

    whole = loop.training_batches

    def batches(*arguments, **named):
        for number, batch in enumerate(whole(*arguments, **named), start=named["first_step"]):
            if number > step:
                raise interrupts.Interrupted(15)
            yield batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "training_batches", batches)
        with pytest.raises(interrupts.Interrupted):
            train(config, workdir)


@pytest.mark.fault("F6", "more bad images than data.max_bad_percent")
def test_too_many_bad_images_end_the_run(folder, tmp_path):
    add_bad_images(folder)
    config = config_of(folder, on_bad_image="skip", max_bad_percent=5.0)
    with pytest.raises(UserError, match=r"3 of 43 images cannot be read, more than config\.data"):
        train(config, tmp_path / "run")


@pytest.mark.fault("F7", "an image that vanishes, or changes, after it was listed")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.unlink(), "No such file or directory"),
        (
            lambda path: Image.new("RGB", (40, 40), "red").save(path),
            "it changed since the run began",
        ),
    ],
)
def test_an_image_that_vanishes_or_changes_is_named(folder, tmp_path, monkeypatch, change, reason):
    from dkse_jax.training import loop

    whole = loop.training_batches

    def batches(*arguments, **named):
        for number, batch in enumerate(whole(*arguments, **named), start=1):
            if number == 8:  # in the second epoch
                change(folder / "light" / "07.png")
            yield batch

    monkeypatch.setattr(loop, "training_batches", batches)
    with pytest.raises(UserError, match=rf'"[^"]*light/07\.png" cannot be read: {reason}'):
        train(config_of(folder), tmp_path / "run")
