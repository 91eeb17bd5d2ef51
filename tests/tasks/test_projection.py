"""A map from a classifier's features to sentences, taught by its own answers."""

import numpy as np

from xmodal.bridge.name_answers import unit
from xmodal.evaluation.calibration import softmax
from xmodal.tasks.projection import train_projection
from xmodal.training.trainer import Trainer


def cross_entropy(vectors, names, shares):
    return -np.mean(np.sum(shares * np.log(softmax(vectors @ unit(names).T)), axis=1))


def test_the_names_give_the_classifiers_own_answers_back_and_other_words_can_be_asked():
    random = np.random.default_rng(0)
    names = random.normal(size=(30, 8))
    # Two kinds of names; the classifier's weights follow what their words mean.
    names[:15, 0] += 3
    names[15:, 0] -= 3
    features = random.normal(size=(400, 10))
    logits = 2 * features @ random.normal(size=(10, 8)) @ unit(names).T + random.normal(0, 0.5, (400, 30))
    shares = softmax(logits)
    start, taught = (
        train_projection(features[:300], logits[:300], names, Trainer(), epochs=epochs) for epochs in (1, 30)
    )
    unseen = features[300:]
    before, after = (cross_entropy(each(unseen), names, shares[300:]) for each in (start, taught))
    entropy = -np.mean(np.sum(shares[300:] * np.log(shares[300:]), axis=1))
    assert entropy < after < before
    kinds = np.eye(8)[[0]] * [[1], [-1]]
    asked = (taught(unseen) @ kinds.T).argmax(axis=1)
    meant = (shares[300:, 15:].sum(axis=1) > 0.5).astype(int)
    assert np.mean(asked == meant) > 0.8
