"""Sets of answers and answers that are withheld."""

import math

import numpy as np
import pytest

from xmodal.evaluation.answer_sets import (
    TIMES_NEEDED,
    certainty_for,
    fewest,
    fit_answer_sets,
    log_shares,
    risk_coverage,
    set_scores,
)


def drawn(count: int, classes: int, seed: int, sharp: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are mostly right, and labels; the last class is the hardest."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    ease = np.where(labels == classes - 1, 0.3, 1.0)
    logits = rng.normal(0, 1, (count, classes)) + sharp * ease[:, None] * np.eye(classes)[labels]
    return logits, labels


@pytest.mark.parametrize("error", [0.01, 0.05, 0.2])
def test_sets_hold_the_right_answer_as_often_as_promised(error):
    (held_out, labels), (new, truth) = drawn(6000, 5, 0), drawn(20_000, 5, 1)
    sets = fit_answer_sets(set_scores(held_out), labels, error)
    inside = sets(set_scores(new))[np.arange(len(truth)), truth]
    assert inside.mean() == pytest.approx(1 - error, abs=0.01)
    assert sets.by_class
    # The promise holds for the hardest class too.
    assert inside[truth == 4].mean() == pytest.approx(1 - error, abs=0.02)


def test_the_threshold_is_the_one_of_finite_samples():
    # 19 right answers of the log probabilities -0.1, -0.2, ...: the (19 + 1) 0.95 = 19-th is the last.
    scores = np.column_stack([-0.1 * np.arange(1, 20), np.full(19, -9.0)])
    labels = np.zeros(19, int)
    assert fit_answer_sets(scores, labels, 0.05).least == pytest.approx([-1.9, -1.9])
    assert fit_answer_sets(scores, labels, 0.1).least == pytest.approx([-1.8, -1.8])
    # With one less nothing can be left out.
    assert np.isneginf(fit_answer_sets(scores[:18], labels[:18], 0.05).least).all()
    assert (fewest(0.05), fewest(0.1), fewest(0.3)) == (19, 9, 3)


def test_classes_have_thresholds_of_their_own_where_there_are_enough_examples():
    enough = TIMES_NEEDED * fewest(0.1)
    logits, labels = drawn(2 * enough, 2, 0)
    labels = np.repeat([0, 1], enough)
    assert fit_answer_sets(set_scores(logits), labels, 0.1).by_class
    assert not fit_answer_sets(set_scores(logits[1:]), labels[1:], 0.1).by_class


def test_equal_answers_are_told_apart_by_a_second_opinion():
    """Ten images in one sentence: without it the set of all of them would be the same."""
    rng = np.random.default_rng(0)
    sentence = np.repeat(np.log([[0.9, 0.1], [0.6, 0.4]]), 500, axis=0)
    labels = (rng.random(1000) > np.exp(sentence[:, 0])).astype(int)
    opinion = rng.normal(0, 1, (1000, 2)) + 2 * np.eye(2)[labels]
    first, second = slice(0, None, 2), slice(1, None, 2)
    shares = {}
    for name, scores in (("one", set_scores(sentence)), ("two", set_scores(sentence, opinion))):
        sets = fit_answer_sets(scores[first], labels[first], 0.15)
        shares[name] = sets(scores[second])[np.arange(500), labels[second]].mean()
    assert shares["one"] > 0.95
    assert shares["two"] == pytest.approx(0.85, abs=0.03)


def test_log_shares_are_log_probabilities():
    logits = np.array([[1000.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(log_shares(logits), [[0, -1000], [-math.log(2)] * 2], atol=1e-12)


@pytest.mark.parametrize("error", [0, 1, -0.1])
def test_an_error_that_cannot_be_promised_is_refused(error):
    with pytest.raises(ValueError, match="error must be above 0 and below 1"):
        fit_answer_sets(np.zeros((3, 2)), np.zeros(3, int), error)


def test_errors_over_the_share_that_is_answered():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
    correct = np.array([True, False, True, False])
    curve = risk_coverage(probabilities, correct)
    np.testing.assert_allclose(curve.answered, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(curve.errors, [0, 0, 1 / 3, 0.5])
    assert [curve.most_answered(right) for right in (1.0, 0.6, 0.5)] == [0.5, 0.75, 1.0]
    assert certainty_for(probabilities, correct, 1.0) == 0.8
    assert certainty_for(probabilities[1:2], correct[1:2], 0.9) == math.inf
