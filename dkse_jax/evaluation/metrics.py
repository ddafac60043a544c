"""Metrics of a classifier's log-probabilities over a whole split."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dkse_jax.data.split_checks import LEAST_GROUPS

CALIBRATION_BINS = 15
BOOTSTRAP_SAMPLES = 1000  # resamplings for the interval of the accuracy
MIN_GROUPS = 5  # fewer have no interval
FEW_GROUPS = 2  # that differ from all others: a resampling often has none of them
_PRINTED = 1e-4  # a bootstrap interval below what is printed of it has width 0


def confusion(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Counts the examples of each (true class, predicted class).

    Args:
        labels: (N,) integers in [0, classes).
        predictions: (N,) integers in [0, classes).
        classes: K.

    Returns:
        (K, K) int64; rows are the true classes.

    Raises:
        ValueError: an index outside [0, classes).
    """
    for name, indices in (("labels", labels), ("predictions", predictions)):
        if indices.size and not 0 <= indices.min() <= indices.max() < classes:
            raise ValueError(
                f"{name} must be in 0..{classes - 1}, not {indices.min()}..{indices.max()}"
            )
    cells = labels.astype(np.int64) * classes + predictions
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def summarise(
    log_probabilities: np.ndarray,
    labels: np.ndarray,
    groups: Sequence[str],
    class_names: Sequence[str],
    *,
    seed: int,
) -> dict[str, Any]:
    """Computes the metrics of one split, ready for JSON.

    The prediction is the most probable class, the lowest index among equals. Precision, recall and
    F1 are None for a class without examples; the precision is 0.0 of one that is never predicted.

    Args:
        log_probabilities: (N, K) floats; the exponentials of each row sum to 1.
        labels: (N,) integers in [0, K).
        groups: (N,) names; examples of one group are not independent.
        class_names: (K,).
        seed: of the bootstrap.

    Returns:
        n, classes (K), accuracy, loss (mean negative log-likelihood, nats), top2 (share of the
        labels among the two most probable classes; None of two classes), per_class {name: {n,
        precision, recall, f1}}, ece (see `calibration_error`), interval95 (see `interval`; None
        with the key interval95_reason of too few groups), groups (number).

    Raises:
        ValueError: no examples, unequal sizes, or rows that are not log-probabilities.
    """
    scores = _checked(log_probabilities, labels, groups, class_names)
    n, classes = scores.shape
    predictions = scores.argmax(axis=1)
    matrix = confusion(labels, predictions, classes)
    correct = predictions == labels
    interval95 = interval(correct, groups, seed)
    reason = {} if interval95 else {"interval95_reason": too_few(len(set(groups)))}
    return {
        "n": n,
        "classes": classes,
        **accuracy_and_loss(scores, labels),
        "top2": int((_rank(scores, labels) < 2).sum()) / n if classes > 2 else None,
        "per_class": _per_class(matrix, class_names),
        "ece": calibration_error(np.exp(scores.max(axis=1)), correct),
        "interval95": interval95,
        **reason,
        "groups": len(set(groups)),
    }


def accuracy_and_loss(log_probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Computes the accuracy and the mean negative log-likelihood in nats.

    Args:
        log_probabilities: (N, K) floats.
        labels: (N,) integers in [0, K).
    """
    n = len(labels)
    scores = log_probabilities.astype(np.float64)
    return {
        "accuracy": int((scores.argmax(axis=1) == labels).sum()) / n,
        "loss": float(-scores[np.arange(n), labels].sum() / n),
    }


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Computes the expected calibration error (Guo et al., 2017, Eq. 5) with 15 equal bins.

    Bin b holds the examples with a confidence in (b/15, (b+1)/15]; its error is |accuracy - mean
    confidence|. The result is the mean of the errors, weighted by the bins' shares of the examples.

    Args:
        confidence: (N,) probability of the prediction.
        correct: (N,) bool.
    """
    bins = np.ceil(confidence * CALIBRATION_BINS).astype(np.int64) - 1
    bins = np.clip(bins, 0, CALIBRATION_BINS - 1)  # a probability of 1 + rounding error
    gaps = np.bincount(bins, weights=correct - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(correct))


def interval(correct: np.ndarray, groups: Sequence[str], seed: int) -> list[float] | None:
    """Computes the accuracy's 95 % interval [low, high]; None with fewer than MIN_GROUPS groups.

    It is that of the bootstrap; where that rests on one or two groups or on none, as at an accuracy
    of 0 or 1, it is widened to Wilson's with the number of groups in place of the examples.

    Args:
        correct: (N,) bool.
        groups: (N,) names.
        seed: of the bootstrap.
    """
    number = len(set(groups))
    if number < MIN_GROUPS:
        return None
    low, high = bootstrap_interval(correct, groups, BOOTSTRAP_SAMPLES, seed)
    _, of_example, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    shares = np.bincount(of_example, weights=correct) / sizes
    if few_differ(shares) or not has_width(low, high):
        lowest, highest = wilson_interval(float(correct.mean()), number)
        low, high = min(low, lowest), max(high, highest)
    return [low, high]


def has_width(low: float, high: float) -> bool:
    """Returns whether a bootstrap interval shows any variance between the groups."""
    return high - low >= _PRINTED


def few_differ(shares: np.ndarray) -> bool:
    """Returns whether all but FEW_GROUPS of the groups have one share of correct examples (G,)."""
    _, counts = np.unique(shares.round(9), return_counts=True)
    return bool(len(shares) - counts.max() <= FEW_GROUPS)


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """Computes the 95 % interval (low, high) of a share of n (Wilson, 1927); never of width 0."""
    z2 = 1.959963984540054**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) + z2 / (4 * n)) / n) / (1 + z2 / n)
    # The ends are exact; rounding would leave 1 - 1e-16.
    low = 0.0 if share == 0 else float(centre - half)
    return low, 1.0 if share == 1 else float(centre + half)


