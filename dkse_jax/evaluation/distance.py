"""Distance of an image's features from the training classes: what resembles none of them is far.

A Mahalanobis distance to the nearest class mean, with one covariance for all classes (Lee et al.,
2018, section 2.1), shrunk since training sets are small (Ledoit and Wolf, 2004).
"""

from typing import NamedTuple

import numpy as np

_LEAST_SCALE = 0.01  # of a feature, in mean scales: some hardly vary in training


class Distance(NamedTuple):
    """The places of the training classes among the features.

    Attributes:
        whitening: (C, C) float64: features times it have the covariance 1 within classes.
        means: (K, C) float64, of the classes that had pictures, after whitening.
    """

    whitening: np.ndarray
    means: np.ndarray

    def of(self, features: np.ndarray) -> np.ndarray:
        """Returns the distances (N,) float64 of features (N, C) from the nearest class."""
        white = np.asarray(features, np.float64) @ self.whitening
        return np.sqrt([((self.means - one) ** 2).sum(axis=1).min() for one in white])


def fit_distance(features: np.ndarray, labels: np.ndarray) -> Distance:
    """Fits the class means and the covariance of the training's features.

    Args:
        features: (N, C).
        labels: (N,) integers.
    """
    wide = np.asarray(features, np.float64)
    present, index = np.unique(labels, return_inverse=True)
    means = np.stack([wide[index == k].mean(axis=0) for k in range(len(present))])
    offsets = wide - means[index]
    scales = offsets.std(axis=0)
    scales = scales + max(_LEAST_SCALE * scales.mean(), 1e-12)
    precision = np.linalg.inv(shrunk_covariance(offsets / scales))
    whitening = np.linalg.cholesky(precision) / scales[:, None]
    return Distance(whitening, means @ whitening)


def shrunk_covariance(offsets: np.ndarray) -> np.ndarray:
    """Returns the covariance (C, C) of offsets (N, C), drawn to a multiple of the identity.

    Ledoit and Wolf, A well-conditioned estimator for large-dimensional covariance matrices, 2004.
    """
    n, width = offsets.shape
    sample = offsets.T @ offsets / n
    target = np.trace(sample) / width * np.eye(width)
    distance = ((sample - target) ** 2).sum()
    noise = (((offsets**2).sum(axis=1) ** 2).mean() - (sample**2).sum()) / n
    share = min(max(noise / distance, 0), 1) if distance else 1
    return share * target + (1 - share) * sample + 1e-9 * np.eye(width)
