"""Probabilities, known or unknown, and prediction sets, by the calibration of a workdir."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dkse_jax.errors import UserError
from dkse_jax.evaluation.calibration import calibrated, set_scores
from dkse_jax.files import expanded
from dkse_jax.prediction.judge import Judge, Judged
from dkse_jax.workdir import calibration_file
from dkse_jax.workdir.calibration_file import Fitted

LIMIT = (
    "known=no means less probable, or farther from the training classes, than 95 % of val; a"
    " network of this size has seen these classes alone, and takes what looks like one of them for"
    " it: known=yes proves nothing"
)


@dataclasses.dataclass
class Uncalibrated:
    """Leaves the probabilities of the network as they are."""

    remark: str

    def __call__(self, log_probabilities: np.ndarray, features: np.ndarray) -> Judged:
        """Returns the network's own probabilities; nothing is known of the rest."""
        return Judged(calibrated(log_probabilities, 1.0), None, None)


@dataclasses.dataclass
class Calibrated:
    """Answers by what was fitted to val."""

    remark: str
    fitted: Fitted

    def __call__(self, log_probabilities: np.ndarray, features: np.ndarray) -> Judged:
        """Returns calibrated probabilities, which pictures are known, and the sets."""
        probabilities = calibrated(log_probabilities, self.fitted.temperature)
        known = self.doubt(probabilities, features) <= 1
        return Judged(probabilities, known, set_scores(probabilities) <= self.fitted.set_score)

    def doubt(self, probabilities: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Returns (N,) the larger of two doubts, each 1 at its threshold; NaN is infinite.

        Args:
            probabilities: (N, K), calibrated.
            features: (N, C): see `inference.early_features`.
        """
        least, most = self.fitted.thresholds
        by_p = (1 - probabilities.max(axis=1)) / (1 - least)
        by_distance = self.fitted.distance.of(features) / most
        return np.nan_to_num(np.maximum(by_p, by_distance), nan=np.inf)


def load_judge(workdir: str | os.PathLike[str], weights: str, class_names: Sequence[str]) -> Judge:
    """Returns what turns a network's answers into probabilities that mean something.

    Args:
        workdir: of the run.
        weights: the digest of the step that is used: see `checkpoint_digest.digest_of_step`.
        class_names: (K,) in the order of the logits.

    Raises:
        UserError: the calibration in the workdir is damaged, or of other weights or classes.
    """
    folder = Path(expanded(workdir))
    calibration = calibration_file.load(folder, weights)
    if calibration is None:
        return Uncalibrated(
            f"uncalibrated: {folder} has no {calibration_file.FILE}; fit it by"
            f" dkse-eval --workdir={folder} --calibrate"
        )
    if calibration.class_names != tuple(class_names):
        raise UserError(
            f'"{folder / calibration_file.FILE}" is of other classes'
            f" ({', '.join(calibration.class_names)}): fit it again by"
            f" dkse-eval --workdir={folder} --calibrate"
        )
    if calibration.fitted is None:
        return Uncalibrated(calibration.sentence())
    return Calibrated(calibration.sentence(), calibration.fitted)
