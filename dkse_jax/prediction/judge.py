"""What turns a network's raw answers into probabilities that mean something."""

from typing import NamedTuple, Protocol

import numpy as np


class Judged(NamedTuple):
    """What is made of the answers for N images.

    Attributes:
        probabilities: (N, K) float64, calibrated, rows sum to 1.
        known: (N,) bool, or None where nothing is known of it.
        sets: (N, K) bool, the classes of the prediction set, or None.
    """

    probabilities: np.ndarray
    known: np.ndarray | None
    sets: np.ndarray | None


class Judge(Protocol):
    """A fitted calibration, or none: see `load_judge`."""

    remark: str  # one sentence about the calibration, such as that there is none

    def __call__(self, log_probabilities: np.ndarray, features: np.ndarray) -> Judged:
        """Returns what is made of (N, K) log-probabilities and (N, C) `early_features`."""
        ...
