"""Answers that are read from names: what is near in words, what all have, what cannot be told apart."""

import numpy as np
import pytest

from xmodal.bridge.name_answers import (
    SCALE,
    name_weights,
    project,
    read_names,
    reads_together,
    require_distinct,
    similarities,
    speaker_temperature,
    spoken_names,
    standardise,
)
from xmodal.core.errors import UserError

# Two kinds of names, three of each; the answers lie among them.
NAMES = np.array([[1, 0.1, 0], [1, 0, 0.1], [1, 0, 0], [0, 1, 0.1], [0.1, 1, 0], [0, 1, 0]])
ANSWERS = np.array([[1.0, 0, 0], [0, 1.0, 0]])
BOTH = np.array([0, 1])


def test_an_answer_is_as_near_as_the_nearest_of_its_descriptions():
    descriptions = np.array([[0, 0, 2.0], [0, 3.0, 0], [1.0, 0, 0]])
    found = similarities(np.eye(3), descriptions, np.array([1, 0, 1]))
    np.testing.assert_allclose(found, [[0, 1], [1, 0], [0, 1]], atol=1e-12)


def test_names_mean_the_answer_that_they_are_near_to():
    weights = name_weights(NAMES, ANSWERS, BOTH)
    np.testing.assert_allclose(weights.sum(axis=0), 1)
    assert (weights[:3, 0] > weights[3:, 0]).all()
    assert (weights[:3, 1] < weights[3:, 1]).all()


def test_one_image_is_read_as_conse_does():
    logits = np.log([[0.5, 0.1, 0.1, 0.1, 0.1, 0.1]])
    mixture = np.exp(logits) @ (NAMES / np.linalg.norm(NAMES, axis=1, keepdims=True))
    expected = SCALE * mixture @ ANSWERS.T / np.linalg.norm(mixture)
    np.testing.assert_allclose(read_names(logits, NAMES, ANSWERS, BOTH), expected)


def test_what_all_of_many_images_have_is_no_answer():
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 100)
    logits = random.normal(0, 0.1, (100, 6)) + np.where((np.arange(6) >= 3) == truth[:, None], 1.0, 0.0)
    # A classifier that sees the first kind in everything.
    logits[:, :3] += 3
    alone = np.concatenate([read_names(row[None], NAMES, ANSWERS, BOTH) for row in logits])
    together = read_names(logits, NAMES, ANSWERS, BOTH)
    assert not alone.argmax(axis=1).any()
    assert (together.argmax(axis=1) == truth).mean() > 0.95


def test_one_frequent_answer_does_not_hide_where_the_classifier_is_sure():
    """Nine of ten images have the first answer: compared with each other, half would get the second."""
    random = np.random.default_rng(0)
    truth = (random.random(200) < 0.1).astype(int)
    logits = random.normal(0, 0.5, (200, 6)) + 6 * np.eye(6)[3 * truth + random.integers(0, 3, 200)]
    assert not reads_together(logits, 2)
    assert reads_together(logits / 20, 2)
    assert not reads_together(logits[:40] / 20, 2)
    assert (read_names(logits, NAMES, ANSWERS, BOTH).argmax(axis=1) == truth).mean() > 0.95


def test_a_classifier_that_is_sure_is_believed():
    assert speaker_temperature(10 * np.eye(5)) == 1
    assert speaker_temperature(np.zeros((3, 50))) == pytest.approx(np.log(50))


def test_projected_images_give_the_logits_back():
    random = np.random.default_rng(0)
    names, features = random.normal(size=(40, 6)), random.normal(size=(5, 6))
    names = names - names.mean(axis=0)
    names /= np.linalg.norm(names, axis=1, keepdims=True)
    logits = features @ (names - names.mean(axis=0)).T
    projected = project(100 * logits, names) / 100
    assert np.corrcoef(projected.ravel(), features.ravel())[0, 1] > 0.98


def test_names_speak_by_their_shares_and_what_they_mean():
    logits = np.log(np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8]]))
    weights = np.array([[0.5, 0.1, 0.4], [0.5, 0.9, 0.6]])
    assert spoken_names(logits, weights, np.array([0, 1, 1]), 1) == [[0], [1], []]


def test_answers_that_an_encoder_cannot_tell_apart_are_refused():
    tokens = np.array([[1, 7, 2], [1, 5, 2], [1, 7, 2]])
    with pytest.raises(UserError, match="'hund' and 'katze' as the same"):
        require_distinct(tokens, np.array([0, 1, 2]), ["hund", "dog", "katze"])
    require_distinct(tokens, np.array([0, 1, 0]), ["hund", "dog", "katze"])


def test_ten_thousand_answers_are_no_trouble():
    vectors = np.random.default_rng(0).normal(size=(10_000, 8))
    require_distinct(np.arange(10_000)[:, None], np.arange(10_000), list(map(str, range(10_000))))
    assert similarities(vectors[:50], vectors, np.arange(10_000)).argmax(axis=1).tolist() == list(range(50))


def test_a_constant_column_stays_finite():
    assert np.isfinite(standardise(np.ones((4, 2)))).all()
