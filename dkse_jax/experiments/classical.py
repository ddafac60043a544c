"""Traditional classifiers over hand-crafted features.

The paper's section 1 describes "a neural network based on radial basis function" over the features
of `features.py`, and compares with "traditional classification algorithms" that it does not name.
The first is implemented here; the support vector machine, the nearest neighbours and the logistic
regression are our choice, from scikit-learn.

All are fitted alike: features are standardised by the mean and deviation of train; every point of
a small fixed grid is fitted on train and evaluated on val; a softmax with a temperature chosen on
val turns scores into probabilities (Guo et al., On Calibration of Modern Neural Networks, 2017),
without changing a prediction. No other split is used.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dkse_jax.errors import UserError, nearest
from dkse_jax.evaluation.metrics import accuracy_and_loss

try:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC
except ImportError as error:
    raise UserError(
        "the traditional classifiers need scikit-learn: pip install -e '.[classical]'"
    ) from error

_TEMPERATURES = np.geomspace(0.01, 100, 81)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A classifier fitted with one choice of hyper-parameters.

    Attributes:
        chosen: the hyper-parameters.
        parameters: number of fitted values, support vectors included; None for the nearest
            neighbours, which fit nothing and store all of train.
        scores: standardised features (N, F) -> (N, K) floats; the highest is the prediction.
    """

    chosen: dict[str, Any]
    parameters: int | None
    scores: Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A classifier with the hyper-parameters that did best on val.

    Attributes:
        name: one of CLASSIFIERS.
        chosen: the hyper-parameters, the temperature among them.
        parameters: see Candidate; without the standardisation and the temperature.
        mean: (F,) of the training features.
        deviation: (F,) of the training features, 1 where they are constant.
        scores: see Candidate.
    """

    name: str
    chosen: dict[str, Any]
    parameters: int | None
    mean: np.ndarray
    deviation: np.ndarray
    scores: Callable[[np.ndarray], np.ndarray]

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Computes the log-probability of each class, (N, F) -> float64 (N, K)."""
        scores = self.scores((features - self.mean) / self.deviation)
        return _log_softmax(scores / self.chosen["temperature"])


def fit(
    name: str,
    train_features: np.ndarray,
    train_labels: np.ndarray,
    val_features: np.ndarray,
    val_labels: np.ndarray,
    seed: int,
) -> Classifier:
    """Fits every point of the classifier's grid on train and returns the best on val.

    The best has the highest accuracy, then the lowest loss, then comes first.

    Args:
        name: one of CLASSIFIERS.
        train_features: (N, F) floats.
        train_labels: (N,) integers; each of the K classes occurs.
        val_features: (M, F) floats.
        val_labels: (M,) integers in [0, K).
        seed: of the RBF network's first centres, the only random choice.

    Raises:
        UserError: an unknown classifier.
        ValueError: a class without training examples.
    """
    if name not in CLASSIFIERS:
        raise UserError(f'there is no classifier "{name}"' + nearest(name, CLASSIFIERS))
    classes = int(train_labels.max()) + 1
    if missing := set(range(classes)) - set(train_labels.tolist()):
        raise ValueError(f"class {min(missing)} has no training examples")
    train_features = train_features.astype(np.float64)
    mean, deviation = train_features.mean(axis=0), train_features.std(axis=0)
    deviation[np.ptp(train_features, axis=0) == 0] = 1  # deviation == 0 fails by rounding
    train, val = ((x - mean) / deviation for x in (train_features, val_features))

    best, best_rank = None, (-1.0, 0.0)
    for candidate in CLASSIFIERS[name](train, train_labels, seed):
        scores = candidate.scores(val)
        temperature = _best_temperature(scores, val_labels)
        on_val = accuracy_and_loss(_log_softmax(scores / temperature), val_labels)
        rank = (on_val["accuracy"], -on_val["loss"])
        if rank > best_rank:
            chosen = candidate.chosen | {"temperature": temperature}
            best, best_rank = dataclasses.replace(candidate, chosen=chosen), rank
    assert best is not None
    return Classifier(name, best.chosen, best.parameters, mean, deviation, best.scores)