def too_few(groups: int) -> str:
    """Returns the reason for a missing interval."""
    return f"too few groups ({groups}) for an interval"


def caution(groups: int, split: str) -> str | None:
    """Returns the sentence about a split with fewer than LEAST_GROUPS groups, if it is one."""
    if groups >= LEAST_GROUPS:
        return None
    return (
        f"caution: {split} has {groups} {'group' if groups == 1 else 'groups'}; below about"
        f" {LEAST_GROUPS} no choice or comparison can rest on its accuracy"
    )


def bootstrap_interval(
    correct: np.ndarray, groups: Sequence[str], samples: int, seed: int
) -> list[float]:
    """Computes the accuracy's 95 % percentile interval [low, high] by a bootstrap over groups.

    Each resampling draws as many groups as there are, with replacement; its accuracy is the sum of
    their correct examples over the sum of their sizes.

    Args:
        correct: (N,) bool.
        groups: (N,) names.
        samples: number of resamplings.
        seed: of the draws; the order of the examples does not matter.
    """
    index: dict[str, int] = {}
    of_example = np.array([index.setdefault(group, len(index)) for group in groups])
    sizes = np.bincount(of_example)
    right = np.bincount(of_example, weights=correct).astype(np.int64)
    # Groups equal in both numbers are interchangeable: one multinomial over the distinct pairs
    # replaces a (samples, groups) table of draws.
    pairs, counts = np.unique(np.stack([right, sizes], axis=1), axis=0, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(sizes), counts / len(sizes), size=samples)
    sums = draws @ pairs  # (samples, 2): correct, all
    low, high = np.percentile(sums[:, 0] / sums[:, 1], [2.5, 97.5])
    return [float(low), float(high)]


def _checked(
    log_probabilities: np.ndarray,
    labels: np.ndarray,
    groups: Sequence[str],
    class_names: Sequence[str],
) -> np.ndarray:
    """Returns the log-probabilities in float64; raises the ValueErrors of `summarise`."""
    scores = np.asarray(log_probabilities, np.float64)
    n, classes = len(labels), len(set(class_names))
    if n == 0:
        raise ValueError("there are no examples to summarise")
    if scores.shape != (n, len(class_names)) or len(groups) != n or len(class_names) != classes:
        raise ValueError(
            f"{n} labels, {len(groups)} groups, {len(class_names)} class names ({classes} distinct)"
            f" and log-probabilities of shape {scores.shape} do not belong together"
        )
    bad = n - int(np.isfinite(scores).all(axis=1).sum())
    if bad:
        raise ValueError(f"{bad} of {n} examples have log-probabilities that are not finite")
    if np.abs(np.logaddexp.reduce(scores, axis=1)).max() > 0.01:
        raise ValueError("these are not log-probabilities: their exponentials do not sum to 1")
    return scores


def _rank(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns (N,) the rank of the label, 0 for the first; equals are ordered by index."""
    of_label = scores[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(scores.shape[1])[None, :] < labels[:, None]
    return ((scores > of_label) | ((scores == of_label) & earlier)).sum(axis=1)


def _per_class(matrix: np.ndarray, class_names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns {name: {n, precision, recall, f1}} of a confusion matrix."""
    result: dict[str, dict[str, Any]] = {}
    for k, name in enumerate(class_names):
        right, true, predicted = matrix[k, k], matrix[k].sum(), matrix[:, k].sum()
        result[name] = {
            "n": int(true),
            "precision": float(right / max(predicted, 1)) if true else None,
            "recall": float(right / true) if true else None,
            "f1": float(2 * right / (true + predicted)) if true else None,
        }
    return result
