"""The paper's Tables 1-3 as printed; rows have the names of the variants in configs/dkse.py."""

from typing import NamedTuple


class Cells(NamedTuple):
    """The cells of one printed row."""

    parameters: str  # millions
    minutes: str  # of training, on an unnamed machine
    accuracy: str  # percent, on unpublished data
    gflops: str = ""  # only in Table 1


TABLES: dict[str, dict[str, Cells]] = {
    "1": {
        "table1_id6": Cells("2.7", "1800", "87.24", "0.75"),
        "table1_id9": Cells("4.4", "2043", "87.14", "1.77"),
        "table1_id12": Cells("11.1", "1860", "86.46", "3.37"),
    },
    "2": {
        "table2_r4_k1_3": Cells("2.3", "1367", "87.26"),
        "table2_r4_k1_5": Cells("2.6", "1680", "87.58"),
        "table2_r4_k3_5": Cells("2.7", "1800", "87.24"),
        "table2_r4_k1_3_5": Cells("2.7", "2370", "87.35"),
        "table2_r16_k1_3": Cells("2.3", "1230", "86.35"),
        "table2_r16_k1_5": Cells("2.6", "1220", "86.85"),
        "table2_r16_k3_5": Cells("2.7", "1440", "86.15"),
        "table2_r16_k1_3_5": Cells("2.7", "1770", "86.42"),
    },
    "3": {
        "table3_k3_k5": Cells("2.4", "1530", "86.07"),
        "table3_k3_k7": Cells("2.4", "1657", "86.00"),
        "table3_k5_k7": Cells("2.4", "1560", "84.50"),
        "table3_k3_k5_k7": Cells("2.6", "2220", "86.40"),
    },
}
