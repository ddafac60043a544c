import math

import pytest

from dkse_jax.experiments.compare import Difference
from dkse_jax.experiments.published import Cells
from dkse_jax.experiments.table_report import Line, as_csv, as_markdown
from dkse_jax.experiments.tables import Row

COMMAND = "python ablate.py --table=1"


def record(accuracy, minutes=2.0, parameters=1234):
    return {
        "parameters": parameters,
        "macs": None if parameters is None else 1_442_000_000,
        "minutes": minutes,
        "milliseconds": 7.0,
        "n": 381,
        "classes": 5,
        "accuracy": accuracy,
        "interval95": [accuracy - 0.1, accuracy + 0.1],
    }


def line(name, records, difference=None, published=None):
    return Line(Row(name, {}, name, published), records, difference, 7200)


def cells(text):
    rows = [row for row in text.splitlines() if row.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_a_row_has_mean_and_spread_and_what_the_paper_prints():
    lines = [
        line("a", {0: record(0.8), 1: record(0.9, 4.0)}, published=Cells("2.7", "1800", "87.24")),
        line(
            "b",
            {0: record(0.7)},
            Difference(-0.1, -0.152, -0.05, 40),
            Cells("4.4", "2043", "87.14"),
        ),
    ]
    header, _, first, second = cells(as_markdown(COMMAND, lines))
    assert dict(zip(header, first, strict=True)) == {
        "row": "a",
        "parameters": "1,234",
        "GMACs": "1.442",
        "training, min": "3.0",
        "ms an image": "7.0",
        "test accuracy": "85.0 ± 7.1",
        "of seeds": "2",
        "less the first row": "",
        "verdict": "",
        "paper: accuracy": "87.24",
        "paper: min": "1800",
    }
    assert second[-6:] == ["70.0", "1", "-10.0 (-15.2 to -5.0)", "worse", "87.14", "2043"]


def test_what_is_unknown_is_no_number():
    lines = [line("a", {0: record(0.8, None, None)}), line("b c", {})]
    text = as_markdown(COMMAND, lines)
    _, _, first, second = cells(text)
    assert first[:5] == ["a", "", "", "interrupted", "7.0"]
    assert [cell for cell in second if cell] == ["b c", "not run"]
    assert text.endswith("to run it:\n\n- `--rows='b c'`, about 2 h 0 min\n")


@pytest.mark.parametrize(
    ("difference", "cells_of_it", "told"),
    [
        (
            Difference(0.25, math.nan, math.nan, 3),
            ["+25.0", "too few groups (3) for an interval"],
            "caution: test has 3 groups",
        ),
        (Difference(0.25, 0.1, 0.4, 29), ["+25.0 (+10.0 to +40.0)", "better"], "29 groups"),
        (Difference(0.25, 0.1, 0.4, 30), ["+25.0 (+10.0 to +40.0)", "better"], None),
    ],
)
def test_few_groups_are_told_beside_the_table(difference, cells_of_it, told):
    text = as_markdown(
        COMMAND, [line("a", {0: record(0.5)}), line("b", {0: record(1)}, difference)]
    )
    assert cells(text)[-1][-2:] == cells_of_it
    assert text.count("caution") == (told is not None)
    assert told is None or told in text


def test_a_run_without_an_interval_has_an_empty_cell():
    few = record(0.5) | {"interval95": None}
    assert as_csv([line("a", {0: few})]).splitlines()[1].endswith(",381,5,0.5,")


def test_the_csv_has_every_run_in_full():
    lines = [line("a", {1: record(0.75, None), 0: record(1 / 3)}), line("b", {})]
    assert as_csv(lines).splitlines() == [
        "row,seed,parameters,macs,minutes,milliseconds,n,classes,accuracy,interval95",
        "a,0,1234,1442000000,2.0,7.0,381,5,0.3333333333333333,0.2333 0.4333",
        "a,1,1234,1442000000,,7.0,381,5,0.75,0.6500 0.8500",
    ]
