"""A row of predictions.csv."""

import dataclasses

DECIMALS = 6  # of every probability, in every format


@dataclasses.dataclass(frozen=True)
class Row:
    """The answer for one item.

    Attributes:
        file: see `Item`.
        status: "ok" or "failed".
        class_name: the most probable class; "" of a failed file.
        probabilities: (K,) float64 rounded to DECIMALS, in the order of the classes; () of a failed
            file. The probability of class_name is their largest.
        known: "yes", "no", or "" where nothing is known of it.
        prediction_set: names of the classes that hold the right one with 90 %; () if there is none.
        note: a remark or the reason of a failure; one line.
        stamp: of the item; in the state, not in the tables.
    """

    file: str
    status: str
    class_name: str
    probabilities: tuple[float, ...]
    known: str
    prediction_set: tuple[str, ...]
    note: str
    stamp: str
