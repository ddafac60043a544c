"""Distance of an image's features from the training classes: what resembles none of them is far.

A squared Mahalanobis distance to the nearest class mean, with one covariance for all classes (Lee
et al., 2018, section 2.1). Features are of length 1 first (Müller and Hein, 2025), so that a dark
or empty picture, whose features are small, is not near every mean. Networks have more features than
a class has pictures: the covariance keeps its largest axes, and one variance stands for all others.
"""

from typing import NamedTuple

import numpy as np

MOST_AXES = 64


class Distance(NamedTuple):
    """The classes' places among features of length 1; call `of` for distances.

    Attributes:
        means: (K, C) float64, of the classes that had pictures.
        axes: (R, C) float64, orthonormal.
        scales: (R,) float64, the inverse of each axis's standard deviation.
        rest: the inverse of the standard deviation along every other axis.
    """

    means: np.ndarray
    axes: np.ndarray
    scales: np.ndarray
    rest: float

    def of(self, features: np.ndarray) -> np.ndarray:
        """Returns the distances (N,) float64 of features (N, C) from the nearest class."""
        nearest = np.full(len(features), np.inf)
        unit = _unit(features)
        for mean in self.means:
            offsets = unit - mean
            along = offsets @ self.axes.T
            others = np.maximum((offsets**2).sum(axis=1) - (along**2).sum(axis=1), 0)
            squares = ((along * self.scales) ** 2).sum(axis=1) + others * self.rest**2
            nearest = np.minimum(nearest, squares)
        return np.sqrt(nearest)


def fit_distance(features: np.ndarray, labels: np.ndarray) -> Distance:
    """Fits the means and the covariance of the training's features.

    Args:
        features: (N, C).
        labels: (N,) integers.
    """
    unit = _unit(features)
    present, index = np.unique(labels, return_inverse=True)
    means = np.stack([unit[index == k].mean(axis=0) for k in range(len(present))])
    offsets = unit - means[index]
    count, width = offsets.shape
    freedom = max(count - len(present), 1)
    # The smaller of the two products has the same positive eigenvalues.
    small = offsets if count > width else offsets.T
    values, vectors = np.linalg.eigh(small.T @ small / freedom)
    axes = vectors.T[::-1] if count > width else (offsets.T @ vectors).T[::-1]
    values = np.maximum(values[::-1], 0)
    number = max(min(MOST_AXES, int((values > 1e-12 * values.sum()).sum()) - 1, width - 1), 0)
    axes = axes[:number] / np.linalg.norm(axes[:number], axis=1, keepdims=True)
    rest = max(values[number:].sum() / (width - number), 1e-12)
    return Distance(means, axes, 1 / np.sqrt(values[:number]), float(1 / np.sqrt(rest)))


def _unit(features: np.ndarray) -> np.ndarray:
    """Returns features (N, C) of length 1 in float64; zeros stay."""
    features = np.asarray(features, np.float64)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, 1)
