"""The RBF network against its formula; results depend on train, val and the seed alone."""

import importlib
import sys

import numpy as np
import pytest

from dkse_jax.errors import UserError
from dkse_jax.evaluation.metrics import summarise
from dkse_jax.experiments import classical
from dkse_jax.experiments.classical import CLASSIFIERS, Candidate, Classifier, fit, k_means

Data = tuple[np.ndarray, np.ndarray]


def rings(examples: int, seed: int) -> Data:
    """Draws two classes on concentric circles, which no line separates."""
    rng = np.random.default_rng(seed)
    labels = np.arange(examples) % 2
    angles, radii = rng.uniform(0, 2 * np.pi, examples), 1 + 2 * labels
    points = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return points + rng.normal(0, 0.2, points.shape), labels


def blobs(examples: int, seed: int, classes: int = 3, spread: float = 1.0) -> Data:
    """Draws a cluster for each class in 5 dimensions, whose units differ a thousandfold."""
    rng = np.random.default_rng(seed)
    labels = np.arange(examples) % classes
    points = 3 * np.eye(5)[labels] + rng.normal(0, spread, (examples, 5))
    return points * np.geomspace(0.01, 10, 5), labels


def fitted(name: str, train: Data, val: Data, seed: int = 0) -> Classifier:
    return fit(name, *train, *val, seed)


def accuracy(classifier: Classifier, data: Data) -> float:
    features, labels = data
    return float((classifier.log_probabilities(features).argmax(axis=1) == labels).mean())


def fake(*answers: tuple[str, np.ndarray]):
    """Makes a classifier whose grid points give constant scores."""

    def candidates(features, labels, seed):
        for name, scores in answers:
            yield Candidate({"point": name}, None, lambda features, scores=scores: scores)

    return candidates


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_rings_are_divided_by_all_but_the_linear_model(name):
    train, val, test = rings(160, 0), rings(80, 1), rings(200, 2)
    found = accuracy(fitted(name, train, val), test)
    if name == "logistic_regression":
        assert found < 0.7
    else:
        assert found > 0.95


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_log_probabilities_are_what_a_report_takes(name, classes):
    train, val = blobs(60, 0, classes), blobs(31, 1, classes)
    features, labels = blobs(47, 2, classes)
    result = fitted(name, train, val).log_probabilities(features)
    assert result.shape == (47, classes)
    np.testing.assert_allclose(np.exp(result).sum(axis=1), 1, rtol=1e-12)
    metrics = summarise(
        result,
        labels,
        [str(i) for i in range(47)],
        [f"c{k}" for k in range(classes)],
        seed=0,
    )
    assert metrics["accuracy"] > 0.8
    assert metrics["loss"] < np.log(classes)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_same_seed_gives_the_same_numbers(name):
    train, val, test = blobs(90, 0), blobs(30, 1), blobs(30, 2)[0]
    first, again, other = (
        fitted(name, train, val, seed).log_probabilities(test) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (first == other).all() == (name != "rbf_network")


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_only_train_decides_the_standardisation(name):
    train, val, test = blobs(60, 0), blobs(30, 1), blobs(30, 2)[0]
    classifier = fitted(name, train, val)
    np.testing.assert_allclose(classifier.mean, train[0].mean(axis=0))
    np.testing.assert_allclose(classifier.deviation, train[0].std(axis=0))
    # Nor do other examples of the same call.
    whole = classifier.log_probabilities(test)
    alone = np.concatenate([classifier.log_probabilities(row[None]) for row in test])
    np.testing.assert_allclose(whole, alone, atol=1e-8)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_units_of_measurement_do_not_matter(name):
    (train, y), (val, z), (test, _) = blobs(60, 0), blobs(30, 1), blobs(30, 2)
    scale = 2.0 ** np.arange(5)  # powers of two, so that not even the rounding changes
    plain = fitted(name, (train, y), (val, z)).log_probabilities(test)
    scaled = fitted(name, (train * scale, y), (val * scale, z)).log_probabilities(test * scale)
    np.testing.assert_allclose(plain, scaled, atol=1e-8)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_feature_that_is_the_same_in_all_of_train_is_no_trouble(name):
    (train, y), (val, z) = blobs(61, 0, spread=0.5), blobs(30, 1, spread=0.5)
    train[:, 4], val[:, 4] = 0.1, 0.2  # the rounded mean of many 0.1 is not 0.1
    assert train[:, 4].std() > 0
    assert accuracy(fitted(name, (train, y), (val, z)), (val, z)) > 0.9


def test_val_and_not_train_chooses_in_the_grid():
    train, val = blobs(120, 0, spread=0.3), blobs(60, 1, spread=0.3)
    wrong = np.random.default_rng(2).random(120) < 0.3
    noisy = train[0], np.where(wrong, (train[1] + 1) % 3, train[1])
    chosen = fitted("knn", noisy, val)
    assert chosen.chosen["k"] > 1  # k = 1 memorises train
    assert accuracy(chosen, val) > 0.95
    # If val has the mistakes of train, memorising them is best.
    assert fitted("knn", noisy, noisy).chosen["k"] == 1


def test_the_best_on_val_wins_then_the_lowest_loss_then_the_first(monkeypatch):
    labels = np.array([0, 1, 1, 0])
    right = np.eye(2)[labels]
    uneven = right * [[1], [9], [1], [9]]  # no mistake, but no temperature fits all of them
    wrong = right.copy()
    wrong[0] = wrong[0, ::-1]
    data = np.zeros((4, 2)), labels
    for answers, best in (
        ([("a", wrong), ("b", right)], "b"),
        ([("a", right), ("b", wrong)], "a"),
        ([("a", uneven), ("b", right)], "b"),
        ([("a", right), ("b", uneven)], "a"),
        ([("a", right), ("b", right)], "a"),
    ):
        monkeypatch.setitem(CLASSIFIERS, "fake", fake(*answers))
        assert fitted("fake", data, data).chosen["point"] == best


def test_the_temperature_undoes_too_much_confidence(monkeypatch):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2000, 3))
    gumbel = rng.gumbel(size=scores.shape)
    labels = (scores + gumbel).argmax(axis=1)  # drawn from the softmax of the scores
    monkeypatch.setitem(CLASSIFIERS, "fake", fake(("sure", 10 * scores)))
    data = np.zeros((2000, 2)), labels
    classifier = fitted("fake", data, data)
    assert 8 < classifier.chosen["temperature"] < 12.5
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    found = np.exp(classifier.log_probabilities(data[0]))
    np.testing.assert_allclose(found, probabilities, atol=0.06)
    np.testing.assert_array_equal(found.argmax(axis=1), scores.argmax(axis=1))