def k_means(points: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """Runs Lloyd's algorithm from random distinct points until it converges, at most 100 rounds.

    Args:
        points: (N, F).
        clusters: their number; at most the number of distinct points.
        seed: of the draw.

    Returns:
        The centres (clusters, F).
    """
    _, different = np.unique(points, axis=0, return_index=True)
    drawn = np.random.default_rng(seed).permutation(np.sort(different))[:clusters]
    centres, of_point = points[drawn], np.full(len(points), -1)
    for _ in range(100):
        before, of_point = of_point, _squared_distances(points, centres).argmin(axis=1)
        if (before == of_point).all():
            break
        member = np.eye(len(centres))[of_point]  # (N, clusters)
        sizes = member.sum(axis=0)
        filled = sizes > 0  # a centre without points keeps its position
        centres[filled] = (member.T @ points)[filled] / sizes[filled, None]
    return centres


def _rbf_networks(features: np.ndarray, labels: np.ndarray, seed: int) -> Iterator[Candidate]:
    """Fits radial basis functions and a linear layer (Moody and Darken, Neural Comp. 1, 1989).

    A hidden unit is exp(-d² / 2w²) of the distance d to its centre, with centres from k-means; w is
    the mean distance to the two nearest other centres, times a common stretch. The weights are a
    ridge regression of the one-hot labels, with an unpenalised bias.
    """
    targets = np.eye(labels.max() + 1)[labels]
    for units in sorted({min(units, len(features)) for units in (50, 100, 200, 400)}):
        centres = k_means(features, units, seed)
        between = np.sqrt(np.sort(_squared_distances(centres, centres), axis=1))
        for stretch in (1.0, 2.0, 4.0):
            widths = stretch * between[:, 1:3].mean(axis=1)
            hidden = _hidden_layer(features, centres, widths)
            for ridge in (0.01, 0.1, 1.0):
                shrinkage = np.full(hidden.shape[1], ridge)
                shrinkage[-1] = 0
                gram = hidden.T @ hidden + np.diag(shrinkage)
                weights = np.linalg.solve(gram, hidden.T @ targets)  # (units + 1, K)
                yield Candidate(
                    {"units": len(centres), "stretch": stretch, "ridge": ridge},
                    centres.size + widths.size + weights.size,
                    functools.partial(_rbf_scores, centres, widths, weights),
                )


def _rbf_scores(
    centres: np.ndarray, widths: np.ndarray, weights: np.ndarray, features: np.ndarray
) -> np.ndarray:
    return _hidden_layer(features, centres, widths) @ weights


def _hidden_layer(features: np.ndarray, centres: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Returns (N, units + 1); the last column is 1, for the bias."""
    active = np.exp(-_squared_distances(features, centres) / (2 * widths**2)[None, :])
    return np.concatenate([active, np.ones((len(features), 1))], axis=1)


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Computes the squared distances of rows, (N, F), (M, F) -> (N, M)."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :]
    return np.maximum(squares - 2 * a @ b.T, 0)


def _svms(features: np.ndarray, labels: np.ndarray, seed: int) -> Iterator[Candidate]:
    """Fits support vector machines of the kernel exp(-gamma d² / F), one for each pair of classes.

    The scores are the votes of the pairs; between equal votes, their margins decide.
    """
    for cost, gamma in itertools.product((1.0, 10.0, 100.0), (0.25, 0.5, 1.0, 2.0)):
        model = SVC(C=cost, gamma=gamma / features.shape[1]).fit(features, labels)
        yield Candidate(
            {"C": cost, "gamma": gamma},
            model.support_vectors_.size + model.dual_coef_.size + model.intercept_.size,
            functools.partial(_decisions, model),
        )


def _logistic_regressions(
    features: np.ndarray, labels: np.ndarray, seed: int
) -> Iterator[Candidate]:
    for cost in (0.0001, 0.001, 0.01, 0.1, 1.0):
        model = LogisticRegression(C=cost, max_iter=10_000).fit(features, labels)
        yield Candidate(
            {"C": cost},
            model.coef_.size + model.intercept_.size,
            functools.partial(_decisions, model),
        )


def _decisions(model: SVC | LogisticRegression, features: np.ndarray) -> np.ndarray:
    """Returns the decision function (N, K), with two columns for two classes too."""
    scores = model.decision_function(features)
    return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores


def _nearest_neighbours(features: np.ndarray, labels: np.ndarray, seed: int) -> Iterator[Candidate]:
    """Fits votes of the nearest training examples, smoothed by Laplace's rule."""
    for metric, k in itertools.product(("euclidean", "manhattan"), (1, 3, 5, 9, 15, 25, 41)):
        if k <= len(features):
            model = KNeighborsClassifier(k, metric=metric, algorithm="brute")
            yield Candidate(
                {"k": k, "metric": metric},
                None,
                functools.partial(_votes, model.fit(features, labels)),
            )


def _votes(model: KNeighborsClassifier, features: np.ndarray) -> np.ndarray:
    share = model.predict_proba(features)
    k, classes = model.n_neighbors, share.shape[1]
    return np.log((k * share + 1) / (k + classes))


def _best_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """Returns the temperature of the lowest loss, the lowest one among equals.

    Smooths the labels by Laplace's rule, as Platt does (Probabilistic Outputs for Support Vector
    Machines, 1999), since M examples without a mistake do not prove certainty.
    """
    m, classes = scores.shape
    targets = (m * np.eye(classes)[labels] + 1) / (m + classes)
    log_probabilities = _log_softmax(scores[None] / _TEMPERATURES[:, None, None])  # (T, M, K)
    losses = -(log_probabilities * targets[None]).sum(axis=2).mean(axis=1)
    return float(_TEMPERATURES[losses.argmin()])


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    return scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)


# Name -> (standardised features (N, F), labels (N,), seed) -> a candidate for each grid point.
CLASSIFIERS: dict[str, Callable[[np.ndarray, np.ndarray, int], Iterator[Candidate]]] = {
    "rbf_network": _rbf_networks,
    "svm": _svms,
    "knn": _nearest_neighbours,
    "logistic_regression": _logistic_regressions,
}
