"""LogME against the evidence as it is defined, and against what a head would find."""

import numpy as np
import pytest

from xmodal.evaluation.transferability import log_evidence


def brute_force(features, labels):
    """Returns the mean over the classes of the largest log evidence on a fine grid, per example."""
    variance = features.var(axis=0)
    x = (features - features.mean(axis=0)) / np.sqrt(np.maximum(variance, np.median(variance)))
    # All that is at right angles to the constant: labels and features are centred.
    basis = np.linalg.svd(np.eye(len(x)) - 1 / len(x))[0][:, :-1]
    best = []
    for label in np.unique(labels):
        y = basis.T @ (labels == label)
        gram = basis.T @ x @ x.T @ basis
        grid = [
            normal_log_density(y, np.eye(len(y)) / beta + gram / alpha)
            for alpha in np.geomspace(0.1, 1e5, 60)
            for beta in np.geomspace(0.5, 1e4, 60)
        ]
        best.append(max(grid))
    return np.mean(best) / len(labels)


def normal_log_density(y, covariance):
    sign, logarithm = np.linalg.slogdet(covariance)
    assert sign > 0
    return -0.5 * (len(y) * np.log(2 * np.pi) + logarithm + y @ np.linalg.solve(covariance, y))


@pytest.mark.parametrize(("count", "width"), [(30, 4), (16, 40)])
def test_it_is_the_largest_evidence_of_the_regression(count, width):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, count)
    features = rng.normal(size=(count, width))
    features[:, :2] += 1.5 * labels[:, None]
    found = log_evidence(features, labels)
    grid = brute_force(features, labels)
    # The grid is coarse: its best is no better than the fixed point, and near to it.
    assert grid <= found + 1e-9
    assert found == pytest.approx(grid, abs=2e-3)


def test_features_that_tell_classes_apart_score_higher_the_better_they_do():
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    noise = rng.normal(size=(120, 5))
    scores = [log_evidence(noise + strength * np.eye(3, 5)[labels], labels) for strength in (0.0, 1.0, 3.0)]
    assert scores == sorted(scores)
    assert scores[2] - scores[0] > 0.2


def test_neither_scale_nor_shift_of_a_feature_counts():
    rng = np.random.default_rng(1)
    labels = np.arange(40) % 2
    features = rng.normal(size=(40, 3)) + labels[:, None]
    scaled = 1000.0 * features - 70.0
    assert log_evidence(scaled, labels) == pytest.approx(log_evidence(features, labels), rel=1e-6)


def test_features_that_are_all_the_same_score_lowest():
    labels = np.arange(40) % 2
    rng = np.random.default_rng(1)
    told = rng.normal(size=(40, 3)) + labels[:, None]
    assert np.isfinite(log_evidence(np.ones((40, 3)), labels))
    assert log_evidence(np.ones((40, 3)), labels) < log_evidence(told, labels)


def test_a_single_class_is_refused():
    with pytest.raises(ValueError, match=r"two classes or more. Received: \[1\]"):
        log_evidence(np.eye(3), np.ones(3, int))
