"""F38: a row for every file that is named, in that order, each with its own numbers or none."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dkse_jax.prediction.answers import rows_of
from dkse_jax.prediction.item import Item
from dkse_jax.prediction.judge import Judged
from dkse_jax.prediction.reading import Read
from tests.faults import runs
from tests.short import FULL

ROW = "a broken, a cut and an empty file and a folder among twelve that are predicted"
BAD = {1: "broken.tif", 5: "cut.jpg", 9: "empty.png", 12: "folder.jpg"}
WHOLE = [number for number in range(1, 13) if number not in BAD]
ALONE = WHOLE if FULL else [2]


def name_of(number):
    """Returns the name of the file in a place, whose alphabetical order is another one."""
    return BAD.get(number, f"{'zyx'[number % 3]}{13 - number}.jpg")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("twelve")
    pixels = np.random.default_rng(0)
    for number in (*WHOLE, 5):
        picture = pixels.integers(0, 256, (36 + number, 60 - number, 3), np.uint8)
        Image.fromarray(picture).save(root / name_of(number))
    (root / BAD[1]).write_bytes(b"II*\0 and no header")
    (root / BAD[5]).write_bytes((root / BAD[5]).read_bytes()[:500])
    (root / BAD[9]).touch()
    (root / BAD[12]).mkdir()
    return root


def predicted(trained, root, out, numbers, hooks="-"):
    """Returns the rows of the table that the command makes of the files in these places."""
    names = out.with_suffix(".txt")
    names.write_text("".join(f"{root / name_of(number)}\n" for number in numbers))
    arguments = f"--workdir={trained}", f"--out={out}", f"--list={names}"
    process = runs.Process("predict.py", *arguments, hooks=hooks)
    assert process.end() == 0, process.output
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.fault("F38", ROW)
@pytest.mark.parametrize(
    "saboteur",
    [
        "-",
        *(
            pytest.param(f"saboteurs.{name}", marks=pytest.mark.full)
            for name in ("failed_rows_dropped", "next_row_instead")
        ),
    ],
)
def test_twelve_files(trained, root, tmp_path, saboteur):
    rows = predicted(trained, root, tmp_path / "all", range(1, 13), saboteur)
    alone = {n: predicted(trained, root, tmp_path / f"{n}", [n])[0] for n in ALONE}
    with runs.must_fail(saboteur):
        assert [row["file"].rpartition("/")[2] for row in rows] == [*map(name_of, range(1, 13))]
        for number, row in enumerate(rows, 1):
            numbers = {name: cell for name, cell in row.items() if name.startswith("p")}
            del numbers["prediction_set"]
            assert len(numbers) == 4
            if number in BAD:
                assert row["status"] == "failed"
                assert row["note"]
                assert {*numbers.values(), row["class"]} == {""}
            else:
                assert row["status"] == "ok"
                assert row["p"] == max(cell for name, cell in numbers.items() if name != "p")
                if number in alone:
                    assert {name: alone[number][name] for name in numbers} == numbers
        assert len({row["p"] for row in rows if row["p"]}) > 4  # not all the same by chance


@pytest.mark.fault("F38", "two classes of equal probability are both in the row")
def test_equal_scores_keep_both_classes():
    trained = SimpleNamespace(
        class_names=("a", "b", "c"),
        answers=lambda images: (np.log([[0.4, 0.2, 0.4]] * len(images)), np.zeros((4, 1))),
    )
    item = Item("x.jpg", None, bytes, "1")
    pictures = [Read(item, np.zeros((1, 8, 8, 3), np.uint8), "")]
    [[row]] = rows_of(pictures, trained, lambda logs, _: Judged(np.exp(logs), None, None), 4)
    assert (row.class_name, row.probabilities) == ("a", (0.4, 0.2, 0.4))
