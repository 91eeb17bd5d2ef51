"""What unlabelled images, and then a few labels, add to the answers of names."""

import numpy as np
import pytest

from xmodal.bridge.adaptation import OFFSETS, class_prior, fit_probe, opinions, self_train, standardiser
from xmodal.evaluation.calibration import softmax

CLASSES, DIMENSIONS = 3, 12


@pytest.fixture(scope="module")
def images():
    """Features of three kinds, and names that are right of 60% of them."""
    random = np.random.default_rng(0)
    truth = np.arange(300) % CLASSES
    centres = random.normal(size=(CLASSES, DIMENSIONS))
    features = centres[truth] + random.normal(0, 0.6, (300, DIMENSIONS))
    said = np.where(random.random(300) < 0.6, truth, random.integers(0, CLASSES, 300))
    return features, 2.0 * np.eye(CLASSES)[said], truth


def accuracy(scores, truth):
    return np.mean(scores.argmax(axis=1) == truth)


def test_images_that_look_alike_correct_each_other(images):
    features, names, truth = images
    before, after = accuracy(names, truth), accuracy(self_train(features, names)(features), truth)
    assert before < 0.8 < 0.95 < after


def test_names_help_a_probe_of_few_labels_and_do_not_hinder_one_of_many(images):
    features, names, truth = images
    features = features + np.random.default_rng(2).normal(0, 1.5, features.shape)
    x, opinion = standardiser(features)(features), opinions(names)

    def gain(shown):
        alone, both = (
            fit_probe(x[shown], truth[shown], opinion[shown], offsets=offsets).scores(x, opinion)
            for offsets in ((0.0,), OFFSETS)
        )
        return accuracy(both, truth) - accuracy(alone, truth)

    few = [gain(np.arange(start, start + CLASSES)) for start in range(0, 60, 3)]
    assert np.mean(few) > 0.02
    assert gain(np.arange(150)) > -0.02


def test_opinions_are_of_one_size_whatever_the_logits_are():
    logits = np.random.default_rng(0).normal(3, 7, (40, 5))
    np.testing.assert_allclose(opinions(logits).std(), 1)
    np.testing.assert_allclose(opinions(logits).mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(opinions(logits[:3], logits), opinions(logits)[:3])


def test_a_probe_leaves_out_names_that_are_wrong(images):
    features, _, truth = images
    x = standardiser(features)(features)
    wrong = opinions(np.eye(CLASSES)[(truth + 1) % CLASSES])
    probe = fit_probe(x[:60], truth[:60], wrong[:60])
    assert probe.offset == 0
    assert accuracy(probe.scores(x, wrong), truth) > 0.9


def test_the_left_out_error_is_that_of_fitting_again_without():
    """One ridge, one offset: the closed form against n fits."""
    random = np.random.default_rng(1)
    x, wanted = random.normal(size=(7, 4)), random.normal(size=(7, 2))
    inverse = np.linalg.inv(x @ x.T + np.eye(7))
    closed = inverse @ wanted / np.diag(inverse)[:, None]
    for out in range(7):
        rest = np.arange(7) != out
        fitted = np.linalg.solve(x[rest].T @ x[rest] + np.eye(4), x[rest].T @ wanted[rest])
        np.testing.assert_allclose(closed[out], wanted[out] - x[out] @ fitted)


def test_the_prior_of_unlabelled_images_is_found():
    """Saerens et al. 2002: a calibrated reader that takes both answers for equally frequent."""
    random = np.random.default_rng(0)
    truth = random.random(4000) < 0.9
    evidence = random.normal(np.where(truth, 1.0, -1.0), 1.0)
    probabilities = softmax(np.stack([np.zeros(4000), 2 * evidence], axis=1))
    prior, posterior = class_prior(probabilities)
    assert prior[1] == pytest.approx(0.9, abs=0.02)
    assert accuracy(posterior, truth) > accuracy(probabilities, truth) + 0.02
