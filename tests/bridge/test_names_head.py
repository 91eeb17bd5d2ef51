"""Answers that are learned from what a classifier says: the words of its names, and a few labels."""

import numpy as np

from xmodal.bridge.adaptation import fit_probe, opinions, standardiser
from xmodal.bridge.name_answers import name_weights, unit
from xmodal.bridge.names_head import fit_names_head

ANSWERS = np.arange(3)


def spoken(seed: int):
    """Probabilities of 40 names, whose words are near to one of three answers each."""
    random = np.random.default_rng(seed)
    answers = random.normal(size=(3, 12))
    kinds = np.arange(40) % 3
    names = answers[kinds] + random.normal(0, 0.5, (40, 12))
    labels = np.arange(120) % 3
    logits = 2.0 * (kinds == labels[:, None]) + random.normal(0, 2, (120, 40))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return shares, labels, names, answers


def test_the_table_gives_what_the_probe_of_the_vectors_gives():
    shares, labels, names, answers = spoken(0)
    head = fit_names_head(shares[:30], labels[:30], names, answers, ANSWERS)
    vectors, said = shares @ unit(names), shares @ name_weights(names, answers, ANSWERS)
    mean, spread = said[:30].mean(axis=0), said[:30].std(axis=0)
    standardise, scores = standardiser(vectors[:30]), (said - mean) / spread
    heard = opinions(scores, scores[:30])
    probe = fit_probe(standardise(vectors)[:30], labels[:30], heard[:30])
    assert probe.offset > 0
    np.testing.assert_allclose(head(shares), probe.scores(standardise(vectors), heard), atol=1e-9)


def test_words_help_where_labels_are_few_and_labels_correct_wrong_words():
    def accuracy(count, order):
        right = []
        for seed in range(6):
            shares, labels, names, answers = spoken(seed)
            head = fit_names_head(shares[:count], labels[:count], names, answers[order], ANSWERS)
            right.append(head(shares[90:]).argmax(axis=1) == labels[90:])
        return np.mean(right)

    wrong = [1, 2, 0]
    assert accuracy(3, ANSWERS) > accuracy(3, wrong) + 0.03
    assert accuracy(90, wrong) > 0.85