def test_a_val_without_mistakes_makes_no_classifier_certain(monkeypatch):
    labels = np.arange(60) % 3
    data = np.zeros((60, 2)), labels
    monkeypatch.setitem(CLASSIFIERS, "fake", fake(("right", np.eye(3)[labels])))
    found = np.exp(fitted("fake", data, data).log_probabilities(data[0]))
    # Laplace's rule: (60 + 1) / (60 + 3), up to the grid of temperatures.
    np.testing.assert_allclose(found.max(axis=1), 61 / 63, atol=0.01)


def test_the_rbf_network_is_its_formula():
    train, labels = rings(60, 0)
    test = rings(9, 1)[0]
    candidate = next(classical._rbf_networks(train, labels, 0))
    assert candidate.chosen == {"units": 50, "stretch": 1.0, "ridge": 0.01}
    centres = k_means(train, 50, 0)

    def distances(points):
        return np.array([[np.sqrt(((x - c) ** 2).sum()) for c in centres] for x in points])

    widths = np.array([np.mean(sorted(row)[1:3]) for row in distances(centres)])

    def hidden(points):
        active = np.exp(-0.5 * (distances(points) / widths[None]) ** 2)
        return np.concatenate([active, np.ones((len(points), 1))], axis=1)

    # Ridge regression as least squares, with an additional row for each weight but the bias.
    rows = np.sqrt(0.01) * np.eye(50, 51)
    targets = np.concatenate([np.eye(2)[labels], np.zeros((50, 2))])
    weights = np.linalg.lstsq(np.concatenate([hidden(train), rows]), targets)[0]
    np.testing.assert_allclose(candidate.scores(test), hidden(test) @ weights, atol=1e-6)
    assert candidate.parameters == 50 * 2 + 50 + 51 * 2


def test_k_means_finds_the_middles_of_clouds():
    points, labels = blobs(300, 0, spread=0.1)
    points /= np.geomspace(0.01, 10, 5)
    middles = np.stack([points[labels == k].mean(axis=0) for k in range(3)])
    centres = min(
        (k_means(points, 3, seed) for seed in range(5)),
        key=lambda found: ((points[:, None] - found) ** 2).sum(-1).min(1).sum(),
    )
    np.testing.assert_allclose(centres[centres[:, 0].argsort()], middles[middles[:, 0].argsort()])


def test_k_means_rests_where_each_centre_is_the_mean_of_its_points():
    points = np.random.default_rng(0).normal(size=(200, 3))
    centres = k_means(points, 12, 0)
    of_point = ((points[:, None] - centres) ** 2).sum(-1).argmin(1)
    means = np.stack([points[of_point == k].mean(axis=0) for k in range(12)])
    np.testing.assert_allclose(centres, means, atol=1e-12)


def test_k_means_has_no_more_centres_than_different_points():
    points = np.repeat(np.eye(4), 10, axis=0)
    centres = k_means(points, 9, 0)
    np.testing.assert_array_equal(centres[np.lexsort(centres.T)], np.eye(4)[np.lexsort(np.eye(4))])


def test_numbers_of_parameters():
    train, val = blobs(60, 0), blobs(30, 1)
    assert fitted("knn", train, val).parameters is None
    assert fitted("logistic_regression", train, val).parameters == 5 * 3 + 3
    network = fitted("rbf_network", train, val)
    units = network.chosen["units"]
    assert network.parameters == units * 5 + units + (units + 1) * 3
    machine = fitted("svm", train, val)
    vectors = (machine.parameters - 3) / (5 + 2)  # each with 2 weights; 3 pairs have an intercept
    assert vectors in range(1, 61)


def test_mistakes_are_named():
    data = blobs(12, 0)
    with pytest.raises(UserError, match='no classifier "svn"; did you mean "svm"'):
        fitted("svn", data, data)
    with pytest.raises(ValueError, match="class 1 has no training examples"):
        fitted("svm", (data[0], np.where(data[1] == 1, 0, data[1])), data)


@pytest.mark.parametrize(
    ("module", "missing"), [("features", "skimage.color"), ("classical", "sklearn.svm")]
)
def test_a_missing_extra_is_named(module, missing, monkeypatch):
    name = f"dkse_jax.experiments.{module}"
    importlib.import_module(name)
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UserError, match=r"need scikit-\w+: pip install -e '.\[classical\]'$"):
        importlib.import_module(name)
