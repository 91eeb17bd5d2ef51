"""Metrics of several labels for each example, against values computed by hand and by counting."""

import math

import numpy as np
import pytest

from xmodal.evaluation import several_labels
from xmodal.evaluation.metrics import HeldOut
from xmodal.evaluation.several_labels import (
    average_precisions,
    best_labels_on_validation,
    binary_log_loss,
    calibrated_labels,
    fit_sigmoid_temperature,
    fit_thresholds,
    label_scores,
    sigmoid,
)


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (count, 3), which are calibrated, and targets."""
    chance = np.random.default_rng(seed)
    logits = chance.normal(size=(count, 3)) * 2 - [0, 1, 2]
    return logits, (chance.random(logits.shape) < sigmoid(logits)).astype(np.float32)


def test_the_sigmoid_of_numbers_of_any_size():
    np.testing.assert_allclose(sigmoid(np.array([-1e4, -1.0, 0.0, 1e4])), [0, 1 / (1 + math.e), 0.5, 1])
    assert sigmoid(np.array([2.0]), 2.0) == pytest.approx(1 / (1 + math.exp(-1)))


def test_the_temperature_takes_back_what_logits_were_multiplied_by():
    logits, targets = drawn(20_000)
    assert fit_sigmoid_temperature(3 * logits, targets) == pytest.approx(3, rel=0.05)
    at = fit_sigmoid_temperature(logits, targets)
    losses = [binary_log_loss(sigmoid(logits, at * factor), targets) for factor in (0.9, 1.0, 1.1)]
    assert min(losses) == losses[1]
    # Where all is right it stays a number.
    assert 0 < fit_sigmoid_temperature(np.array([[5.0], [-5.0]]), np.array([[1], [0]])) < 10
    assert fit_sigmoid_temperature(np.zeros((2, 1)), np.array([[1], [0]])) == 1


def test_thresholds_have_the_highest_f1_of_all():
    logits, targets = drawn(200)
    probabilities = sigmoid(logits).round(1)  # with many equal ones

    def f1(threshold, label):
        given, wanted = probabilities[:, label] >= threshold, targets[:, label] > 0
        return 2 * (given & wanted).sum() / (given.sum() + wanted.sum())

    for label, threshold in enumerate(fit_thresholds(probabilities, targets)):
        assert f1(threshold, label) == max(f1(each, label) for each in np.arange(0.05, 1, 0.1))
    assert fit_thresholds(np.array([[0.9], [0.2]]), np.zeros((2, 1))).tolist() == [0.5]


def test_average_precision_by_hand():
    probabilities = np.array([[0.9], [0.8], [0.8], [0.1]])
    # 1 of 1, then 2 of 3: two with equal probabilities are picked out together.
    found = average_precisions(probabilities, np.array([[1], [0], [1], [0]]))
    assert found.tolist() == pytest.approx([0.5 * 1 + 0.5 * 2 / 3])
    assert np.isnan(average_precisions(probabilities, np.zeros((4, 1))))


def test_average_precision_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    logits, targets = drawn(300)
    for probabilities in (sigmoid(logits), sigmoid(logits).round(1)):
        expected = metrics.average_precision_score(targets, probabilities, average=None)
        np.testing.assert_allclose(average_precisions(probabilities, targets), expected)


def test_scores_and_their_intervals():
    logits, targets = drawn(400)
    probabilities, thresholds = sigmoid(logits), np.array([0.5, 0.4, 0.3])
    scores = label_scores(probabilities, targets, thresholds, seed=1)
    given = probabilities >= thresholds
    hits = (given * targets).sum(axis=0)
    f1 = 2 * hits / (given.sum(axis=0) + targets.sum(axis=0))
    assert scores.macro_f1[0] == pytest.approx(f1.mean())
    assert scores.micro_f1[0] == pytest.approx(2 * hits.sum() / (given.sum() + targets.sum()))
    assert scores.mean_average_precision[0] == pytest.approx(
        average_precisions(probabilities, targets).mean()
    )
    for value, low, high in (scores.micro_f1, scores.macro_f1, scores.mean_average_precision):
        assert low < value < high
        assert 0.02 < high - low < 0.2
    assert label_scores(probabilities, targets, thresholds, seed=1).micro_f1 == scores.micro_f1


def test_a_difference_is_paired():
    logits, targets = drawn(400)
    noise = np.random.default_rng(5).normal(size=logits.shape)
    good, bad = (label_scores(sigmoid(item), targets, np.full(3, 0.4)) for item in (logits, logits + noise))
    value, low, high = good.difference(bad, "mean_average_precision")
    assert value == good.mean_average_precision[0] - bad.mean_average_precision[0]
    assert 0 < low < value < high
    # The examples are the same, which makes it narrower than two intervals apart would.
    apart = sum((item.mean_average_precision[2] - item.mean_average_precision[1]) / 2 for item in (good, bad))
    assert (high - low) / 2 < apart
    assert good.difference(good, "micro_f1") == (0, 0, 0)


def test_the_best_on_validation_by_precision():
    logits, targets = drawn(200)
    assert best_labels_on_validation({"a": -logits, "b": logits, "c": 0 * logits}, targets) == "b"


def test_a_result_of_several_labels():
    logits, targets = drawn(600)
    parts = HeldOut(2 * logits[:300], 2 * logits[300:]), HeldOut(targets[:300], targets[300:])
    item = calibrated_labels("mine", *parts, ("a", "b", "c"), note="it", seconds=2.0)
    assert item.temperature == pytest.approx(2, rel=0.2)
    given = item.probabilities >= item.thresholds
    assert item.correct.tolist() == (given == parts[1].test).all(axis=1).tolist()
    result = item.result
    assert (result.n, result.confusion, result.note, result.seconds) == (300, (), "it", 2.0)
    assert result.accuracy == item.correct.mean()
    assert result.ci95[0] < result.accuracy < result.ci95[1]
    assert result.ece < 0.07 < result.ece_uncalibrated
    assert result.log_loss == pytest.approx(binary_log_loss(item.probabilities, parts[1].test))
    assert sum(result.reliability.count) == 900
    positives = parts[1].test.sum(axis=0).tolist()
    assert [*result.precision_recall.positives] == positives
    # In steps of half a point it is nearly the exact one.
    exact = average_precisions(item.probabilities, parts[1].test).mean()
    assert result.precision_recall.mean_average_precision == pytest.approx(exact, abs=0.02)
    assert several_labels.RESAMPLES % several_labels.AT_ONCE == 0
