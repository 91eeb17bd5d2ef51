"""Probabilities of examples by models that did not learn from them."""

import math

import keras
import numpy as np
import tensorflow as tf

from xmodal.data.batches import array_batches
from xmodal.evaluation.calibration import softmax
from xmodal.evaluation.metrics import log_loss
from xmodal.models.heads import image_head
from xmodal.training.losses import cross_entropy
from xmodal.training.trainer import Trainer

# Of a head: epochs and steps at least, the peak rate, and the least and the largest batch.
EPOCHS, STEPS, RATE, BATCHES = 12, 240, 5e-3, (16, 256)
# Of the squares of its weights, beside the mean cross-entropy.
PENALTIES = (0.01, 0.1, 1.0)


def out_of_fold(
    features: np.ndarray, labels: np.ndarray, classes: int, trainer: Trainer, *, folds: int = 5
) -> np.ndarray:
    """Returns what linear heads say of examples that they were not trained on (N, C).

    Every class is spread over all folds; a head that learned all other folds answers for each. Heads of
    hundreds of features learn wrong labels by heart: of several penalties of their weights the one is taken
    whose head foretells the labels of the first fold best.

    Args:
        features: (N, D), such as what a frozen backbone gives.
        labels: (N,), class indices.
        classes: C.
        trainer: trains the heads; its seed draws the folds.
        folds: how many parts; every class needs two examples at least.

    Example:
        >>> features = np.array([[1.0, 0.0]] * 20 + [[0.0, 1.0]] * 20, np.float32)
        >>> out_of_fold(features, np.repeat([0, 1], 20), 2, Trainer(), folds=2).shape
        (40, 2)
    """
    features = np.asarray(features, np.float32)
    fold = fold_of(labels, folds, trainer.seed)

    def predict_fold(number: int, penalty: float) -> np.ndarray:
        train_mask = fold != number
        head = _train_head(features[train_mask], labels[train_mask], classes, trainer, number, penalty)
        return softmax(trainer.predict(head, array_batches(features[~train_mask], batch_size=1024)))

    first_answers = {penalty: predict_fold(0, penalty) for penalty in PENALTIES}
    penalty = min(PENALTIES, key=lambda value: log_loss(first_answers[value], labels[fold == 0]))
    probabilities = np.zeros((len(labels), classes))
    for number in range(folds):
        probabilities[fold == number] = predict_fold(number, penalty) if number else first_answers[penalty]
    return probabilities


def fold_of(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Returns the fold of each example (N,), from 0 on; the examples of a class are spread over all."""
    order = np.random.default_rng(seed).permutation(len(labels))
    fold = np.empty(len(labels), int)
    fold[order[np.argsort(labels[order], kind="stable")]] = np.arange(len(labels)) % folds
    return fold


def _train_head(
    features: np.ndarray, labels: np.ndarray, classes: int, trainer: Trainer, fold: int, penalty: float
) -> keras.Model:
    with trainer.scope():
        head = image_head(features, classes, hidden=0, dropout=0.0)
    # Of few examples there are many epochs of small batches: each head takes some hundred steps.
    size = min(max(BATCHES[0], len(labels) // 20), BATCHES[1])
    epochs = max(EPOCHS, math.ceil(STEPS / math.ceil(len(labels) / size)))
    seed = trainer.seed, fold
    kernel, of_labels = head.layers[-1].kernel, cross_entropy()

    def loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return of_labels(labels, logits) + penalty / 2 * tf.reduce_sum(tf.square(kernel))

    trainer.fit(
        head,
        lambda epoch: array_batches(features, labels, batch_size=size, shuffle_seed=(*seed, epoch)),
        loss=loss,
        learning_rate=RATE,
        epochs=epochs,
        patience=0,
    )
    return head
