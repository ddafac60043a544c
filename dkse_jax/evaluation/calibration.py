"""Calibration on val: a temperature, prediction sets, and thresholds of what is refused.

Every estimate is a share of pictures, as the accuracy and the calibration error are, so that each
picture of val counts once. Pictures of a group (a book) are not independent: what is measured on
pictures that a fit has not seen leaves out whole groups, and the number of independent pictures
that would be as informative replaces their number.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dkse_jax.evaluation.metrics import MIN_GROUPS, calibration_error

LEAST_EXAMPLES = 100  # of val, below which nothing is fitted
REFUSED = 0.05  # the share of val that is refused
COVERAGE = 0.90  # the share of pictures whose prediction set has their class
FOLDS = 5  # of whole groups
_HOTTEST = 20.0  # the temperature is between its inverse and this
_HALVINGS = 30
_MARGIN = 1e-9  # over rounding, relative


class Errors(NamedTuple):
    """Calibration error and mean loss (nats) before and after, on groups that no fit has seen."""

    ece_before: float
    ece_after: float
    loss_before: float
    loss_after: float


class Thresholds(NamedTuple):
    """A picture is known from this probability on and up to this distance."""

    probability: float
    distance: float


def too_small(groups: Sequence[str]) -> str:
    """Returns why nothing can be fitted to a val with these groups (N,); "" if it can."""
    n = len(groups)
    if n < LEAST_EXAMPLES:
        return f"val has {n} {'picture' if n == 1 else 'pictures'}, fewer than {LEAST_EXAMPLES}"
    sizes = np.bincount(group_indices(groups))
    equal = n**2 / (sizes**2).sum()  # groups of equal sizes that would be as diverse (Kish, 1965)
    if equal < MIN_GROUPS:
        return (
            f"the {n:,} pictures of val are in too few groups ({len(sizes)}, as diverse as"
            f" {equal:.1f} of equal sizes; {MIN_GROUPS} are needed)"
        )
    return ""


def group_indices(groups: Sequence[str]) -> np.ndarray:
    """Returns (N,) integers from 0, the same for the same group."""
    index: dict[str, int] = {}
    return np.array([index.setdefault(group, len(index)) for group in groups], np.int64)


def calibrated(log_probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns the probabilities (N, K) float64 at a temperature; rows sum to 1."""
    scores = np.asarray(log_probabilities, np.float64) / temperature
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def fit_temperature(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the temperature of the lowest mean loss (Guo et al., 2017, section 4.2).

    One further picture whose class is drawn at random keeps it from zero where all are right.

    Args:
        log_probabilities: (N, K).
        labels: (N,) integers in [0, K).
    """
    scores = np.asarray(log_probabilities, np.float64)
    n = len(labels)
    right = scores[np.arange(n), labels].mean()
    wanted = (n * right + scores.mean()) / (n + 1)
    low, high = -np.log(_HOTTEST), np.log(_HOTTEST)
    for _ in range(_HALVINGS):  # the loss is convex in the inverse of the temperature
        middle = (low + high) / 2
        expected = (calibrated(scores, np.exp(-middle)) * scores).sum(axis=1).mean()
        low, high = (low, middle) if expected > wanted else (middle, high)
    return float(np.exp(-(low + high) / 2))


def folds(groups: Sequence[str]) -> np.ndarray:
    """Returns (N,) the fold of each example, of about equal sizes; groups are whole."""
    of_example = group_indices(groups)
    sizes = np.bincount(of_example)
    totals, fold = np.zeros(FOLDS, np.int64), np.zeros(len(sizes), np.int64)
    for group in np.argsort(-sizes, kind="stable"):
        fold[group] = totals.argmin()
        totals[fold[group]] += sizes[group]
    return fold[of_example]


def cross_fitted(
    log_probabilities: np.ndarray, labels: np.ndarray, groups: Sequence[str]
) -> np.ndarray:
    """Returns (N, K) probabilities, each fold's at the temperature that the other folds give."""
    fold = folds(groups)
    result = np.empty(log_probabilities.shape)
    for number in range(FOLDS):
        own = fold == number
        temperature = fit_temperature(log_probabilities[~own], labels[~own])
        result[own] = calibrated(log_probabilities[own], temperature)
    return result


def errors(log_probabilities: np.ndarray, labels: np.ndarray, groups: Sequence[str]) -> Errors:
    """Measures what a temperature changes: see `Errors`; arguments as of `cross_fitted`."""
    pairs = [
        (ece(p, labels), float(-np.log(np.maximum(p[np.arange(len(p)), labels], 1e-300)).mean()))
        for p in (
            calibrated(log_probabilities, 1.0),
            cross_fitted(log_probabilities, labels, groups),
        )
    ]
    (ece_before, loss_before), (ece_after, loss_after) = pairs
    return Errors(ece_before, ece_after, loss_before, loss_after)


def ece(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Computes `metrics.calibration_error` of probabilities (N, K) and labels (N,)."""
    return calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)


def set_scores(probabilities: np.ndarray) -> np.ndarray:
    """Returns (N, K) scores; a set has the classes up to a score, always the most probable one.

    The score is 1 - p (Sadinle, Lei and Wasserman, 2019), but 0 for the most probable class.
    """
    scores = 1 - probabilities
    scores[np.arange(len(scores)), probabilities.argmax(axis=1)] = 0
    return scores


def set_threshold(probabilities: np.ndarray, labels: np.ndarray, groups: Sequence[str]) -> float:
    """Returns the score up to which sets have the class of COVERAGE of new pictures.

    A quantile of the scores of the labels, at a higher level since it is itself estimated: a
    quantile q of n independent scores covers q - (q - 1/2)/n on average, and n is here the
    number of independent pictures that would have the variance that is seen between groups. With
    single pictures as groups that is split conformal prediction.

    Args:
        probabilities: (N, K), calibrated.
        labels: (N,) integers in [0, K).
        groups: (N,) names.
    """
    scores = set_scores(probabilities)[np.arange(len(labels)), labels]
    ordered = np.sort(scores)
    first = ordered[int(np.ceil(COVERAGE * len(ordered))) - 1]
    independent = independent_number(scores <= first, groups)
    level = COVERAGE + (COVERAGE - 0.5) / independent
    rank = int(np.ceil(level * len(ordered)))
    return float(ordered[rank - 1] * (1 + _MARGIN)) if rank <= len(ordered) else 1.0


def independent_number(values: np.ndarray, groups: Sequence[str]) -> float:
    """Returns how many independent examples would estimate a share as precisely.

    Args:
        values: (N,) bool.
        groups: (N,) names.

    Returns:
        From 1 to N; the number of groups where all values are equal.
    """
    of_example = group_indices(groups)
    share, count = values.mean(), int(of_example.max()) + 1
    if share in (0, 1) or count == 1:
        return float(count)
    sums = np.bincount(of_example, weights=values - share)
    variance = (sums**2).sum() / len(values) ** 2 * count / (count - 1)
    least = share * (1 - share) / len(values)
    return float(np.clip(share * (1 - share) / max(variance, least), 1, len(values)))


def thresholds(confidence: np.ndarray, distances: np.ndarray) -> Thresholds:
    """Returns the thresholds that together refuse REFUSED of the pictures.

    As many are refused by each; those that both refuse count once.

    Args:
        confidence: (N,) calibrated probability of the prediction.
        distances: (N,) from the training classes.
    """
    least, most = np.sort(confidence), -np.sort(-distances)
    ranks = [values.argsort(kind="stable").argsort() for values in (confidence, -distances)]
    refused = np.sort(np.minimum(*ranks))[round(REFUSED * len(confidence))]
    # Between two pictures, so that rounding moves none of them over it.
    middles = [values[max(refused - 1, 0) : refused + 1].mean() for values in (least, most)]
    return Thresholds(float(middles[0]), float(middles[1]))
